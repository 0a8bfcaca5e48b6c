"""The attacks of a scan in the terminal view: whole output."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from lsa_onnx.report.document import AttackOutcome, Baseline, Report
from lsa_onnx.report.terminal_attacks import print_attacks
from lsa_onnx.report.terminal_paint import Painter
from tests.report.examples import small_report


def shown(report: Report, width: int = 80) -> list[str]:
    file = io.StringIO()
    print_attacks(report, Painter(Console(file=file, width=width)))
    return [line.rstrip() for line in file.getvalue().split("\n")]


def with_attack(**changes: object) -> Report:
    """The small report with one attack, its outcome changed."""
    report = small_report()
    result = report.perturbations[0]
    assert result.attack is not None
    attack: AttackOutcome = dataclasses.replace(result.attack, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(report, perturbations=[dataclasses.replace(result, attack=attack)])


def test_each_attack_stands_beside_noise_of_its_norm() -> None:
    assert shown(small_report()) == [
        "Attacks on the untouched model (eps in units of the range 0 to 1)",
        "                                                                   Random,",
        "Attack Threat            Success              Robust accuracy      same norm",
        "─" * 80,
        "pgd    linf, eps 0.3     97.2 %               2.9 %                98.0 % right",
        "       white box, margin 94.4–98.6 %, n = 252 2.8–4.0 %, n = 256   0.8 % flipped",
        "fgsm   linf, eps 0.3     77.4 %               22.3 %               98.0 % right",
        "       white box, margin 71.8–82.1 %, n = 252 21.6–24.0 %, n = 256 0.8 % flipped",
        "pgd: the gradient vanishes for 3.1 % of the clean samples",
        "fgsm: the gradient vanishes for 3.1 % of the clean samples",
        "success = share of the initially correct samples whose prediction changed ·",
        "robust accuracy = share of all labelled samples that stay right · both with 95 %",
        "intervals",
        "",
        "",
    ]


def test_an_attack_without_labels_or_noise_has_gaps() -> None:
    report = with_attack(
        norm="l2", eps=8 / 255, objective="output", labels="none", success=None,
        robust_accuracy=None, vanished=None, white_box=False, baseline=None,
    )  # fmt: skip
    assert shown(report) == [
        "Attacks on the untouched model (eps in units of the range 0 to 1)",
        "                                                 Random,",
        "Attack Threat            Success Robust accuracy same norm",
        "─" * 58,
        "pgd    l2, eps 0.0313725 —       —               —",
        "       black box, output",
        "pgd: its objective needs no labels",
        "",
        "",
    ]


def test_noise_that_cannot_flip_a_prediction_has_a_gap() -> None:
    """A model without classes: nothing of the legend is shown, so nothing is explained."""
    noise = Baseline("random signs", accuracy=None, flips=None, mu=0.2, layers=[0.2] * 4)
    lines = shown(with_attack(success=None, robust_accuracy=None, vanished=None, baseline=noise))
    assert lines[4:] == [
        "pgd    linf, eps 0.3     —       —               —",
        "       white box, margin",
        "",
        "",
    ]


def test_what_is_not_shown_is_not_explained() -> None:
    """Without labels there is no robust accuracy."""
    lines = shown(with_attack(labels="predicted", robust_accuracy=None, vanished=0.0), 120)
    assert lines[-3] == (
        "success = share of the initially correct samples whose prediction changed · with 95 % intervals"
    )


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"labels": "predicted"},
            "pgd: it fought the model's own predictions, no labels were given",
        ),
        ({"labels": "none"}, "pgd: its objective needs no labels"),
        ({"vanished": 0.5}, "pgd: the gradient vanishes for 50.0 % of the clean samples"),
    ],
)
def test_what_limits_an_attack_is_told(changes: dict[str, object], note: str) -> None:
    assert note in shown(with_attack(**{"vanished": 0.0, **changes}), 100)


def test_a_sound_attack_has_no_note() -> None:
    assert not any(line.startswith("pgd:") for line in shown(with_attack(vanished=0.0)))


def test_noise_alone_prints_nothing() -> None:
    report = small_report()
    noise = dataclasses.replace(report, perturbations=report.perturbations[2:])
    assert shown(noise) == [""]
