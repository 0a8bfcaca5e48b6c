"""Stored values to the declared range: bytes are scaled, all else is checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lsa_onnx.errors import DataError

if TYPE_CHECKING:
    from lsa_onnx.inputs.spec import InputSpec

Array = NDArray[Any]
NameOf = Callable[[int], str]

RANGE_TOLERANCE = 1e-6
"""Share of the range's width by which a value may overshoot it; such values are clipped."""


class Units:
    """Turns stored values into ``dtype`` values inside ``[spec.low, spec.high]``.

    Raises:
        DataError: ``dtype`` is not a floating point type, or cannot hold the range.
    """

    def __init__(self, spec: InputSpec, dtype: DTypeLike) -> None:
        self.spec = spec
        self.dtype = np.dtype(dtype)
        if self.dtype.kind != "f":
            raise DataError(
                f"inputs of type {self.dtype} cannot be perturbed; "
                "accepted are float16, float32 and float64"
            )
        if max(abs(spec.low), abs(spec.high)) > float(np.finfo(self.dtype).max):
            raise DataError(
                f"the range {spec.low:g} to {spec.high:g} is beyond what {self.dtype}, the type of the input, can "
                "hold; give the range of the values"
            )
        # Multiplying before dividing makes 0..255 exact: byte 200 is 200.0, not 199.99999.
        table = spec.low + np.arange(256) * spec.width / 255
        self._bytes = np.clip(table, spec.low, spec.high).astype(self.dtype)

    def takes_all(self, stored: np.dtype[Any]) -> bool:
        """Whether every value of the type ``stored`` can be converted."""
        return stored == np.uint8

    def notes(self, stored: np.dtype[Any]) -> list[str]:
        """What the report should say about values of the type ``stored``."""
        if stored != np.uint8:
            return []
        return [f"bytes scaled to {self.spec.low:g}..{self.spec.high:g}"]

    def from_bytes(self, values: Array) -> Array:
        """uint8 of any shape: 0 becomes ``low``, 255 ``high``."""
        return np.take(self._bytes, values)

    def from_words(self, values: Array) -> Array:
        """16-bit image values divided by 65535, any shape: 0 becomes ``low``, 1 ``high``."""
        scaled = self.spec.low + values.astype(np.float64) * self.spec.width
        return np.clip(scaled, self.spec.low, self.spec.high).astype(self.dtype)

    def convert(self, rows: Array, source: str, name_of: NameOf) -> Array:
        """``rows`` ``(n, ...)`` of any real dtype as a new C-contiguous array of ``dtype``.

        Raises:
            DataError: a value is NaN, infinite or outside the declared range by more than
                ``RANGE_TOLERANCE``.
        """
        if rows.dtype == np.uint8:
            return np.ascontiguousarray(self.from_bytes(rows))
        low, high = self.extent(rows, source, name_of)
        self.require_inside(low, high, source)
        if low < self.spec.low or high > self.spec.high:
            rows = np.clip(rows.astype(np.float64), self.spec.low, self.spec.high)
        return np.array(rows, dtype=self.dtype, order="C", copy=True)

    def extent(self, rows: Array, source: str, name_of: NameOf) -> tuple[float, float]:
        """Smallest and largest value of ``rows`` ``(n, ...)``, ``n`` at least 1.

        Raises:
            DataError: a value is NaN or infinite.
        """
        low, high = float(rows.min()), float(rows.max())
        if math.isfinite(low) and math.isfinite(high):
            return low, high
        finite = np.isfinite(rows).reshape(len(rows), -1)
        first = int(np.argmin(finite.all(axis=1)))
        value = float(rows[first].reshape(-1)[int(np.argmin(finite[first]))])
        raise DataError(
            f"{source}: {name_of(first)} holds {value}; remove the sample or correct its values"
        )

    def require_inside(self, low: float, high: float, source: str) -> None:
        """Refuse values that span ``[low, high]`` where that leaves the declared range.

        Raises:
            DataError: it does, by more than ``RANGE_TOLERANCE`` of the width.
        """
        slack = RANGE_TOLERANCE * self.spec.width
        if low >= self.spec.low - slack and high <= self.spec.high + slack:
            return
        declared = f"{self.spec.low:g} to {self.spec.high:g}"
        text = f"{source}: values span {low:g} to {high:g}, the declared range is {declared}"
        raise DataError(
            f"{text}; declare the range of the data, for example {_suggestion(low, high)}, "
            "or rescale them"
        )


def _suggestion(low: float, high: float) -> str:
    if low >= 0 and high <= 1:
        return "--range 0,1"
    if low >= 0 and high <= 255:
        return "--range 0,255"
    # Outward, so that the range holds every value seen; not empty where all are equal.
    lowest, highest = math.floor(low * 100) / 100, math.ceil(high * 100) / 100
    return f"--range={lowest:.12g},{max(highest, lowest + 1):.12g}"
