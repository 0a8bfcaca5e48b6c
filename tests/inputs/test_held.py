"""Values of inputs that are held: from a file or a number, a row per sample or one for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import (
    Dataset,
    InputSpec,
    held_rows,
    held_whole,
    open_data,
    parse_hold,
)

Array = NDArray[Any]
ROWS = np.arange(24, dtype=np.float32).reshape(6, 2, 2)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four of six samples, in random order."""
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 18, dtype=np.float32).reshape(6, 3))
    return open_data(tmp_path / "x.npy", InputSpec(), (3,), dtype=np.float32, samples=4, seed=3)


def read(name: str, value: object, shape: tuple[int | None, ...], dataset: Dataset) -> Array:
    rows = held_rows(name, str(value), shape, dataset)
    return np.asarray(rows.read(0, len(dataset)))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("mask=mask.npy", "mask", "mask.npy"),
        ("input:0=3", "input:0", "3"),
        ("a=b=c.npz", "a=b", "c.npz"),
        ("state=-1.5e-3", "state", "-1.5e-3"),
    ],
)
def test_a_name_and_a_value(text: str, name: str, value: str) -> None:
    assert parse_hold(text) == (name, value)


@pytest.mark.parametrize("text", ["", "mask", "mask=", "=3", "="])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_hold(text)
    assert f"--hold {text!r} is not NAME=FILE; give" in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 2), (None, 2), (None, None)])
def test_rows_follow_the_selection(
    tmp_path: Path, dataset: Dataset, shape: tuple[int | None, ...]
) -> None:
    np.save(tmp_path / "mask.npy", ROWS)
    found = read("mask", tmp_path / "mask.npy", shape, dataset)
    np.testing.assert_array_equal(found, ROWS[dataset.selection])
    assert dataset.selection.tolist() != [0, 1, 2, 3]


def test_an_npz_is_asked_for_the_input_or_its_only_array(tmp_path: Path, dataset: Dataset) -> None:
    np.savez(tmp_path / "named.npz", mask=ROWS, other=ROWS + 1, x=ROWS + 2)
    np.savez(tmp_path / "single.npz", anything=ROWS)
    for name in ("named.npz", "single.npz"):
        found = read("mask", tmp_path / name, (2, 2), dataset)
        np.testing.assert_array_equal(found, ROWS[dataset.selection])


def test_one_row_serves_all_samples(tmp_path: Path, dataset: Dataset) -> None:
    np.save(tmp_path / "mask.npy", ROWS[2:3])
    found = read("mask", tmp_path / "mask.npy", (2, 2), dataset)
    np.testing.assert_array_equal(found, np.repeat(ROWS[2:3], 4, 0))


@pytest.mark.parametrize(
    ("shape", "row"), [((2, 3), (2, 3)), ((), ()), ((None, 3), (1, 3)), ((None,), (1,))]
)
@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-2.5", -2.5), ("1e3", 1000)])
def test_a_number_fills_every_element(
    dataset: Dataset, shape: tuple[int | None, ...], row: tuple[int, ...], text: str, value: float
) -> None:
    np.testing.assert_array_equal(read("s", text, shape, dataset), np.full((4, *row), value))


def test_a_file_comes_before_a_number_of_the_same_name(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "mask.npy", ROWS)
    (tmp_path / "mask.npy").rename("7")
    np.testing.assert_array_equal(read("s", "7", (2, 2), dataset), ROWS[dataset.selection])


@pytest.mark.parametrize("value", ["none.npy", "nan", "inf", "1,2"])
def test_neither_a_file_nor_a_number(dataset: Dataset, value: str) -> None:
    with pytest.raises(DataError) as caught:
        held_rows("mask", value, (2, 2), dataset)
    assert f"--hold mask={value}: no such file, and {value!r} is not a number" in str(caught.value)


@pytest.mark.parametrize("rows", [0, 2, 4, 5, 7])
def test_another_number_of_rows_is_refused(tmp_path: Path, dataset: Dataset, rows: int) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((rows, 2, 2), np.float32))
    with pytest.raises(
        DataError, match=rf"holds {rows} rows, .*x\.npy.* holds 6 samples; give one"
    ):
        read("mask", tmp_path / "mask.npy", (2, 2), dataset)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 3), "are 2x2, the model takes 2x3"),
        ((4,), "are 2x2, the model takes 4"),
        ((None, 3), "are 2x2, the model takes ?x3"),
        ((), "are 2x2, the model takes a single number"),
    ],
)
@pytest.mark.parametrize("count", [1, 6])
def test_rows_of_another_shape_are_refused(
    tmp_path: Path, dataset: Dataset, shape: tuple[int | None, ...], said: str, count: int
) -> None:
    np.save(tmp_path / "mask.npy", ROWS[:count])
    with pytest.raises(DataError) as caught:
        read("mask", tmp_path / "mask.npy", shape, dataset)
    assert f"mask.npy: its rows {said}; give rows of that shape" in str(caught.value)


def test_an_npz_without_the_input_lists_what_it_holds(tmp_path: Path, dataset: Dataset) -> None:
    np.savez(tmp_path / "two.npz", one=ROWS, two=ROWS)
    with pytest.raises(DataError, match=r"'one', 'two'"):
        read("mask", tmp_path / "two.npz", (2, 2), dataset)


def test_a_folder_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"--hold mask=.*images' is .*; give an npy or an npz"):
        read("mask", tmp_path / "images", (2, 2), dataset)


@pytest.mark.parametrize("form", ["npy", "npz"])
@pytest.mark.parametrize("shape", [(), (2, 2), (None, 2)])
def test_one_value_for_all_samples(
    tmp_path: Path, form: str, shape: tuple[int | None, ...]
) -> None:
    stored = ROWS[0] if shape else np.float32(5)
    path = tmp_path / f"a.{form}"
    if form == "npy":
        np.save(path, stored)
    else:
        np.savez(path, other=stored)
    found = held_whole("mask", str(path), shape)
    np.testing.assert_array_equal(found, stored)
    assert found is not None
    assert found.shape == np.shape(stored)


def test_a_number_fills_the_whole_input() -> None:
    found = held_whole("mask", "2.5", (None, 3))
    np.testing.assert_array_equal(found, np.full((1, 3), 2.5))
    single = held_whole("mask", "2.5", ())
    assert single is not None
    assert (single.shape, float(single)) == ((), 2.5)
    with pytest.raises(
        DataError, match="--hold mask=much: no such file, and 'much' is not a number"
    ):
        held_whole("mask", "much", ())


def test_rows_per_sample_are_not_one_value(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    assert held_whole("mask", str(tmp_path / "a.npy"), (1, 2, 2)) is None


def test_a_free_dimension_of_size_nought_is_kept(dataset: Dataset) -> None:
    assert read("past", "0", (2, 0, None), dataset).shape == (4, 2, 0, 1)
