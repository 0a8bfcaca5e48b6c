"""Labels: class numbers, one per sample, from arrays of the usual shapes or a text file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.guard import reading

Labels = NDArray[np.int64]

_NO_LABELS = "give class numbers, or --labels none to scan without labels"
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")


def class_numbers(values: NDArray[Any], source: str) -> tuple[Labels, list[str]]:
    """``values`` as int64 ``(n,)``, and what was done.

    Accepted are the shapes ``(n,)``, ``(n, 1)`` and, one-hot, ``(n, classes)``.

    Raises:
        DataError: another shape or type, a value that is no integer, or a negative one.
    """
    notes: list[str] = []
    if values.ndim == 2 and values.shape[1] == 1:
        values, notes = values[:, 0], ["labels of shape Nx1 taken as N"]
    elif values.ndim == 2 and _is_one_hot(values):
        notes = [f"one-hot labels of {values.shape[1]} classes turned into class numbers"]
        values = values.argmax(axis=1)
    if values.ndim != 1:
        shape = "x".join(map(str, values.shape)) or "()"
        raise DataError(
            f"{source}: labels have shape {shape}; accepted are N, Nx1 and one-hot NxC; "
            f"{_NO_LABELS}"
        )
    if values.dtype.kind == "f":
        _require_integral(values, source)
        notes.append(f"labels stored as {values.dtype} read as integers")
    if len(values) and values.min() < 0:
        raise DataError(f"{source}: label {values.min()} is negative; {_NO_LABELS}")
    return values.astype(np.int64), notes


def require_length(labels: int, samples: int, labels_source: str, source: str) -> None:
    """Refuse labels that do not go with the samples one to one.

    Raises:
        DataError: the two lengths differ; both are named.
    """
    if labels != samples:
        text = f"{labels_source} holds {labels} labels, {source} holds {samples} samples"
        raise DataError(f"{text}; give one label per sample, or --labels none")


def read_text_labels(path: Path) -> Labels:
    """One integer per line; empty lines are skipped.

    Raises:
        DataError: the file cannot be read or a line holds something else.
    """
    with reading(path):
        content = path.read_bytes()
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        accepted = "npy, npz, IDX or text with one integer per line"
        raise DataError(f"{str(path)!r} is not a labels file; accepted is {accepted}") from error
    values = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            if not _INTEGER.fullmatch(line):
                text = f"{str(path)!r}, line {number}: {line.strip()[:40]!r} is not an integer"
                raise DataError(f"{text}; write one class number per line")
            values.append(int(line))
    return np.asarray(values, dtype=np.int64)


def _is_one_hot(values: NDArray[Any]) -> bool:
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def _require_integral(values: NDArray[Any], source: str) -> None:
    wrong = ~np.isfinite(values) | (values != np.floor(values))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{source}: label {values[first]} of sample {first} is not an integer; {_NO_LABELS}"
        )
