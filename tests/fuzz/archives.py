"""Containers of files with nothing of the clock in them: the same content gives the same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def npy_bytes(array: Array) -> bytes:
    """``array`` as an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype.hasobject)
    return buffer.getvalue()


def npz_bytes(**arrays: Array) -> bytes:
    """``arrays`` as an npz file."""
    return zip_bytes({f"{name}.npy": npy_bytes(array) for name, array in arrays.items()})


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """``files`` as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def tar_bytes(files: Mapping[str, bytes], *, zipped: bool = False) -> bytes:
    """``files`` as a tar file, ``zipped`` as a tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip_bytes(buffer.getvalue()) if zipped else buffer.getvalue()


def gzip_bytes(content: bytes) -> bytes:
    """``content`` as a gzip file."""
    return gzip.compress(content, mtime=0)
