"""Damaged images, and the folders and archives that hold them."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.fuzz import raw_bytes, values
from tests.fuzz.archives import gzip_bytes, tar_bytes
from tests.fuzz.arrays import png_chunk, zip_file

if TYPE_CHECKING:
    from random import Random

_NAMES = (
    "a/1.png", "a/2.png", "b/1.png", "b/3.jpg", "c.png", "train/a/1.png", "test/a/1.png",
    "a/.hidden.png", "../up.png", "/abs.png", "a/\x1b[31m.png", "a/x.PNG", "a/x.jpeg",
    "a/notes.txt", "__MACOSX/a.png", "a//b.png", "a/./b.png", "é/1.png", "a\\1.png",
    "b" * 120 + "/1.png", "a/1.png/2.png", "a/1.gif", "0/1.png", "10/1.png", "<b>/1.png",
)  # fmt: skip
_TAR_TYPES = (b"0", b"0", b"1", b"2", b"3", b"5", b"6", b"S", b"x", b"g", b"L", b"\x00", b"Z")


@cache
def _sound(mode: str, kind: str) -> bytes:
    shape = {
        "RGB": (5, 7, 3),
        "L": (5, 7),
        "RGBA": (5, 7, 4),
        "1": (5, 7),
        "P": (5, 7),
        "LA": (5, 7, 2),
    }[mode]
    drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(drawn).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def picture(rng: Random) -> bytes:
    """A PNG or JPEG, sound two times in five."""
    mode = rng.choice(("RGB", "RGB", "L", "RGBA", "1", "P", "LA"))
    kind = rng.choice(("PNG", "PNG", "JPEG")) if mode in ("RGB", "L") else "PNG"
    content = _sound(mode, kind)
    choice = rng.random()
    if choice < 0.4:
        return content
    if choice < 0.7 or kind == "JPEG":
        return raw_bytes.damaged(rng, content)
    return _png_with_odd_head(rng, content)


def _png_with_odd_head(rng: Random, content: bytes) -> bytes:
    """Sizes, depth and colours that do not fit the pixels, under a right checksum; or odd chunks."""
    start, end = 8, 8 + 25
    if rng.random() < 0.3:
        kind = rng.choice(
            (
                b"tEXt",
                b"iTXt",
                b"zTXt",
                b"iCCP",
                b"acTL",
                b"eXIf",
                b"PLTE",
                b"tRNS",
                b"IHDR",
                b"IEND",
            )
        )
        return content[:end] + png_chunk(kind, values.raw(rng, 40)) + content[end:]
    width, height, *rest = struct.unpack(">II5B", content[start + 8 : start + 21])
    if rng.random() < 0.6:
        width = values.integer(rng, 0, 2**32 - 1)
    if rng.random() < 0.4:
        height = values.integer(rng, 0, 2**32 - 1)
    rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return (
        content[:start]
        + png_chunk(b"IHDR", struct.pack(">II5B", width, height, *rest))
        + content[end:]
    )


def picture_files(rng: Random) -> dict[str, bytes]:
    """A few images by path."""
    return {rng.choice(_NAMES): picture(rng) for _ in range(rng.randint(0, 5))}


def tar_file(rng: Random) -> bytes:
    """A tar of images, its heads rewritten by a hand that knows the format; gzipped half of the time."""
    names = {name[:99]: content for name, content in picture_files(rng).items()}
    content = bytearray(tar_bytes(names))
    blocks = [i for i in range(0, len(content), 512) if content[i + 257 : i + 262] == b"ustar"]
    if blocks and rng.random() < 0.7:
        _rewrite(rng, content, rng.choice(blocks))
    if rng.random() < 0.2:
        content = content[: rng.randrange(len(content) + 1)]
    return gzip_bytes(bytes(content)) if rng.random() < 0.5 else bytes(content)


def _rewrite(rng: Random, content: bytearray, start: int) -> None:
    change = rng.choice((_other_type, _other_size, _other_name, _other_link))
    change(rng, content, start)
    head = (
        bytes(content[start : start + 148]) + b" " * 8 + bytes(content[start + 156 : start + 512])
    )
    content[start + 148 : start + 156] = b"%06o\0 " % sum(head)


def _other_type(rng: Random, content: bytearray, start: int) -> None:
    content[start + 156 : start + 157] = rng.choice(_TAR_TYPES)


def _other_size(rng: Random, content: bytearray, start: int) -> None:
    size = values.integer(rng, 0)
    octal = b"%011o\0" % (size % 8**11)
    content[start + 124 : start + 136] = (
        octal if rng.random() < 0.7 else b"\x80" + size.to_bytes(11, "big")
    )


def _other_name(rng: Random, content: bytearray, start: int) -> None:
    content[start : start + 100] = (
        values.text(rng).encode("utf-8", "replace")[:99].ljust(100, b"\0")
    )


def _other_link(rng: Random, content: bytearray, start: int) -> None:
    content[start + 156 : start + 157] = rng.choice((tarfile.LNKTYPE, tarfile.SYMTYPE))
    content[start + 157 : start + 257] = (
        values.text(rng).encode("utf-8", "replace")[:99].ljust(100, b"\0")
    )


def zip_of_pictures(rng: Random) -> bytes:
    """A zip of images."""
    return zip_file(rng, picture_files(rng))


ARCHIVES: dict[str, Callable[[Random], bytes]] = {"tar": tar_file, "zip": zip_of_pictures}
