"""Headers of tar files whose numbers are no sizes or places: one line, and an end."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import InputSpec, open_data
from tests.inputs.files import encoded, pixels

PNG = encoded(pixels(0, 5, 8, 3))
BLOCK = tarfile.BLOCKSIZE


def entry(name: str, size: int) -> bytes:
    """A header of a regular file of ``size`` bytes, which GNU's base 256 writes in any size."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    if size < 0 or size >= 8**11:
        block[124:136] = (size + (0 if size >= 0 else 256**12)).to_bytes(12, "big")
        block[124] |= 0x80
    else:
        block[124:136] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def first_image() -> bytes:
    return entry("a/0.png", len(PNG)) + PNG.ljust(-(-len(PNG) // BLOCK) * BLOCK, b"\0")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    "size",
    [2**62, 2**63 - 1, 2**70, -BLOCK, -2 * BLOCK, -1, -(2**40), -(2**80)],
)
def test_sizes_that_no_file_has(size: int, suffix: str, tmp_path: Path) -> None:
    """A size below zero leads back to the entry itself, again and again."""
    content = first_image() + entry("b/notes.txt", size) + bytes(2 * BLOCK)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == "tar.gz" else content)
    with pytest.raises(DataError, match=rf"a\.{suffix}' (is damaged|cannot be read)") as caught:
        open_data(path, InputSpec(), (3, 5, 8))
    assert "\n" not in str(caught.value)


def test_an_ordinary_header_made_likewise_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    content = first_image() + entry("b/notes.txt", 3) + b"abc".ljust(BLOCK, b"\0")
    path.write_bytes(content + bytes(2 * BLOCK))
    data = open_data(path, InputSpec(), (3, 5, 8))
    assert len(data) == 1
    assert "1 entries ignored (not JPEG or PNG)" in data.notes


def test_an_entry_of_a_zip_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"nothing")
        archive.writestr("a.png", PNG)
    assert len(open_data(path, InputSpec(), (3, 5, 8))) == 1
