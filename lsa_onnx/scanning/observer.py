"""Does observing the layers change what the model says? The untouched model is held against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.report.document import ObserverCheck
from lsa_onnx.scanning.clean import CleanRun
from lsa_onnx.scanning.rows import same_shape
from lsa_onnx.statistics import row_slices

Array = NDArray[Any]


class Observer:
    """Compares the instrumented model with the clean run, batch by batch."""

    def __init__(self, clean: CleanRun, head: Head | None) -> None:
        """Start with nothing.

        Args:
            clean: What the untouched model said.
            head: How a class is read, ``None`` for models without.
        """
        self._clean = clean
        self._head = head
        self._extremes = {
            name: (0.0, 0.0) for name, value in clean.outputs.items() if value.dtype.kind in "fiub"
        }
        self._flips = 0

    def add(self, start: int, outputs: Mapping[str, Array]) -> None:
        """Take in the instrumented model's outputs for clean samples.

        Args:
            start: Position of the first sample.
            outputs: Output name → shape (n, ...). Samples whose clean outputs were not kept are
                passed over.
        """
        for name, (largest, scale) in self._extremes.items():
            deployed = self._clean.outputs[name][start:]
            both = same_shape(deployed, outputs[name][: len(deployed)])
            found = [_extremes(*(value[part] for value in both)) for part in _parts(*both)]
            self._extremes[name] = (
                max([largest, *(difference for difference, _ in found)]),
                max([scale, *(size for _, size in found)]),
            )
        self._count_flips(start, outputs)

    def check(self) -> ObserverCheck:
        """What was found; relative to the largest value of the same output.

        Where only one side is finite, the difference counts as that largest value (1 if that is 0):
        a lost number must not pass for an equal one.
        """
        absolute = relative = 0.0
        for largest, scale in self._extremes.values():
            unit = scale or 1.0
            difference = unit if np.isinf(largest) else largest
            absolute = max(absolute, difference)
            relative = max(relative, difference / scale if scale > 0 else float(difference > 0))
        known = self._head is not None and self._clean.classes is not None
        return ObserverCheck(
            n=self._clean.kept,
            max_absolute_difference=absolute,
            max_relative_difference=relative,
            label_flips=self._flips if known else None,
        )

    def _count_flips(self, start: int, outputs: Mapping[str, Array]) -> None:
        kept = self._clean.kept - start
        if self._head is None or self._clean.classes is None or kept <= 0:
            return
        seen = predicted_classes(self._head, outputs)
        if seen is not None:
            expected = self._clean.classes[start : start + min(kept, len(seen))]
            self._flips += int((seen[: len(expected)] != expected).sum())


def _parts(first: Array, second: Array) -> list[slice]:
    rows = min(len(first), len(second))
    return list(row_slices(rows, first[:1].size))


def _extremes(deployed: Array, instrumented: Array) -> tuple[float, float]:
    """The largest difference and the largest finite value of ``deployed``.

    The difference is infinite where only one side is finite; equal NaN and infinities are none.
    """
    first, second = deployed.astype(np.float64), instrumented.astype(np.float64)
    scale = float(np.abs(np.where(np.isfinite(first), first, 0.0)).max(initial=0.0))
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(np.abs(first - second), nan=np.inf, posinf=np.inf)
    equal = (first == second) | (np.isnan(first) & np.isnan(second))
    return float(np.where(equal, 0.0, difference).max(initial=0.0)), scale
