"""Times of several sides, taken in turns, and how they compare."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Side = Callable[[], Any]

# Thread pools spin for a while after their last task, and would take time from the next side.
_PAUSE_S = 0.15


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and seconds that each side of a round lasts at least."""

    rounds: int
    seconds: float


class Ratio(NamedTuple):
    """How two sides compare: the median of the rounds' ratios, and the ratio of the medians."""

    paired: float
    medians: float

    @classmethod
    def of(cls, above: Array, below: Array) -> Ratio:
        """From seconds by round, shape (rounds,) each."""
        medians = float(np.median(above)) / float(np.median(below))
        return cls(float(np.median(above / below)), medians)

    def __str__(self) -> str:
        return f"**{self.paired:.2f}** ({self.medians:.2f})"


def interleaved(sides: Sequence[Side], effort: Effort) -> Array:
    """Seconds for one call of each side, shape (rounds, sides); the sides take turns."""
    for side in sides:
        side()
    calls = [max(1, math.ceil(effort.seconds / _timed(side, 1))) for side in sides]
    turns = [list(zip(sides, calls, strict=True)) for _ in range(effort.rounds)]
    return np.array([[_timed(side, count) for side, count in turn] for turn in turns])


def milliseconds(seconds: Array) -> str:
    """The median, and the least in brackets."""
    return f"{1000 * np.median(seconds):.1f} ({1000 * seconds.min():.1f})"


def _timed(side: Side, calls: int) -> float:
    """Seconds for one of ``calls`` calls on end, after a pause."""
    time.sleep(_PAUSE_S)
    start = time.perf_counter()
    for _ in range(calls):
        side()
    return (time.perf_counter() - start) / calls
