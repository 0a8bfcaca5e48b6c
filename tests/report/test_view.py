"""What the views look up of attacks, with answers by hand."""

from __future__ import annotations

import dataclasses

import pytest

from lsa_onnx.report import view
from lsa_onnx.report.document import Report
from tests.report.examples import empty_report, large_report, small_report


def with_noise(layers: list[float | None]) -> Report:
    """The small report (CM .94, .92, .81, .61) with this CM under random noise per layer."""
    report = small_report()
    first, *others = report.perturbations
    assert first.attack is not None
    assert first.attack.baseline is not None
    noise = dataclasses.replace(first.attack.baseline, layers=layers)
    attack = dataclasses.replace(first.attack, baseline=noise)
    first = dataclasses.replace(first, attack=attack)
    return dataclasses.replace(report, perturbations=[first, *others])


def test_times_random_is_a_ratio_of_means_by_layer() -> None:
    rows = view.layer_rows(with_noise([0.47, 0.23, 0.81, 0.122]))
    assert [row.times_random for row in rows] == pytest.approx([2.0, 4.0, 1.0, 5.0])


@pytest.mark.parametrize("layers", [[None, 0.0, None, 0.61], [None, 0.0, None, 0.61, 9.0]])
def test_times_random_is_undefined_where_the_noise_moves_nothing(
    layers: list[float | None],
) -> None:
    rows = view.layer_rows(with_noise(layers))
    assert [row.times_random for row in rows] == [None, None, None, pytest.approx(1.0)]


def test_a_layer_without_a_score_has_no_ratio() -> None:
    rows = view.layer_rows(large_report(12))
    assert rows[10].score is not None
    assert rows[10].score.status == "undefined"
    assert rows[10].times_random is None
    # The attack moves layer 9 by (4 + 9 / 2) times as much as noise does.
    assert rows[9].times_random == pytest.approx(8.5)


def test_noise_has_no_baseline() -> None:
    report = small_report()
    noise = report.perturbations[2]
    assert noise.kind == "noise"
    assert view.baseline(noise) is None
    assert view.baseline(None) is None
    assert view.times_random(report, noise) == {}


def test_attacks_are_found_in_order() -> None:
    assert [result.name for result, _ in view.attacks(small_report())] == ["pgd", "fgsm"]
    assert view.attacks(empty_report()) == []
