"""Does observing the layers change what the model says? The untouched model is held against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts import Observed
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.scanning.clean import CleanRun
from lsa_onnx.scanning.rows import same_shape
from lsa_onnx.statistics import row_slices

Array = NDArray[Any]


def observed(
    clean: CleanRun, head: Head | None, start: int, outputs: Mapping[str, Array]
) -> Observed:
    """Hold the instrumented model's outputs for clean samples against those of the untouched one.

    Args:
        clean: What the untouched model said.
        head: How a class is read, ``None`` for models without.
        start: Position of the first sample.
        outputs: Output name → shape (n, ...). Samples whose clean outputs were not kept are passed over.
    """
    place = start - clean.start
    extremes = {}
    for name, value in clean.outputs.items():
        if value.dtype.kind not in "fiub":
            continue
        deployed = value[place:]
        both = same_shape(deployed, outputs[name][: len(deployed)])
        found = [_extremes(*(side[part] for side in both)) for part in _parts(*both)]
        extremes[name] = (
            max((difference for difference, _ in found), default=0.0),
            max((scale for _, scale in found), default=0.0),
        )
    return Observed(extremes, _flips(clean, head, place, outputs))


def _flips(
    clean: CleanRun, head: Head | None, place: int, outputs: Mapping[str, Array]
) -> int | None:
    """Labels that differ; ``None`` for a model without classes."""
    if head is None or clean.classes is None:
        return None
    kept = max(0, clean.kept - place)
    seen = predicted_classes(head, outputs) if kept else None
    if seen is None:
        return 0
    expected = clean.classes[place : place + min(kept, len(seen))]
    return int((seen[: len(expected)] != expected).sum())


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
