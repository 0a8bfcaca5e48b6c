"""Stored arrays, read lazily: .npy, members of .npz, IDX (also gzipped). Nothing is ever unpickled.

Files that can be mapped are mapped; compressed ones are read once as a stream, of which only the
selected rows are kept. Either way memory grows with the selection, in the stored dtype.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import re
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.guard import one_line, reading
from lsa_onnx.inputs.sources import require_numbers

Array = NDArray[Any]
Index = NDArray[np.intp]
Opener = Callable[[], AbstractContextManager[IO[bytes]]]

CHUNK_BYTES = 1 << 24
# No deflate stream grows by more; a header that promises more is wrong.
_MOST_INFLATION = 1032
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Rows:
    """Selected samples of a stored array, in the order of the selection.

    ``data`` is a mapped file of which ``index`` are the samples, or just the samples (``index`` is
    ``None``).
    """

    data: Array
    index: Index | None

    def __len__(self) -> int:
        return len(self.data if self.index is None else self.index)

    def read(self, start: int, stop: int) -> Array:
        """Samples ``start`` to ``stop``, ``(stop - start, ...)`` as stored; may be a view."""
        if self.index is None:
            return self.data[start:stop]
        return np.asarray(self.data[self.index[start:stop]])


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, of which only the header was read.

    Attributes:
        path: the file.
        name: how messages call the array.
        shape: of the whole array, samples first.
        dtype: as stored.
        offset: bytes before the first element, in what ``opener`` gives.
        fortran: whether elements are stored in Fortran order.
        opener: gives the decompressed bytes from the start; ``None`` where the file can be mapped.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran: bool = False
    opener: Opener | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def whole(self) -> Array:
        """All of it, of ``shape``, as stored.

        Raises:
            DataError: as ``select``.
        """
        if self.shape:
            return self.select().read(0, len(self))
        with reading(self.path), self.opener() if self.opener else self.path.open("rb") as stream:
            stream.read(self.offset)
            return self._whole(stream)

    def as_one_row(self) -> StoredArray:
        """The same values as the only row of an array."""
        return replace(self, shape=(1, *self.shape))

    def select(self, index: Index | None = None) -> Rows:
        """The samples ``index`` ``(n,)``, all of them by default.

        Raises:
            DataError: the file is cut short, damaged, or too large for memory.
        """
        if 0 in self.shape:
            return Rows(np.empty(self.shape, self.dtype), None)
        with reading(self.path):
            try:
                return self._select(index)
            except ValueError as error:  # numpy's answer to a shape that no array can have
                raise EOFError(one_line(error)) from error

    def _select(self, index: Index | None) -> Rows:
        if self.opener is None:
            order: Literal["F", "C"] = "F" if self.fortran else "C"
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
            return Rows(mapped, index)
        chosen = np.arange(len(self), dtype=np.intp) if index is None else index
        with self.opener() as stream:
            stream.read(self.offset)
            rows = self._whole(stream)[chosen] if self.fortran else self._gather(stream, chosen)
            stream.read(1)  # the checksum of a gzip file is compared only when its end is met
        return Rows(rows, None)

    def _whole(self, stream: IO[bytes]) -> Array:
        content = _read_exactly(stream, math.prod(self.shape) * self.dtype.itemsize)
        return np.frombuffer(content, self.dtype).reshape(self.shape, order="F")

    def _gather(self, stream: IO[bytes], index: Index) -> Array:
        # A stream goes forward only: take its rows in file order, put each where it is wanted.
        order = np.argsort(index, kind="stable")
        wanted = index[order]
        out = np.empty((len(index), *self.shape[1:]), self.dtype)
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, CHUNK_BYTES // row_bytes)
        for first in range(0, len(self), step):
            count = min(step, len(self) - first)
            block = np.frombuffer(_read_exactly(stream, count * row_bytes), self.dtype)
            low, high = np.searchsorted(wanted, [first, first + count])
            out[order[low:high]] = block.reshape(count, *self.shape[1:])[wanted[low:high] - first]
        return out


class NpzFile:
    """The arrays of an .npz, by name; only those asked for are read.

    Raises:
        DataError: the file is damaged or may not be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path), zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        self._members = {
            info.filename.removesuffix(".npy"): info
            for info in entries
            if info.filename.endswith(".npy")
        }
        self.only_arrays = 0 < len(entries) == len(self._members)

    def __str__(self) -> str:
        return repr(str(self.path))

    @property
    def keys(self) -> list[str]:
        """Names of the arrays, in the order of the file."""
        return list(self._members)

    def array(self, key: str, *, single: bool = False) -> StoredArray:
        """The array ``key``.

        Args:
            key: its name.
            single: accept a single value, of shape ().

        Raises:
            DataError: there is none, it holds Python objects, or its header is damaged.
        """
        if key not in self._members:
            text = f"{str(self.path)!r} holds no array {key!r}"
            held = ", ".join(map(repr, self._members)) or "no arrays"
            raise DataError(f"{text}; it holds {held}: name one of them with --x-key or --y-key")
        info = self._members[key]
        name = f"{key!r} of {str(self.path)!r}"

        @contextlib.contextmanager
        def opener() -> Iterator[IO[bytes]]:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as member:
                yield member

        with reading(self.path), opener() as stream:
            size_bytes = min(info.file_size, info.compress_size * _MOST_INFLATION)
            return _npy_array(self.path, name, stream, size_bytes, opener, single=single)


