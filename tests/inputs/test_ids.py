"""Samples that are ids: taken as they are, held to their table, or made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Dataset, Ids, InputSpec, open_data, synthetic_ids

IDS = np.arange(12).reshape(6, 2)


def opened(path: Path, ids: Ids, **options: Any) -> Dataset:
    return open_data(path, InputSpec(), (None,), ids=ids, input_names=("ids",), **options)


@pytest.mark.parametrize("stored", [np.int64, np.uint8, np.int16])
def test_integers_of_any_type_come_as_the_type_of_the_model(tmp_path: Path, stored: Any) -> None:
    np.savez(tmp_path / "a.npz", ids=IDS.astype(stored), y=np.arange(6))
    dataset = opened(tmp_path / "a.npz", Ids(np.int32, (0, 11)), samples=4, seed=1)
    x, y = dataset.batch(0, 4)
    assert x.dtype == np.int32
    assert dataset.sample_shape == (2,)
    np.testing.assert_array_equal(x, IDS[dataset.selection])
    assert y is not None
    np.testing.assert_array_equal(y, dataset.selection)
    assert not [note for note in dataset.notes if "bytes" in note]


@pytest.mark.parametrize(
    ("limits", "wrong"),
    [((0, 10), "11, the model takes 0 to 10"), ((1, 11), "0, the model takes 1")],
)
@pytest.mark.parametrize("stored", [np.int64, np.uint8])
def test_an_id_outside_the_table_is_named(
    tmp_path: Path, limits: tuple[int, int], wrong: str, stored: Any
) -> None:
    np.save(tmp_path / "a.npy", IDS.astype(stored))
    with pytest.raises(DataError, match=f"holds the id {wrong}"):
        opened(tmp_path / "a.npy", Ids(np.int64, limits))


def test_without_a_table_the_type_is_the_limit(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IDS * 30)
    with pytest.raises(DataError, match="holds the id 330, the model takes 0 to 255"):
        opened(tmp_path / "a.npy", Ids(np.uint8))
    assert opened(tmp_path / "a.npy", Ids(np.int64)).batch(0, 6)[0].max() == 330
    with pytest.raises(DataError, match="the id 330, the model takes 0 to 1;"):
        opened(tmp_path / "a.npy", Ids(np.bool_))


def test_floats_are_no_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IDS.astype(np.float32))
    with pytest.raises(DataError, match=r"a\.npy' holds float32 values, the model takes int64"):
        opened(tmp_path / "a.npy", Ids(np.int64))


def test_images_are_no_ids(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="is a folder of images, the model takes ids of type int64"):
        opened(tmp_path / "images", Ids(np.int64))


def test_a_type_that_holds_no_ids() -> None:
    with pytest.raises(DataError, match="ids of type float32 are not usable"):
        Ids(np.float32)


@pytest.mark.parametrize(
    ("stored", "all_of_it"), [(np.uint8, True), (np.int8, False), (np.int64, False), ("f4", False)]
)
def test_which_types_need_no_look_at_their_values(stored: Any, all_of_it: bool) -> None:
    assert Ids(np.int64, (0, 300)).takes_all(np.dtype(stored)) == all_of_it


@settings(max_examples=30)
@given(st.integers(-40, 5), st.integers(0, 40), st.integers(0, 99))
def test_made_up_ids_are_in_the_table_and_not_negative(low: int, width: int, seed: int) -> None:
    high = max(low, 0) + width
    dataset = synthetic_ids((None, 3), 4, seed, dtype=np.int32, limits=(low, high))
    x, y = dataset.batch(0, 4)
    assert y is None
    assert x.shape == (4, 16, 3)
    assert x.dtype == np.int32
    assert x.min() >= max(low, 0)
    assert x.max() <= high
    np.testing.assert_array_equal(x[2:], dataset.batch(2, 4)[0])


def test_made_up_ids_say_so_and_use_the_whole_table() -> None:
    dataset = synthetic_ids((None,), 200, 0, limits=(-5, 4))
    assert dataset.source == "synthetic (random ids of 0 to 4)"
    assert dataset.notes == ["free dimensions of ? set: 16"]
    assert dataset.synthetic
    assert set(dataset.batch(0, 200)[0].ravel().tolist()) == {0, 1, 2, 3, 4}
    with pytest.raises(DataError, match="--samples 0 is not usable"):
        synthetic_ids((3,), 0, 0)


WHOLE = {"table": (2, 3), "scale": (), "row": (1, 3)}


def test_inputs_that_are_one_value_for_all_samples(tmp_path: Path) -> None:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    row = np.arange(18, dtype=np.float32).reshape(6, 3)
    np.savez(tmp_path / "a.npz", x=IDS / 11, table=table, scale=np.float32(4), row=row)
    dataset = open_data(
        tmp_path / "a.npz", InputSpec(), (2,), input_names=("x", *WHOLE), whole=WHOLE, samples=3
    )
    np.testing.assert_array_equal(dataset.whole["table"], table)
    assert (dataset.whole["scale"].shape, float(dataset.whole["scale"])) == ((), 4)
    # A row per sample is no single row.
    assert dataset.extra_names == ("row",)
    np.testing.assert_array_equal(dataset.batch_of("row", 0, 3), row[dataset.selection])


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (np.zeros(6), None),
        (np.zeros(1), ""),
        (np.zeros((2, 3)), "holds 2 rows for the model input"),
    ],
)
def test_a_single_number_is_one_element(tmp_path: Path, scale: Any, said: str | None) -> None:
    np.savez(tmp_path / "a.npz", x=IDS / 11, scale=scale)

    def read() -> Dataset:
        names = ("x", "scale")
        return open_data(
            tmp_path / "a.npz", InputSpec(), (2,), input_names=names, whole={"scale": ()}
        )

    if said:
        with pytest.raises(DataError, match=said):
            read()
    else:
        assert ("scale" in read().whole) == (said == "")


def test_a_single_value_is_no_list_of_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IDS / 11, b=np.float32(4))
    with pytest.raises(DataError, match="is a single value of shape"):
        open_data(tmp_path / "a.npz", InputSpec(), (2,), input_names=("x", "b"))
