"""The scores of a report by layer: records list them by perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lsa_onnx.report.document import LayerScore, PerturbationResult, Report


class Scored(NamedTuple):
    """A layer under one perturbation; ``rank`` is its place in the MVL list of that, from 1."""

    result: PerturbationResult
    score: LayerScore
    rank: int | None


def scores_by_layer(report: Report) -> dict[str, list[Scored]]:
    """Tensor of each layer, in graph order → its scores, in the order of the perturbations."""
    found: dict[str, list[Scored]] = {info.tensor: [] for info in report.layers}
    for result in report.perturbations:
        ranks = {tensor: rank for rank, tensor in enumerate(result.mvl.layers, start=1)}
        for score in result.layers:
            if score.tensor in found:
                found[score.tensor].append(Scored(result, score, ranks.get(score.tensor)))
    return found
