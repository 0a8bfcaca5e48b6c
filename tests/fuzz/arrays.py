"""Damaged arrays and the files that hold them: npy, npz, IDX."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.fuzz import values
from tests.fuzz.archives import Array, gzip_bytes, npy_bytes, zip_bytes

if TYPE_CHECKING:
    from random import Random

_DESCRIPTIONS = (
    "<f4", ">f4", "<f8", "<f2", "|u1", "|i1", "<i8", "<u8", "|b1", "<c8", "|S4", "<U4", "|O", "|V3",
    "<M8[ns]", "<f16", "|S0", "|V0", "<f3", "", "x", "|O8", [("a", "<f4")], [("a", "|O")],
    [("a", "<f4", (2**31, 2**31))], None, 4,
)  # fmt: skip
_IDX_CODES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x00, 0x0A, 0xFF)
_MEMBERS = (
    "x",
    "y",
    "x_test",
    "y_test",
    "x_train",
    "X",
    "images",
    "labels",
    "",
    "../x",
    "a/b",
    "x\x1b",
    "z_test",
    "meta",
)


class _Trap:
    """Unpickled, it would write a file into the current folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("unpickled", "w")


def images(rng: Random, count: int | None = None) -> Array:
    """Images for ``graphs.conv_net``, of values that are odd now and then."""
    number = rng.choice((1, 2, 5, 8)) if count is None else count
    drawn = np.random.default_rng(rng.randrange(2**32)).random((number, 3, 5, 7))
    x = drawn.astype(np.float32)
    choice = rng.random()
    if choice < 0.25:
        with np.errstate(over="ignore"):
            x.flat[rng.randrange(x.size)] = values.number(rng)
    elif choice < 0.5:
        x = (drawn * 255).astype(rng.choice(("uint8", "int16", "float16", "float64", "int64")))
    elif choice < 0.6:
        x = x.transpose(rng.sample(range(4), 4))
    elif choice < 0.7:
        x = rng.choice(
            (x.ravel(), x.reshape(number, -1), x[None], x[:, :, 0], x[:0], x[0, 0, 0, 0])
        )
    return x


def labels(rng: Random, count: int = 5) -> Array:
    """Class numbers, of odd values and types now and then."""
    y: Array = np.array([rng.randrange(6) for _ in range(count)])
    choice = rng.random()
    if choice < 0.3 and count:
        y[rng.randrange(count)] = values.integer(rng)
    elif choice < 0.5 and count:
        y = np.eye(6)[y].astype(rng.choice(("float32", "int64", "bool")))
    elif choice < 0.7:
        with np.errstate(all="ignore"):
            y = y.astype(
                rng.choice(("float32", "bool", "S3", "U3", "complex64", "uint64", "M8[s]", "V4"))
            )
    elif choice < 0.8:
        y = np.array([_Trap()] * max(count, 1), dtype=object)
    return y


def npy_file(rng: Random, array: Array) -> bytes:
    """``array`` as an npy, its head rewritten by a hand that knows the format."""
    content = npy_bytes(array)
    if array.dtype.hasobject or rng.random() < 0.5:
        return content
    length = struct.unpack("<H", content[8:10])[0]
    head = _npy_head(rng, array)
    version = (1, 0) if rng.random() < 0.8 else rng.choice(((2, 0), (3, 0), (0, 0), (9, 9)))
    size = rng.choice((len(head), len(head), len(head), values.integer(rng, 0, 2**16 - 1)))
    packed = struct.pack("<H", size) if version[0] < 2 else struct.pack("<I", size)
    return b"\x93NUMPY" + bytes(version) + packed + head + content[10 + length :]


def _npy_head(rng: Random, array: Array) -> bytes:
    shape: Any = list(array.shape)
    if rng.random() < 0.5:
        shape.insert(rng.randint(0, len(shape)), values.integer(rng))
    if rng.random() < 0.5 and shape:
        del shape[rng.randrange(len(shape))]
    entries: dict[str, Any] = {
        "descr": rng.choice(_DESCRIPTIONS) if rng.random() < 0.5 else array.dtype.str,
        "fortran_order": rng.choice((False, True, 1, None)),
        "shape": rng.choice((tuple(shape), tuple(shape), shape, None, "x")),
    }
    if rng.random() < 0.1:
        del entries[rng.choice(list(entries))]
    if rng.random() < 0.1:
        entries[values.text(rng)] = 1
    text = rng.choice((*[repr(entries)] * 8, "[" * 60, "__import__('os')", "{" * 5, ""))
    return text.encode("utf-8", "replace") + b" " * rng.choice((0, 7, 16)) + b"\n"


def npz_file(rng: Random) -> bytes:
    """An npz with arrays and names that are odd now and then."""
    x = images(rng)
    count = len(x) if x.ndim else 1
    y = labels(rng, count if rng.random() < 0.7 else rng.randrange(9))
    names = ["x", "y"] if rng.random() < 0.6 else rng.sample(_MEMBERS, 2)
    files = {f"{name}.npy": npy_file(rng, array) for name, array in zip(names, (x, y), strict=True)}
    if rng.random() < 0.2:
        files[rng.choice(_MEMBERS) + rng.choice((".npy", ".txt", ""))] = values.raw(rng)
    return zip_file(rng, files)


def zip_file(rng: Random, files: dict[str, bytes]) -> bytes:
    """A zip, a number in one of its directories rewritten now and then."""
    content = bytearray(zip_bytes(files, rng.choice((0, 8, 8, 8, 8, 12, 14))))
    if rng.random() < 0.25:
        mark = rng.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
        places = [i for i in range(len(content)) if content.startswith(mark, i)]
        start = rng.choice(places or [0]) + 4 + 2 * rng.randrange(21)
        content[start : start + 2] = (values.integer(rng) % 2**16).to_bytes(2, "little")
    return bytes(content)


def idx_file(rng: Random, array: Array) -> bytes:
    """``array`` as an IDX file, its head odd now and then; gzipped half of the time."""
    sizes: Sequence[int] = array.shape
    code, rank = 0x08, array.ndim
    if rng.random() < 0.4:
        code = rng.choice(_IDX_CODES)
    if rng.random() < 0.3:
        rank = rng.choice((0, 1, rank + 1, 255))
    if rng.random() < 0.4:
        sizes = [rng.choice((size, values.integer(rng, 0, 2**32 - 1))) for size in sizes]
    head = bytes([0, 0, code, rank]) + struct.pack(f">{len(sizes)}I", *sizes)
    with np.errstate(invalid="ignore"):
        content = head + np.asarray(array).astype(np.uint8).tobytes()
    return gzip_bytes(content) if rng.random() < 0.5 else content


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
