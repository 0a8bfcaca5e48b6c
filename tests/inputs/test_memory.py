"""Arrays in memory are read as a file of them is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Arrays, Dataset, InputSpec, as_source, open_data, open_perturbed
from tests.inputs.files import pixels, write_npy, write_npz

SHAPE = (1, 4, 6)
X = pixels(0, 30, 4, 6)
Y = np.arange(30, dtype=np.int64) % 7
MASK = np.arange(60, dtype=np.float32).reshape(30, 2)


def opened(data: Any, **choices: Any) -> Dataset:
    return open_data(as_source(data), InputSpec(), SHAPE, **choices)


def held(dataset: Dataset) -> tuple[Any, ...]:
    """Everything that a run takes from a dataset."""
    x, y = dataset.batch(0, len(dataset))
    extra = {name: dataset.batch_of(name, 0, len(dataset)).tolist() for name in dataset.extra_names}
    labels = None if y is None else y.tolist()
    return (x.dtype, x.tolist(), labels, extra, dataset.fingerprint, dataset.available)


@given(samples=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_a_pair_is_what_an_npz_of_it_is(
    samples: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_npz(tmp_path_factory.mktemp("pair") / "x.npz", x=X, y=Y)
    choices = {"samples": samples, "seed": seed}
    assert held(opened((X, Y), **choices)) == held(opened(path, **choices))


def test_a_single_array_is_what_an_npy_of_it_is(tmp_path: Path) -> None:
    found = opened(X)
    assert held(found) == held(opened(write_npy(tmp_path / "x.npy", X)))
    assert (found.source, found.labels) == ("an array in memory", None)
    assert found.notes == [
        "all 30 samples, shuffled with seed 0",
        "bytes scaled to 0..1",
        "channel axis added",
    ]


@pytest.mark.parametrize(
    "choices",
    [
        {"input_names": ["x", "mask"]},
        {"input_names": ["x", "mask"], "labels": "none"},
        {"x_key": "x_train", "y_key": "y"},
        {"split": "train"},
    ],
)
def test_names_tell_what_they_tell_in_an_npz(choices: dict[str, Any], tmp_path: Path) -> None:
    arrays = {"x": X, "x_train": 255 - X, "y": Y, "mask": MASK}
    found = opened(arrays, **choices)
    in_file = opened(write_npz(tmp_path / "x.npz", **arrays), **choices)
    assert held(found) == held(in_file)
    assert found.source == "arrays in memory"
    assert found.notes == in_file.notes


@pytest.mark.parametrize(
    "x",
    [
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        (X / 255).astype(">f4"),
        (X / 255).astype(np.float16),
    ],
    ids=["fortran", "strided", "big-endian", "half"],
)
def test_any_layout_in_memory(x: Any, tmp_path: Path) -> None:
    assert held(opened((x, Y))) == held(opened(write_npz(tmp_path / "x.npz", x=x, y=Y)))


def test_values_are_not_copied_and_batches_are() -> None:
    x = (X / 255).astype(np.float32)
    dataset = opened(x)
    batch, _ = dataset.batch(0, 30)
    batch[:] = 9
    assert x.max() <= 1
    assert isinstance(source := as_source(x), Arrays)
    assert np.shares_memory(source.samples().values, x)


def test_labels_may_be_a_list() -> None:
    assert held(opened((X, Y.tolist()))) == held(opened((X, Y)))
    assert held(opened({"x": X, "y": Y.tolist()})) == held(opened((X, Y)))


def test_arrays_of_other_libraries() -> None:
    torch = pytest.importorskip("torch")
    assert held(opened((torch.from_numpy(X), torch.from_numpy(Y)))) == held(opened((X, Y)))
    learnt = torch.ones((3, 4, 6), requires_grad=True)
    with pytest.raises(DataError, match=r"data is no array for numpy: .*requires grad"):
        as_source(learnt)


def test_perturbed_in_memory_goes_with_its_clean_sample() -> None:
    clean = opened((X, Y), samples=11, seed=3)
    paired = open_perturbed(Arrays(255 - X), clean)
    x, _ = clean.batch(0, 11)
    x_adv, _ = paired.batch(0, 11)
    np.testing.assert_allclose(x_adv, 1 - x, atol=1e-6)
    assert paired.source == "an array in memory"
    named = open_perturbed(as_source({"x": X, "x_adv": 255 - X}), clean)
    assert held(named)[:3] == held(paired)[:3]
    with pytest.raises(DataError, match=r"holds 29 samples, the clean data .* hold 30"):
        open_perturbed(Arrays(X[:29]), clean)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, r"data is of type int; give a path, an array"),
        ([[1.0]], r"data is a list; give a path, an array"),
        ((X, Y, Y), r"data is a tuple of 3 values"),
        ((X, "labels"), r"the second of data is of type str"),
        ((X, [[1], [2, 3]]), r"the second of data is no array for numpy: .*inhomogeneous"),
        ({"x": X, "y": "labels"}, r"'y' of data is of type str"),
        (np.array(["a"]), r"data has dtype <U1; accepted are booleans, integers and floats"),
        (np.array([{}]), r"data holds Python objects \(dtype object\), which are never unpickled"),
        (np.zeros((2, 4, 6), complex), r"data has dtype complex128"),
    ],
)
def test_what_is_no_data(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_source(data)


@pytest.mark.parametrize(
    ("data", "choices", "message"),
    [
        (
            X,
            {"x_key": "a"},
            r"--x-key 'a' chooses an array of an npz, an array in memory is a single",
        ),
        (X, {"split": "test"}, r"--split 'test': an array in memory is a single one"),
        (X, {"resize": True}, r"--resize works on image files, an array in memory is no file"),
        (X[0, 0, 0], {}, r"the array in memory is a single value of shape \(\)"),
        ((X, np.int64(3)), {}, r"the array of labels is a single value of shape \(\)"),
        ((X, Y[:7]), {}, r"the array of labels holds 7 labels, the array in memory holds 30"),
        (X[:0], {}, r"the array in memory holds 0 samples"),
        (X[:, :3], {}, r"the array in memory: samples have shape 3x6 .*the model takes 1x4x6"),
        (X / 100, {}, r"the array in memory: values span 0 to 2.55, the declared range is 0 to 1"),
        ({"a": X, "b": X}, {}, r"arrays in memory holds the arrays 'a', 'b'; the samples may be x"),
        ({"x": X}, {"x_key": "z"}, r"arrays in memory hold no 'z'; they are the arrays 'x'"),
        ({"x": np.float32(1)}, {}, r"'x' of arrays in memory is a single value of shape \(\)"),
    ],
)
def test_what_does_not_fit(data: Any, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(data, **choices)
