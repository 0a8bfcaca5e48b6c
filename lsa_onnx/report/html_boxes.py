"""How each figure is distributed over the samples, layer by layer: the data of the box plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsa_onnx.report.document import Distribution, LayerScore, PerturbationResult, Report

# Each figure of a layer that has a distribution: its field, its title, the title of its axis.
FIGURES = (
    ("relative_error", "relative error (CM)", "CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖"),
    ("absolute_error", "absolute error", "‖φ(x) − φ(x̂)‖"),
    ("cosine", "cosine similarity", "cosine of φ(x) and φ(x̂); 1: same direction"),
    ("amplification", "amplification", "‖Δφ‖ / ‖Δx‖"),
)
_DIGITS = 4


def boxes(report: Report) -> dict[str, Any]:
    """Titles of the figures, and by perturbation and figure a box per layer, ``None`` without figures.

    A box is minimum, 5 %, 25 %, median, 75 %, 95 %, maximum, mean and number of samples.
    """
    return {
        "figures": [{"title": title, "axis": axis} for _, title, axis in FIGURES],
        "boxes": [
            [_boxes(report, result, field) for field, _, _ in FIGURES]
            for result in report.perturbations
        ],
    }


def _boxes(report: Report, result: PerturbationResult, field: str) -> list[list[float] | None]:
    by_tensor = {score.tensor: score for score in result.layers}
    return [_box(by_tensor.get(info.tensor), field) for info in report.layers]


def _box(score: LayerScore | None, field: str) -> list[float] | None:
    if score is None:
        return None
    found: Distribution = getattr(score, field)
    quantiles = [found.quantiles.get(name) for name in ("0.05", "0.25", "0.75", "0.95")]
    low, lower, upper, high = quantiles
    values = [found.minimum, low, lower, found.median, upper, high, found.maximum, found.mean]
    known = [float(f"{value:.{_DIGITS}g}") for value in values if value is not None]
    return [*known, found.n] if len(known) == len(values) else None