def npy_file(path: Path, *, single: bool = False) -> StoredArray:
    """The array of an .npy file.

    Args:
        path: the file.
        single: accept a single value, of shape ().

    Raises:
        DataError: it holds Python objects, or is damaged, or may not be read.
    """
    with reading(path), path.open("rb") as stream:
        size_bytes = path.stat().st_size
        return _npy_array(path, repr(str(path)), stream, size_bytes, None, single=single)


def idx_file(path: Path, *, gzipped: bool) -> StoredArray:
    """The array of an IDX file (the format of MNIST).

    Raises:
        DataError: the header is damaged, or the file may not be read.
    """

    def opener() -> AbstractContextManager[IO[bytes]]:
        return cast("IO[bytes]", gzip.open(path, "rb"))

    with reading(path), opener() if gzipped else path.open("rb") as stream:
        magic = _read_exactly(stream, 4)
        if not is_idx(magic):
            raise DataError(
                f"{str(path)!r} is not an IDX file: it starts with the bytes {magic.hex(' ')}"
            )
        sizes = np.frombuffer(_read_exactly(stream, 4 * magic[3]), ">u4")
        shape = tuple(int(size) for size in sizes)
        dtype = np.dtype(_IDX_TYPES[magic[2]])
        offset = 4 + 4 * magic[3]
        size_bytes = path.stat().st_size * (_MOST_INFLATION if gzipped else 1)
        _require_bytes(size_bytes, offset, shape, dtype)
    name = repr(str(path))
    return StoredArray(path, name, shape, dtype, offset, opener=opener if gzipped else None)


def is_idx(head: bytes) -> bool:
    """Whether ``head`` starts an IDX file: two zero bytes, a known type, one to four axes."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 4


def _npy_array(
    path: Path,
    name: str,
    stream: IO[bytes],
    size_bytes: int,
    opener: Opener | None,
    *,
    single: bool,
) -> StoredArray:
    try:
        shape, fortran, dtype = _npy_header(stream)
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        # Parts of a syntax tree are told by their address.
        what = re.sub(r"<\S+ object at 0x[0-9a-f]+>", "an expression", one_line(error))
        raise DataError(
            f"{name} is not a usable npy array ({what}); save it with numpy.save"
        ) from error
    require_numbers(name, dtype)
    offset = stream.tell()
    if not (shape or single):
        raise DataError(
            f"{name} is a single value of shape (); accepted is an array with one row per sample"
        )
    _require_bytes(size_bytes, offset, shape, dtype)
    return StoredArray(path, name, shape, dtype, offset, fortran, opener)


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(stream)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy_format.read_array_header_2_0(stream)
    raise ValueError(f"format version {version[0]}.{version[1]} is for structured arrays")


def _require_bytes(
    size_bytes: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    # Before anything is allocated: a header may promise any shape.
    if min(shape, default=0) < 0:
        raise EOFError(f"its shape {shape} has a negative size")
    needed = offset + math.prod(shape) * dtype.itemsize
    if size_bytes < needed:
        raise EOFError(
            f"{size_bytes} bytes at most, {needed} expected for shape {'x'.join(map(str, shape))}"
        )


def _read_exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise EOFError(f"{count - len(content)} bytes are missing at its end")
    return content
