"""What arrays of data have in common, in whatever file or in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError

if TYPE_CHECKING:
    from lsa_onnx.inputs.arrays import Index, Rows

Array = NDArray[Any]


class SourceArray(Protocol):
    """An array of a source of data, in a file or in memory."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array, samples first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""

    def __len__(self) -> int: ...

    def whole(self) -> Array:
        """All of it, of ``shape``, as stored."""

    def select(self, index: Index | None = None) -> Rows:
        """The samples ``index`` ``(n,)``, all of them by default."""

    def as_one_row(self) -> SourceArray:
        """The same values as the only row of an array."""


class Archive(Protocol):
    """Arrays by name, in a file or in memory."""

    @property
    def keys(self) -> list[str]:
        """Their names."""

    def array(self, key: str, *, single: bool = False) -> SourceArray:
        """The array ``key``; ``single`` accepts a single value, of shape ()."""


def listed(keys: Sequence[str]) -> str:
    """The names of arrays, as messages give them."""
    return "the arrays " + ", ".join(map(repr, keys)) if keys else "no arrays"


def require_numbers(name: str, dtype: np.dtype[Any]) -> None:
    """Refuse an array of anything else.

    Raises:
        DataError: It holds Python objects, texts, dates or complex numbers.
    """
    if dtype.hasobject:
        text = f"{name} holds Python objects (dtype {dtype}), which are never unpickled"
        raise DataError(f"{text}; save it as an array of numbers")
    if dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {dtype}; accepted are booleans, integers and floats")
