"""What the HTML page shows of attacks, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import AttackOutcome, Baseline, PerturbationResult, Report

_DIGITS = 5


def attacks(report: Report) -> list[dict[str, str]]:
    """The table of attacks."""
    return [
        {
            "name": visible(result.name),
            "threat": _threat(attack),
            "objective": visible(attack.objective),
            "access": "white box" if attack.white_box else "black box",
            "success": text.accuracy(attack.success),
            "robust": text.accuracy(attack.robust_accuracy),
            "random": _random(attack.baseline),
            "note": "; ".join(view.attack_notes(attack)),
        }
        for result, attack in view.attacks(report)
    ]


def attack_tiles(result: PerturbationResult) -> list[tuple[str, str, str]]:
    """Robust accuracy and success of the headline attack: label, value, remark."""
    attack = result.attack
    if attack is None:
        return []
    tiles = []
    for label, value in (
        ("Robust accuracy", attack.robust_accuracy),
        ("Attack success", attack.success),
    ):
        if value is not None:
            remark = f"{_threat(attack)}; 95 % interval {text.shares(value.interval)}"
            label = f"{label} under {visible(result.name)}"
            tiles.append((label, text.share(value.value), f"{remark}, n = {value.n:,}"))
    return tiles


def baseline_line(report: Report, result: PerturbationResult) -> dict[str, Any] | None:
    """The line of random noise of the same norm in the chart; ``None`` where there is none."""
    noise = view.baseline(result)
    if noise is None:
        return None
    means = view.baseline_means(report, result)
    return {
        "name": f"random noise of the same norm ({visible(noise.name)})",
        "mean": [rounded(means.get(info.tensor)) for info in report.layers],
    }


def rounded(value: float | None) -> float | None:
    """A figure in the digits that a chart can show."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _threat(attack: AttackOutcome) -> str:
    return f"{attack.norm}, eps {text.brief(attack.eps)}"


def _random(noise: Baseline | None) -> str:
    """What random noise did to the predictions and to the layers."""
    if noise is None:
        return text.MISSING
    right = "" if noise.accuracy is None else f"{text.accuracy(noise.accuracy)} right, "
    flipped = "" if noise.flips is None else f"{text.share(noise.flips)} of labels flipped, "
    return f"{visible(noise.name)}: {right}{flipped}μ = {text.figure(noise.mu)}"
