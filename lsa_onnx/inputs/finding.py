"""The arrays that a request is about, in a file or in memory."""

from __future__ import annotations

from pathlib import Path

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import NpzFile, npy_file
from lsa_onnx.inputs.choose import Found, from_archive, from_idx
from lsa_onnx.inputs.detect import Kind
from lsa_onnx.inputs.memory import Arrays
from lsa_onnx.inputs.request import Request
from lsa_onnx.inputs.sources import Archive

NO_LABELS = "none"


def in_memory(request: Request, arrays: Arrays) -> Found:
    """Those of ``arrays`` that a request is about.

    Raises:
        DataError: An option is for files, or the arrays cannot be told apart.
    """
    _refuse_resize(request, "no file")
    if arrays.x is None:
        return _by_name(request, arrays)
    _refuse_choice(request, "a single one")
    labels = arrays.labels() if request.labels is None else None
    return Found(arrays.samples(single=request.is_number), labels)


def in_file(request: Request, path: Path, kind: Kind) -> Found:
    """Those of a file of arrays, headers only.

    Raises:
        DataError: An option is not for such a file, it cannot be read, or its arrays be told apart.
    """
    _refuse_resize(request, kind)
    if kind == "npz":
        return _by_name(request, NpzFile(path))
    _refuse_choice(request, kind)
    if kind == "npy":
        return Found(npy_file(path, single=request.is_number))
    return from_idx(path, gzipped=kind == "idx.gz", use_labels=request.labels is None)


def _by_name(request: Request, archive: Archive) -> Found:
    return from_archive(
        archive,
        x_key=request.x_key,
        y_key=request.y_key,
        split=request.split,
        split_if_any=request.split_if_any,
        input_names=request.input_names,
        single=request.numbers,
        use_labels=request.labels is None,
    )


def _refuse_resize(request: Request, kind: str) -> None:
    if request.resize:
        raise DataError(
            f"--resize works on image files, {request.source} is {kind}; "
            "store the arrays in the model's size"
        )


def _refuse_choice(request: Request, kind: str) -> None:
    """Refuse what chooses among several arrays."""
    refuse_keys(request, kind)
    if request.split is not None and not request.split_if_any:
        text = f"--split {request.split!r}: {request.source} is {kind} and has no splits"
        raise DataError(f"{text}; leave the option out")


def refuse_keys(request: Request, kind: str) -> None:
    """Refuse names of arrays for what has none.

    Raises:
        DataError: One is given.
    """
    # --y-key may also choose in the file of --labels.
    own_labels = request.labels in (None, NO_LABELS)
    for flag, key in (
        ("--x-key", request.x_key),
        ("--y-key", request.y_key if own_labels else None),
    ):
        if key is not None:
            raise DataError(
                f"{flag} {key!r} chooses an array of an npz, {request.source} is {kind}; "
                "leave it out"
            )
