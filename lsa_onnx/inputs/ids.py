"""Integer inputs: token ids and the like, which are looked up and not perturbed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.spec import InputSpec
from lsa_onnx.inputs.units import NameOf, Units

if TYPE_CHECKING:
    from lsa_onnx.inputs.images import Hash

Array = NDArray[Any]

FREE_LENGTH = 16
"""Ids of a made-up sample along an axis that the model leaves free."""


class Ids(Units):
    """Takes stored integers as they are, if they are between ``low`` and ``high``."""

    def __init__(self, dtype: DTypeLike, limits: tuple[int, int] | None = None) -> None:
        """Say what is accepted.

        Args:
            dtype: The integer type, or bool, that the model takes.
            limits: The smallest and the largest id; ``None`` for all of the type.

        Raises:
            DataError: ``dtype`` is another type.
        """
        super().__init__(InputSpec(), np.float32)
        self.dtype = np.dtype(dtype)
        if self.dtype.kind not in "iub":
            raise DataError(f"ids of type {self.dtype} are not usable; accepted are integers")
        kind = np.dtype(np.uint8) if self.dtype.kind == "b" else self.dtype
        most = 1 if self.dtype.kind == "b" else int(np.iinfo(kind).max)
        self.low, self.high = limits or (int(np.iinfo(kind).min), most)

    def takes_all(self, stored: np.dtype[Any]) -> bool:
        """Whether every value of the type ``stored`` is an id that is accepted."""
        if stored.kind not in "iu":
            return False
        info = np.iinfo(stored)
        return bool(self.low <= info.min and info.max <= self.high)

    def notes(self, stored: np.dtype[Any]) -> list[str]:  # noqa: ARG002 - as that of Units
        """Nothing is done to ids, of whatever type."""
        return []

    def convert(self, rows: Array, source: str, name_of: NameOf) -> Array:
        """``rows`` ``(n, ...)`` as a new C-contiguous array of ``dtype``.

        Raises:
            DataError: They are no integers, or one is not accepted.
        """
        self.require_inside(*self.extent(rows, source, name_of), source)
        return np.array(rows, dtype=self.dtype, order="C", copy=True)

    def extent(
        self,
        rows: Array,
        source: str,
        name_of: NameOf,  # noqa: ARG002 - as that of Units
    ) -> tuple[int, int]:
        """Smallest and largest id of ``rows`` ``(n, ...)``, ``n`` at least 1.

        Raises:
            DataError: They are no integers.
        """
        if rows.dtype.kind not in "iub":
            raise DataError(
                f"{source} holds {rows.dtype} values, the model takes {self.dtype}; give integers"
            )
        return int(rows.min()), int(rows.max())

    def require_inside(self, low: float, high: float, source: str) -> None:
        """Refuse ids that span ``[low, high]`` where one of them is not accepted.

        Raises:
            DataError: One is not; it is named.
        """
        if low < self.low or high > self.high:
            wrong = low if low < self.low else high
            raise DataError(
                f"{source} holds the id {wrong:.0f}, the model takes {self.low} to {self.high}; use the "
                "tokenizer that the model was made with"
            )


@dataclass(frozen=True)
class RandomIds:
    """``count`` samples of independent ids, uniform among those accepted and not negative.

    Sample ``i`` depends on ``seed`` and ``i`` alone.
    """

    count: int
    shape: tuple[int, ...]
    units: Ids
    seed: int

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> Array:
        """Samples ``start`` to ``stop``, ``(n, *shape)``, the same however batches are cut."""
        out = np.empty((stop - start, *self.shape), self.units.dtype)
        low = max(self.units.low, 0)
        for index in range(start, stop):
            random = np.random.default_rng([self.seed, index])
            out[index - start] = random.integers(low, self.units.high, self.shape, endpoint=True)
        return out

    def survey(self, digest: Hash) -> None:
        """Feed all samples to ``digest``, one at a time."""
        digest.update(f"{self.units.dtype.str} {self.shape}".encode())
        for index in range(self.count):
            digest.update(self.read(index, index + 1).tobytes())
