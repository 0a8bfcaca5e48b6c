"""What the runtime returned of some samples: all that their figures are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.executions import ExecutionSums
from lsa_onnx.measures import SumsOfSquares
from lsa_onnx.report.document import ObserverCheck

Array = NDArray[Any]
Classes = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """n samples under one perturbation.

    Attributes:
        sums: Sums of squares, shape (n, layers) each.
        change: ‖Δx‖₂, ‖Δx‖∞ and ‖Δx‖₂ / ‖x‖₂, shape (n, 3).
        classes: What the instrumented model says of the perturbed samples, shape (n,).
        executions: Of the layers that a body makes: layer → what each execution gave.
    """

    sums: SumsOfSquares
    change: NDArray[np.float64]
    classes: Classes | None
    executions: Mapping[int, ExecutionSums] = field(default_factory=dict)


@dataclass(frozen=True)
class AttackRecord:
    """What else is known of n samples that were attacked.

    Attributes:
        noise: The same samples under random noise of the same norm.
        classes: What the untouched model says of what the attack made, shape (n,).
        saturated: Whether the cross-entropy has no gradient left in single precision, shape (n,).
        flat: Whether the gradient is 0, whatever the objective's scale, shape (n,).
    """

    noise: Series
    classes: Classes | None
    saturated: Flags | None
    flat: Flags | None


@dataclass(frozen=True)
class Observed:
    """How the clean outputs of the instrumented model differ from those of the untouched one.

    Attributes:
        extremes: Output → the largest difference, infinite where only one side is finite, and the
            largest finite value.
        flips: Labels that differ; ``None`` for a model without classes.
    """

    extremes: Mapping[str, tuple[float, float]]
    flips: int | None

    def check(self, n: int) -> ObserverCheck:
        """For the report, ``n`` samples compared; relative to the largest value of the same output.

        Where only one side is finite, the difference counts as that largest value (1 if that is 0):
        a lost number must not pass for an equal one.
        """
        absolute = relative = 0.0
        for largest, scale in self.extremes.values():
            unit = scale or 1.0
            difference = unit if np.isinf(largest) else largest
            absolute = max(absolute, difference)
            relative = max(relative, difference / scale if scale > 0 else float(difference > 0))
        return ObserverCheck(n, absolute, relative, self.flips)


def worst_observed(parts: Sequence[Observed]) -> Observed:
    """Of several batches: the largest extremes, and all flips."""
    names = dict.fromkeys(name for part in parts for name in part.extremes)
    found = [part.flips for part in parts]
    flips = None if None in found or not found else sum(filter(None, found))
    return Observed(
        {name: _largest([p.extremes[name] for p in parts if name in p.extremes]) for name in names},
        flips,
    )


def _largest(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    differences, scales = zip(*pairs, strict=True)
    return max(differences), max(scales)


@dataclass(frozen=True)
class Record:
    """Some samples under one perturbation, from position ``start`` of the selection on."""

    start: int
    perturbed: Series
    observed: Observed
    attack: AttackRecord | None = None

    def __len__(self) -> int:
        return len(self.perturbed.change)


@dataclass(frozen=True)
class Clean:
    """n clean samples: what the untouched model says of them, and what it should say.

    Attributes:
        classes: Predicted classes, shape (n,); ``None`` for a model without.
        labels: Given labels, shape (n,); ``None`` without.
    """

    classes: Classes | None
    labels: Array | None

    def first(self, count: int) -> Clean:
        """Of the first ``count`` samples."""
        return dataclasses.replace(
            self,
            classes=None if self.classes is None else self.classes[:count],
            labels=None if self.labels is None else self.labels[:count],
        )
