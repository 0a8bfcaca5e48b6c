"""Two models on the same samples."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lsa_onnx.bootstrap import paired_difference
from lsa_onnx.comparing.paired import same_samples
from lsa_onnx.errors import DataError
from lsa_onnx.evaluation import r_and_g_difference, robust_difference, side_by_side
from lsa_onnx.report.evaluation import Evaluation
from tests.report.evaluations import curve, evaluation


def shuffled(found: Evaluation, seed: int) -> Evaluation:
    """The same evaluation with other samples right at 8/255 under pgd, but as many."""
    order = np.random.default_rng(seed).permutation(len(found.results[1].right))
    right = "".join(found.results[1].right[at] for at in order)
    changed = dataclasses.replace(found.results[1], right=right)
    return dataclasses.replace(found, results=[found.results[0], changed, *found.results[2:]])


def test_differences_are_those_of_the_means_in_percentage_points() -> None:
    first, second = curve(), curve(left=85)
    found = robust_difference(first, second, "pgd", 8 / 255)
    assert found.value == pytest.approx(10.0)
    low, high = found.interval
    assert 0 < low < 10 < high
    score = r_and_g_difference(first, second, "pgd")
    assert score.value == pytest.approx(second.summaries[0].r_and_g - first.summaries[0].r_and_g)
    assert robust_difference(first, second, "pgd", 0.0) == (0.0, (0.0, 0.0))


def test_it_is_samples_that_are_compared_not_their_number() -> None:
    first = curve()
    other = shuffled(first, 1)
    found = robust_difference(first, other, "pgd", 8 / 255)
    low, high = found.interval
    assert found.value == 0
    assert low < 0 < high
    before, after = (each.correct_at("pgd", 8 / 255) for each in (first, other))
    low, high = paired_difference(before, after).interval
    assert found.interval == pytest.approx((100 * low, 100 * high))


def test_a_document_of_several_has_a_difference_per_attack_and_strength() -> None:
    found = side_by_side([curve(), curve(left=85), curve(left=45)], ["lsa-onnx", "evaluate"])
    pgd = [(d.model, d.eps, round(d.value, 6)) for d in found.differences if d.attack == "pgd"]
    assert pgd == [
        (1, None, 10.0), (1, 0.0, 0.0), (1, 8 / 255, 10.0), (1, 0.3, 0.0),
        (2, None, -10.0), (2, 0.0, 0.0), (2, 8 / 255, -10.0), (2, 0.3, 0.0),
    ]  # fmt: skip
    assert {d.value for d in found.differences if d.attack == "square"} == {0.0}
    assert found.command == ["lsa-onnx", "evaluate"]


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": "predicted"},
        {"data": dataclasses.replace(curve().data, fingerprint="0" * 64)},
        {"input": dataclasses.replace(curve().input, range=(0.0, 255.0))},
    ],
    ids=["labels", "samples", "range"],
)
def test_other_samples_are_not_paired(changes: dict[str, Any]) -> None:
    other = dataclasses.replace(curve(), **changes)
    assert not same_samples(curve(), other)
    assert side_by_side([curve(), other]).differences == []
    assert same_samples(curve(), curve(left=85))


def test_other_strengths_are_not_paired_nor_is_an_attack_that_one_lacks() -> None:
    pgd, square = curve().summaries
    fewer = dataclasses.replace(pgd, eps=[0.0, 8 / 255])
    other = dataclasses.replace(curve(), summaries=[fewer, square])
    assert {d.attack for d in side_by_side([curve(), other]).differences} == {"square"}
    assert {d.attack for d in side_by_side([other, curve()]).differences} == {"square"}
    alone = dataclasses.replace(curve(), summaries=[pgd])
    assert {d.attack for d in side_by_side([curve(), alone]).differences} == {"pgd"}
    assert side_by_side([curve(), evaluation([])]).differences == []


def test_one_model_is_compared_with_none() -> None:
    found = side_by_side([curve()])
    assert (len(found.evaluations), found.differences, found.command) == (1, [], [])


def test_what_was_not_run_is_refused() -> None:
    with pytest.raises(DataError, match=r"'pgd' at eps 0\.25 is not in this evaluation"):
        robust_difference(curve(), curve(), "pgd", 0.25)
