"""Labels: class numbers, or the numbers that a model without classes should give, one row per sample."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular
from lsa_onnx.inputs.guard import reading

Labels = NDArray[np.int64]

_NO_LABELS = "give class numbers, or --labels none to scan without labels"
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_SINGLE_BYTES = 4


def read_as(values: NDArray[Any], source: str, *, classes: bool) -> tuple[NDArray[Any], list[str]]:
    """``values`` as ``class_numbers`` of a model with ``classes``, else as ``target_numbers``; and notes.

    Raises:
        DataError: they are not what the model needs.
    """
    return class_numbers(values, source) if classes else (target_numbers(values, source), [])


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


def target_numbers(values: NDArray[Any], source: str) -> NDArray[Any]:
    """``values`` ``(n, ...)`` as what a model without classes should give: int64, float32 or float64.

    Raises:
        DataError: one is not finite.
    """
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        first = tuple(wrong[0])
        raise DataError(
            f"{source}: target {values[first]} of sample {first[0]} is not finite; give finite numbers, "
            "or --labels none"
        )
    return values.astype(np.float32 if values.itemsize <= _SINGLE_BYTES else np.float64)


def require_length(labels: int, samples: int, labels_source: str, source: str) -> None:
    """Refuse labels that do not go with the samples one to one.

    Raises:
        DataError: the two lengths differ; both are named.
    """
    if labels != samples:
        text = f"{labels_source} holds {labels} labels, {source} holds {samples} samples"
        raise DataError(f"{text}; give one label per sample, or --labels none")


def read_text_labels(path: Path, *, classes: bool = True) -> NDArray[Any]:
    """One number per line, shape ``(n,)``; empty lines are skipped.

    Args:
        path: the file.
        classes: whether class numbers are wanted, which are integers; else any number will do.

    Raises:
        DataError: the file cannot be read or a line holds something else.
    """
    form, what = (_INTEGER, "an integer") if classes else (_NUMBER, "a number")
    with reading(path):
        content = read_regular(path)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        accepted = f"npy, npz, IDX or text with {what} on each line"
        raise DataError(f"{str(path)!r} is not a labels file; accepted is {accepted}") from error
    values = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            if not form.fullmatch(line):
                text = f"{str(path)!r}, line {number}: {line.strip()[:40]!r} is not {what}"
                wanted = "class number" if classes else "number"
                raise DataError(f"{text}; write one {wanted} per line")
            values.append(int(line) if classes else float(line))
    return np.asarray(values, dtype=np.int64 if classes else np.float64)


def _is_one_hot(values: NDArray[Any]) -> bool:
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def _require_integral(values: NDArray[Any], source: str) -> None:
    wrong = ~np.isfinite(values) | (values != np.floor(values))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{source}: label {values[first]} of sample {first} is not an integer; {_NO_LABELS}"
        )
