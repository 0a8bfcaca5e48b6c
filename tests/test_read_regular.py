"""Files that are read whole: only those that end, and are not larger than anybody would make them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lsa_onnx.files import read_regular


def test_the_content_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\r\n\0\xff")
    assert read_regular(path) == b"\r\n\0\xff"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "link") == b"text"


@pytest.mark.parametrize(("size", "fits"), [(0, True), (9, True), (10, True), (11, False)])
def test_a_bound(tmp_path: Path, size: int, fits: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    if fits:
        assert len(read_regular(path, most_bytes=10)) == size
    else:
        with pytest.raises(OSError, match="it has more than 10 bytes"):
            read_regular(path, most_bytes=10)


def test_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_regular(tmp_path / "nothing")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_need_not_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"a device, a pipe or a folder|Is a directory"):
        read_regular(path)
