"""What became of an accuracy and of a layer, and whether chance explains it."""

from __future__ import annotations

import math

from lsa_onnx.bootstrap import Estimate
from lsa_onnx.report.comparison import AccuracyChange, Movement, Verdict
from lsa_onnx.report.document import LayerScore, PerturbationResult
from lsa_onnx.report.sections import Accuracy
from lsa_onnx.statistics import newcombe_interval

# The part of a change of CM, on a scale of ratios, that ‖Δφ‖ must explain for it to be movement.
_MOVED = 0.5
# Of a layer that a perturbation has no score of.
UNKNOWN = Movement(None, None, None, None)


def accuracy_change(
    before: Accuracy | None, after: Accuracy | None, paired: Estimate | None = None
) -> AccuracyChange | None:
    """An accuracy before and after; ``None`` where one is undefined.

    Args:
        before: Of the first model.
        after: Of the second.
        paired: The difference, a share, where it is known sample by sample.
    """
    if before is None or after is None:
        return None
    interval = newcombe_interval(before, after) if paired is None else paired.interval
    return AccuracyChange(
        before=before,
        after=after,
        difference=after.value - before.value,
        interval=interval,
        method="Newcombe" if paired is None else "paired bootstrap",
        verdict=of_difference(interval),
    )


def of_difference(interval: tuple[float, float]) -> Verdict:
    """What the 95 % interval of a difference says, of a figure that is better the larger it is."""
    low, high = interval
    return "worse" if high < 0 else "better" if low > 0 else "same"


def movements(result: PerturbationResult) -> dict[str, Movement]:
    """How every layer moved under a perturbation, by tensor."""
    ranks = {tensor: rank for rank, tensor in enumerate(result.mvl.layers, start=1)}
    return {score.tensor: _movement(score, ranks.get(score.tensor)) for score in result.layers}


def _movement(score: LayerScore, rank: int | None) -> Movement:
    cm = score.relative_error
    return Movement(cm.mean, cm.interval, score.absolute_error.mean, rank)


def of_movement(before: Movement, after: Movement) -> Verdict:
    """Worse where all of the interval of the mean CM lies above what it was, better below."""
    if before.interval is None or after.interval is None:
        return "undefined"
    if after.interval[0] > before.interval[1]:
        return "worse"
    return "better" if after.interval[1] < before.interval[0] else "same"


def relative_change(before: Movement, after: Movement) -> float | None:
    """Mean CM after over that before, minus 1; ``None`` where that is undefined."""
    return after.cm / before.cm - 1 if before.cm and after.cm is not None else None


def norm_note(before: Movement, after: Movement) -> str | None:
    """Says where a CM changed mostly because the clean norm did, and not because the layer moves otherwise.

    CM is ‖Δφ‖ over ‖φ‖: a constant that training adds to φ makes CM small and leaves ‖Δφ‖ as it was.
    """
    if of_movement(before, after) not in ("better", "worse"):
        return None
    if not (before.cm and after.cm and before.absolute and after.absolute):
        return None
    ratio, moved = after.cm / before.cm, after.absolute / before.absolute
    if math.log(moved) / math.log(ratio) >= _MOVED:
        return None
    return (
        f"CM is {ratio:.3g} times what it was, ‖Δφ‖ {moved:.3g} times: that is mostly a clean norm of "
        f"{moved / ratio:.3g} times its size, not a layer that moves {'less' if ratio < 1 else 'more'}"
    )
