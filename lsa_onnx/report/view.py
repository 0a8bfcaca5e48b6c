"""What every view of a report looks up: the headline perturbation, its scores, ranks and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.report import text

if TYPE_CHECKING:
    from lsa_onnx.report.document import (
        AttackOutcome,
        Baseline,
        Executions,
        LayerInfo,
        LayerScore,
        MvlList,
        NotScored,
        PerturbationResult,
        Report,
        Shard,
    )

_STEPS_SHOWN = 4


@dataclass(frozen=True)
class LayerRow:
    """One scored layer, with what the headline perturbation did to it.

    ``number`` is the layer's position in graph order, counted from 0 as in the paper; ``rank`` its
    position in the headline MVL list, counted from 1. ``times_random`` is its CM over that under
    random noise of the same norm, ``None`` where the headline is no attack or a CM is undefined.
    """

    number: int
    info: LayerInfo
    rank: int | None
    score: LayerScore | None
    means: dict[str, float | None]
    times_random: float | None


def headline_result(report: Report) -> PerturbationResult | None:
    """The perturbation that the headline MVL list belongs to; ``None`` where none was run."""
    named = (r for r in report.perturbations if r.name == report.mvl.perturbation)
    return next(named, report.perturbations[0] if report.perturbations else None)


def layer_rows(report: Report) -> list[LayerRow]:
    """One row per scored layer, in graph order."""
    scores = {r.name: {s.tensor: s for s in r.layers} for r in report.perturbations}
    headline = headline_result(report)
    ranks = {tensor: rank for rank, tensor in enumerate(report.mvl.layers, start=1)}
    random = times_random(report, headline) if headline else {}
    rows = []
    for number, info in enumerate(report.layers):
        found = {name: by_tensor.get(info.tensor) for name, by_tensor in scores.items()}
        means = {
            name: score.relative_error.mean if score else None for name, score in found.items()
        }
        score = found[headline.name] if headline else None
        rank, ratio = ranks.get(info.tensor), random.get(info.tensor)
        rows.append(LayerRow(number, info, rank, score, means, ratio))
    return rows


def attacks(report: Report) -> list[tuple[PerturbationResult, AttackOutcome]]:
    """The perturbations that are attacks, each with its outcome."""
    return [(r, r.attack) for r in report.perturbations if r.attack is not None]


def baseline(result: PerturbationResult | None) -> Baseline | None:
    """Random noise of the same norm as ``result``, where that is an attack and the noise was run."""
    return result.attack.baseline if result and result.attack else None


def baseline_means(report: Report, result: PerturbationResult) -> dict[str, float | None]:
    """Mean CM by tensor under random noise of the same norm; empty where there is none."""
    noise = baseline(result)
    tensors = (info.tensor for info in report.layers)
    return dict(zip(tensors, noise.layers, strict=False)) if noise else {}


def times_random(report: Report, result: PerturbationResult) -> dict[str, float]:
    """Mean CM over that under random noise of the same norm, by tensor, where both are defined."""
    noise = baseline_means(report, result)
    means = {score.tensor: score.relative_error.mean for score in result.layers}
    return {
        tensor: mean / below
        for tensor, mean in means.items()
        if mean is not None and (below := noise.get(tensor))
    }


def attack_notes(attack: AttackOutcome) -> list[str]:
    """What to know before reading an attack's figures."""
    notes = []
    if attack.labels == "predicted":
        notes.append("it fought the model's own predictions, no labels were given")
    elif attack.labels == "none":
        notes.append("its objective needs no labels")
    if attack.vanished:
        notes.append(
            f"the gradient vanishes for {text.share(attack.vanished)} of the clean samples"
        )
    return notes


def score_note(score: LayerScore | None) -> str | None:
    """Why a layer has no figures, or which samples they leave out; ``None`` for a full score."""
    if score is None:
        return "not scored under this perturbation"
    if score.status != "ok":
        return f"{score.status}: {text.visible(score.reason or 'no reason was recorded')}"
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (score.undefined_samples, "undefined"),
            (score.nonfinite_samples, "not finite"),
            (score.executions.skipped_samples if score.executions else 0, "not executed"),
        )
        if count
    ]
    return f"samples left out: {', '.join(left_out)}" if left_out else None


def origin_note(info: LayerInfo, score: LayerScore | None) -> str | None:
    """Where a layer is that is no plain tensor of the main graph, and how it was read."""
    parts = [text.visible(info.reading)] if info.reading else []
    if info.body is not None:
        ran = score.executions if score else None
        parts.append(f"in {text.visible(info.body)}{_executions(ran) if ran else ''}")
    return "; ".join(parts) or None


def _executions(ran: Executions) -> str:
    times = f"{ran.minimum:,}" if ran.minimum == ran.maximum else f"{ran.minimum:,}–{ran.maximum:,}"
    said = f", run {times} times" if times != "1" else ""
    known = [(value, at) for at, value in enumerate(ran.relative_error, 1) if value is not None]
    if len(known) > 1:
        largest, at = max(known)
        steps = ", ".join(text.figure(value) for value, _ in known[:_STEPS_SHOWN])
        more = ", …" if len(known) > _STEPS_SHOWN else ""
        said += f": CM {steps}{more} by execution, largest {text.figure(largest)} in number {at}"
    if ran.diverged_samples:
        said += f"; run more or less often when perturbed, for {text.count(ran.diverged_samples, 'sample')}"
    return said


def mvl_rule(mvl: MvlList) -> str:
    """How the layers of the list were chosen, as a formula with its numbers."""
    if mvl.rule == "top-k":
        return f"the {mvl.top_k} layers with the largest mean CM"
    if mvl.threshold is None:
        return "CM > μ + η σ, which is undefined here: no layer has a CM"
    terms = f"{text.figure(mvl.mu)} + {text.brief(mvl.eta)} × {text.figure(mvl.sigma)}"
    return f"CM > μ + η σ = {terms} = {text.figure(mvl.threshold)}"


def reasons(not_scored: Iterable[NotScored]) -> list[tuple[str, int]]:
    """Each reason and how many tensors have it, the most frequent first."""
    return Counter(text.visible(item.reason) for item in not_scored).most_common()


def shard_line(shard: Shard) -> str:
    """Which part of the samples a report is of."""
    samples = f"samples {shard.start + 1:,} to {shard.stop:,} of {shard.total:,}"
    return (
        f"This is shard {shard.number} of {shard.count}: {samples}. `lsa-onnx merge` makes the report of all "
        "shards."
    )


def observer_line(report: Report) -> str:
    """What observing the layers changed in the model's final outputs."""
    check = report.observer
    absolute = text.figure(check.max_absolute_difference)
    relative = text.figure(check.max_relative_difference)
    line = f"observing the layers changes final outputs by at most {absolute} (relative {relative})"
    if check.label_flips is None:
        return f"{line}, on {check.n:,} samples"
    return f"{line} and {check.label_flips:,} of {check.n:,} predicted labels"
