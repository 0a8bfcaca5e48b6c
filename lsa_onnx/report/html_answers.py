"""The four questions that a reader brings, answered in a sentence or two each: the head of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Accuracy, PerturbationResult, Report
    from lsa_onnx.report.html_next import Step

# A layer that this share of the resamples puts into the list is there for more than chance.
_SURE = 0.9
_NAMED = 3


def answers(report: Report, steps: list[Step]) -> list[tuple[str, str, tuple[str, str] | None]]:
    """Question, answer, and where to read on: the id of a section with what the link says."""
    headline = view.headline_result(report)
    if headline is None or not report.layers:
        return [("What now?", "Nothing was scored; the table below says why.", None)]
    doubts = ("warnings", text.count(len(report.warnings), "warning")) if report.warnings else None
    return [
        ("Which layers break?", _which(report), ("graph", "Where they lie")),
        ("Under what?", _under(report, headline), ("perturbations", "All perturbations")),
        ("How sure is that?", _sure(report, headline), doubts),
        ("What now?", _now(steps), ("next", "Commands") if steps else None),
    ]


def _which(report: Report) -> str:
    listed = report.mvl.layers
    if not listed:
        return f"None of the {text.count(len(report.layers), 'layer')} stands out: they move alike."
    numbers = {info.tensor: number for number, info in enumerate(report.layers)}
    named = [f"{visible(t)} (layer {numbers[t]})" for t in listed[:_NAMED] if t in numbers]
    more = f", and {len(listed) - _NAMED:,} more" if len(listed) > _NAMED else ""
    of = f"of {text.count(len(report.layers), 'layer')}"
    return f"{len(listed):,} {of}, the worst first: {', '.join(named)}{more}."


def _under(report: Report, headline: PerturbationResult) -> str:
    change, moved = headline.input_relative.mean, headline.mvl.mu
    said = f"{visible(headline.name)}{_strength(report, headline)}: "
    said += f"changing {text.share(change)} of the input moves layers by {text.share(moved)} on average."
    if report.accuracy is None:
        flips = headline.flips
        return said if flips is None else f"{said} {text.share(flips)} of the predictions flip."
    worst = _worst(report)
    if worst is None:
        return said
    under = "" if worst[0] == headline.name else f" under {visible(worst[0])}"
    clean = text.share(report.accuracy.value)
    return f"{said} Accuracy{under}: {clean} → {text.share(worst[1].value)}."


def _strength(report: Report, headline: PerturbationResult) -> str:
    attack = headline.attack
    if attack is None:
        return ""
    return f" ({attack.norm}, eps {text.strength(attack.eps, report.input.range)})"


def _worst(report: Report) -> tuple[str, Accuracy] | None:
    found = [(r.name, r.accuracy) for r in report.perturbations if r.accuracy is not None]
    return min(found, key=lambda each: each[1].value, default=None)


def _sure(report: Report, headline: PerturbationResult) -> str:
    said = f"{text.count(report.data.samples, 'sample')}."
    by_tensor = {score.tensor: score.stability for score in headline.layers}
    shares = [s for t in report.mvl.layers if (s := by_tensor.get(t)) is not None]
    if not shares:
        return said
    sure = sum(share >= _SURE for share in shares)
    bar = text.share(_SURE, 0)
    if sure == len(shares):
        each = "The listed layer comes" if sure == 1 else f"All {sure:,} listed layers come"
        return f"{said} {each} up in at least {bar} of bootstrap resamples: more than chance."
    doubtful = len(shares) - sure
    verb = "comes" if doubtful == 1 else "come"
    return (
        f"{said} {doubtful:,} of {len(shares):,} listed layers {verb} up in less than {bar} of bootstrap "
        "resamples: other samples may leave them out."
    )


def _now(steps: list[Step]) -> str:
    first, *others = (step.title for step in steps) if steps else ("Nothing is left to do",)
    then = (
        f" Then: {'; '.join(title[0].lower() + title[1:] for title in others)}." if others else ""
    )
    return f"{first}.{then}"
