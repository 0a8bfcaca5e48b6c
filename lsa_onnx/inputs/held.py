"""Values of model inputs that are held while another one is perturbed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import NpzFile, Rows, npy_file
from lsa_onnx.inputs.choose import as_whole, from_archive, is_whole
from lsa_onnx.inputs.detect import detect
from lsa_onnx.inputs.sources import SourceArray
from lsa_onnx.inputs.spec import SampleShape

if TYPE_CHECKING:
    from lsa_onnx.inputs.dataset import Dataset

Array = NDArray[Any]


def parse_hold(text: str) -> tuple[str, str]:
    """Name and value of ``NAME=FILE`` or ``NAME=NUMBER``.

    Raises:
        DataError: It is neither.
    """
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise DataError(
            f"--hold {text!r} is not NAME=FILE; give a model input and an npy or npz, such as "
            "mask=mask.npy, or a number for every element"
        )
    return name, value


def held_rows(name: str, value: str, shape: tuple[int | None, ...], dataset: Dataset) -> Rows:
    """The rows of a held input, one per selected sample of ``dataset``.

    Args:
        name: The model input.
        value: An npy, or an npz with an array of that name (or a single one): one row per sample of
            the whole source, or a single row for all of them. Or a number, for every element.
        shape: Of one row; ``None`` for a dimension that is free, which a number takes as 1.
        dataset: The samples that are perturbed.

    Raises:
        DataError: It cannot be read, or holds another number of rows, or rows of another shape.
    """
    if not Path(value).exists():
        number = _given_number(name, value)
        sizes = [1 if size is None else size for size in shape]
        return Rows(np.broadcast_to(np.float64(number), (len(dataset), *sizes)), None)
    stored = _stored(name, Path(value))
    _require_shape(name, value, stored, shape)
    if len(stored) == 1:
        return Rows(np.repeat(stored.select().read(0, 1), len(dataset), axis=0), None)
    if len(stored) != dataset.available:
        raise DataError(
            f"--hold {name}={value}: {stored.name} holds {len(stored)} rows, {dataset.source} holds "
            f"{dataset.available} samples; give one row per sample, or a single one for all"
        )
    return stored.select(dataset.selection)


def held_whole(name: str, value: str, shape: SampleShape) -> Array | None:
    """The one value, of ``shape``, that a held input takes for all samples.

    Args:
        name: The model input.
        value: An npy, or an npz with an array of that name (or a single one). Or a number, for every
            element.
        shape: Of the whole input; ``None`` for a dimension that is free, which a number takes as 1.

    Returns:
        ``None`` where the file holds another shape: one row per sample, perhaps.

    Raises:
        DataError: It cannot be read.
    """
    if not Path(value).exists():
        return np.full([1 if size is None else size for size in shape], _given_number(name, value))
    stored = _stored(name, Path(value), single=not shape)
    return as_whole(stored, shape) if is_whole(stored.shape, shape) else None


def _require_shape(
    name: str, value: str, stored: SourceArray, shape: tuple[int | None, ...]
) -> None:
    row = stored.shape[1:]
    if len(row) == len(shape) and all(
        want in (None, got) for got, want in zip(row, shape, strict=True)
    ):
        return
    took, given = (
        "x".join("?" if size is None else str(size) for size in sizes) or "a single number"
        for sizes in (shape, row)
    )
    raise DataError(
        f"--hold {name}={value}: its rows are {given}, the model takes {took}; give rows of that shape, "
        "or a number for every element"
    )


def _given_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"--hold {name}={text}: no such file, and {text!r} is not a number; give an npy, an "
            "npz or a number"
        )
    return number


def _stored(name: str, path: Path, *, single: bool = False) -> SourceArray:
    kind = detect(path)
    if kind == "npy":
        return npy_file(path, single=single)
    if kind != "npz":
        raise DataError(f"--hold {name}={str(path)!r} is {kind}; give an npy or an npz")
    keys = NpzFile(path).keys if single else ()
    return from_archive(NpzFile(path), x_names=(name,), use_labels=False, single=keys).x
