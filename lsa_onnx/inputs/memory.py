"""Arrays in memory as a source of data, read by the rules that hold for an npy or an npz of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import Index, Rows
from lsa_onnx.inputs.guard import one_line
from lsa_onnx.inputs.sources import listed, require_numbers

Array = NDArray[Any]

# What callers may give for data: a path, x, (x, y), or arrays by name. ``Any`` stands for what numpy can
# make an array of: those of other libraries.
Data: TypeAlias = "str | os.PathLike[str] | tuple[Any, Any] | Mapping[str, Any] | Any"

_ACCEPTED = "give a path, an array of the samples, a tuple (x, y) of samples and labels, or a dict of arrays by name"


@dataclass(frozen=True, eq=False)
class MemoryArray:
    """An array in memory, as ``lsa_onnx.inputs.arrays.StoredArray`` is one in a file.

    Attributes:
        name: How messages call it.
        values: Its elements, samples first; never changed.
    """

    name: str
    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its elements."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def whole(self) -> Array:
        """All of it."""
        return self.values

    def select(self, index: Index | None = None) -> Rows:
        """The samples ``index`` ``(n,)``, all of them by default."""
        return Rows(self.values, index)

    def as_one_row(self) -> MemoryArray:
        """The same values as the only row of an array."""
        return MemoryArray(self.name, self.values[np.newaxis])


class Arrays:
    """Arrays in memory: samples with or without labels, or several by name.

    Those by name are what an npz of them would be: the names tell the samples, the labels and the
    model's further inputs. They are not copied; nobody may change them while they are in use.

    Attributes:
        x: The samples, ``(n, ...)``; ``None`` where there are names.
        y: The labels, ``None`` for none.
    """

    def __init__(
        self,
        x: Array | None = None,
        y: Array | None = None,
        named: Mapping[str, Array] | None = None,
    ) -> None:
        """Hold arrays of numbers; ``as_source`` makes this of whatever a caller gave."""
        self.x = None if x is None else MemoryArray("the array in memory", x)
        self.y = None if y is None else MemoryArray("the array of labels", y)
        self._named = {
            key: MemoryArray(f"{key!r} of {self}", values) for key, values in (named or {}).items()
        }

    def __str__(self) -> str:
        return "arrays in memory" if self.x is None else "an array in memory"

    __repr__ = __str__

    @property
    def keys(self) -> list[str]:
        """Names of the arrays that have some."""
        return list(self._named)

    def array(self, key: str, *, single: bool = False) -> MemoryArray:
        """The array ``key``.

        Args:
            key: Its name.
            single: Accept a single value, of shape ().

        Raises:
            DataError: There is none, or it is a single value.
        """
        if key not in self._named:
            raise DataError(
                f"{self} hold no {key!r}; they are {listed(self.keys)}: name one of them with x_key or y_key"
            )
        return _with_rows(self._named[key], single=single)

    def samples(self, *, single: bool = False) -> MemoryArray:
        """The samples that have no name; ``single`` as for ``array``.

        Raises:
            DataError: They are a single value.
        """
        assert self.x is not None  # noqa: S101 - whoever asks has looked
        return _with_rows(self.x, single=single)

    def labels(self) -> MemoryArray | None:
        """The labels that have no name.

        Raises:
            DataError: They are a single value.
        """
        return None if self.y is None else _with_rows(self.y, single=False)


def is_in_memory(data: object) -> bool:
    """Whether a caller gave arrays rather than a path: ``as_source`` says whether they will do."""
    return isinstance(data, Arrays | tuple | Mapping) or hasattr(data, "__array__")


def as_source(data: Data, name: str = "data") -> Path | Arrays:
    """What a caller gave as data, as a path or as arrays of numbers.

    Args:
        data: A path; an array ``(n, ...)``; a tuple of samples and labels; or a mapping of names to
            arrays. Arrays may be of any library that numpy can read; in a tuple or a mapping, a list
            of numbers will do.
        name: What messages call it.

    Raises:
        DataError: It is something else, or an array does not hold numbers.
    """
    if isinstance(data, Arrays):
        return data
    if isinstance(data, str | os.PathLike):
        return Path(os.fspath(data))
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"{name} is a tuple of {len(data)} values; {_ACCEPTED}")
        x, y = data
        labels = None if y is None else _numbers(f"the second of {name}", y)
        return Arrays(_numbers(f"the first of {name}", x), labels)
    if isinstance(data, Mapping):
        return Arrays(named={str(k): _numbers(f"{k!r} of {name}", v) for k, v in data.items()})
    if isinstance(data, list):
        raise DataError(f"{name} is a list; {_ACCEPTED}")
    return Arrays(_numbers(name, data))


def _numbers(name: str, values: Any) -> Array:
    if not (isinstance(values, list) or hasattr(values, "__array__")):
        raise DataError(f"{name} is of type {type(values).__name__}; {_ACCEPTED}")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        # Such as a tensor on a GPU, or one that needs a gradient.
        raise DataError(f"{name} is no array for numpy: {one_line(error)}") from error
    require_numbers(name, array.dtype)
    return array


def _with_rows(array: MemoryArray, *, single: bool) -> MemoryArray:
    if not (array.shape or single):
        raise DataError(
            f"{array.name} is a single value of shape (); accepted is an array with one row per sample"
        )
    return array
