"""What kind of data a path holds, told by its content."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import Literal

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import NpzFile, is_idx
from lsa_onnx.inputs.guard import reading

Kind = Literal["folder", "npy", "npz", "idx", "idx.gz", "tar", "tar.gz", "zip"]

ACCEPTED = "accepted are npz, npy, IDX, and JPEG or PNG images in a folder, .tar, .tar.gz or .zip"


def detect(path: Path) -> Kind:
    """What kind of data ``path`` is, by its content.

    Raises:
        DataError: it does not exist, may not be read, is empty, or is of no supported kind.
    """
    with reading(path):
        if path.is_dir():
            return "folder"
        if path.exists() and not path.is_file():
            raise DataError(f"{str(path)!r} is a device or pipe; {ACCEPTED}")
        with path.open("rb") as file:
            head = file.read(8)
        if not head:
            raise DataError(f"{str(path)!r} is empty (0 bytes); {ACCEPTED}")
        kind = _kind_of(path, head)
    if kind is None:
        raise DataError(
            f"{str(path)!r} is of no supported kind (it starts with {head!r}); {ACCEPTED}"
        )
    return kind


def _kind_of(path: Path, head: bytes) -> Kind | None:
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK"):
        # An archive of images may hold an .npy by the way; an npz holds nothing else.
        return "npz" if path.suffix.lower() == ".npz" or NpzFile(path).only_arrays else "zip"
    if is_idx(head):
        return "idx"
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path, "rb") as file:
            return "idx.gz" if is_idx(file.read(4)) else "tar.gz"
    return "tar" if tarfile.is_tarfile(path) else None
