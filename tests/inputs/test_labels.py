from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Dataset, InputSpec, open_data
from tests.inputs.files import pixels, write_idx, write_npy, write_npz

X = pixels(0, 6, 4, 7)
Y = np.array([3, 0, 2, 2, 1, 3])


def opened(path: Path, **options: Any) -> Dataset:
    return open_data(path, InputSpec(), (4, 7), **options)


def labels_of(data: Dataset) -> list[int]:
    """In the order of the file."""
    _, y = data.batch(0, len(data))
    assert y is not None
    assert y.dtype == np.int64
    back = np.empty(data.available, np.int64)
    back[data.selection] = y
    return back.tolist()


@pytest.mark.parametrize(
    ("y", "note"),
    [
        (Y, None),
        (Y.astype(np.uint8), None),
        (Y.reshape(6, 1), "labels of shape Nx1 taken as N"),
        (Y.astype(np.float32), "labels stored as float32 read as integers"),
        (np.eye(4)[Y], "one-hot labels of 4 classes turned into class numbers"),
        (np.eye(4, dtype=bool)[Y], "one-hot labels of 4 classes turned into class numbers"),
    ],
)
def test_accepted_forms(y: Any, note: str | None, tmp_path: Path) -> None:
    data = opened(write_npz(tmp_path / "a.npz", x=X, y=y))
    assert labels_of(data) == Y.tolist()
    assert note is None or note in data.notes


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y + 0.5, "label 3.5 of sample 0 is not an integer.*--labels none"),
        (np.array([0, 1, np.nan, 0, 0, 0]), "label nan of sample 2"),
        (Y - 2, "label -2 is negative"),
        (np.full((6, 3), 0.3), "labels have shape 6x3"),
        (np.zeros((6, 2, 2), int), "labels have shape 6x2x2"),
        (Y[:4], "'y' of .*a.npz' holds 4 labels, .*holds 6 samples"),
        (np.array(list("abcdef")), "'y' of .*dtype <U1"),
        (np.array(3), "single value"),
    ],
)
def test_refused_forms(y: Any, message: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=X, y=y)
    with pytest.raises(DataError, match=message):
        opened(path)
    data = opened(path, labels="none")
    assert data.batch(0, 3)[1] is None
    assert "labels ignored (--labels none)" in data.notes


@pytest.mark.parametrize("kind", ["npy", "npz", "npz-keyed", "npz-only", "idx", "idx.gz", "txt"])
def test_label_files(kind: str, tmp_path: Path) -> None:
    x = write_npy(tmp_path / "x.npy", X)
    y = tmp_path / f"labels.{kind}"
    options = {}
    if kind == "npy":
        write_npy(y, Y)
    elif kind == "npz":
        write_npz(y := tmp_path / "l.npz", labels=Y, other=X)
    elif kind == "npz-keyed":
        write_npz(y := tmp_path / "l.npz", labels=Y * 0, mine=Y)
        options = {"y_key": "mine"}
    elif kind == "npz-only":
        write_npz(y := tmp_path / "l.npz", mine=Y)
    elif kind == "txt":
        y.write_text("3\n0\n 2\n2\n\n+1\n3\n\n")
    else:
        write_idx(y, Y.astype(np.uint8))
    assert labels_of(opened(x, labels=y, **options)) == Y.tolist()


def test_label_file_of_another_length_names_both(tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match=r"y.txt' holds 2 labels, .*x.npy' holds 6 samples"):
        opened(write_npy(tmp_path / "x.npy", X), labels=tmp_path / "y.txt", samples=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\n2.5\n", "line 2: '2.5' is not an integer"),
        (b"cat\n", "line 1: 'cat'"),
        (b"9" * 30, "line 1: '999"),
        (b"\xff\xfe\xfa", "y.txt' is not a labels file"),
    ],
)
def test_bad_text_labels(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        opened(write_npy(tmp_path / "x.npy", X), labels=str(tmp_path / "y.txt"))


TARGETS = np.linspace(-1.5, 2, 6)


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (TARGETS, np.float64),
        (TARGETS.astype(np.float16), np.float32),
        (TARGETS.astype(">f4").reshape(6, 1), np.float32),
        (TARGETS.reshape(6, 1, 1) * np.ones((2, 3)), np.float64),
        (Y - 2, np.int64),
        (Y.astype(np.uint8).reshape(6, 1), np.int64),
        (np.eye(4, dtype=bool)[Y], np.int64),
    ],
)
def test_what_a_model_without_classes_should_give(y: Any, dtype: type, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=X, y=y)
    data = opened(path, classes=False)
    _, found = data.batch(1, 4)
    assert found is not None
    assert found.dtype == dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, y[data.selection[1:4]])
    other = write_npz(tmp_path / "b.npz", x=X, y=y.astype(dtype) + 1)
    assert opened(other, classes=False).fingerprint != data.fingerprint


def test_whole_numbers_are_the_same_data_with_classes_and_without(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=X, y=Y.astype(np.int16))
    assert opened(path, classes=False).fingerprint == opened(path).fingerprint


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            np.where(np.arange(6) == 4, np.nan, TARGETS),
            "'y' of .*target nan of sample 4 is not finite",
        ),
        (np.full((6, 2), -np.inf), "target -inf of sample 0 .*--labels none"),
        (TARGETS[:5], "'y' of .* holds 5 labels, .*holds 6 samples"),
    ],
)
def test_targets_that_cannot_be_used(y: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        opened(write_npz(tmp_path / "a.npz", x=X, y=y), classes=False)


def test_targets_from_a_text_file(tmp_path: Path) -> None:
    x, y = write_npy(tmp_path / "x.npy", X), tmp_path / "y.txt"
    y.write_text("1\n-2.5\n\n +.25\n3e-2\n4.\n0\n")
    data = opened(x, labels=y, classes=False)
    expected = np.array([1, -2.5, 0.25, 0.03, 4, 0])
    np.testing.assert_array_equal(data.batch(0, 6)[1], expected[data.selection])
    y.write_text("1\nnan\n")
    with pytest.raises(
        DataError, match=r"line 2: 'nan' is not a number; write one number per line"
    ):
        opened(x, labels=y, classes=False)


def test_label_files_that_cannot_be_used(tmp_path: Path) -> None:
    x = write_npy(tmp_path / "x.npy", X)
    with pytest.raises(DataError, match=r"gone.txt' does not exist"):
        opened(x, labels=tmp_path / "gone.txt")
    two = write_npz(tmp_path / "two.npz", a=Y, b=Y)
    with pytest.raises(DataError, match="arrays 'a', 'b'; choose the labels with --y-key"):
        opened(x, labels=two)
    with pytest.raises(DataError, match="no array 'c'; it holds 'a', 'b'"):
        opened(x, labels=two, y_key="c")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    ],
)
def test_idx_labels_are_found_by_name(images: str, labels: str, tmp_path: Path) -> None:
    path = write_idx(tmp_path / images, X)
    write_idx(tmp_path / labels, Y.astype(np.uint8))
    data = opened(path)
    assert labels_of(data) == Y.tolist()
    assert f"labels from {labels!r}" in data.notes
    assert opened(path, labels="none").batch(0, 2)[1] is None


def test_idx_without_labels(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "t10k-images-idx3-ubyte", X)
    assert opened(path).batch(0, 2)[1] is None


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32", "float64"])
def test_idx_types(dtype: str, tmp_path: Path) -> None:
    values = (X % 100).astype(dtype)
    data = open_data(write_idx(tmp_path / "x.idx", values), InputSpec(high=99.0), (4, 7))
    np.testing.assert_array_equal(data.batch(0, 6)[0], values[data.selection])
