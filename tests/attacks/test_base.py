"""The contract that every perturbation is held to."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.attacks import Batch, Pairs, Perturbation
from lsa_onnx.errors import DataError

Array = NDArray[Any]


class Fixed(Perturbation):
    """Answers with a given array."""

    kind = "attack"
    name = "fixed"

    def __init__(self, result: Any) -> None:
        self._result = result

    def run(self, batch: Batch) -> Array:
        return self._result  # type: ignore[no-any-return]

    def parameters(self) -> dict[str, Any]:
        return {}


def batch(dtype: Any = np.float32, low: float = -1.0, high: float = 2.0, start: int = 0) -> Batch:
    x = np.linspace(low, high, 24).reshape(2, 3, 1, 4).astype(dtype)
    return Batch(x, None, start, low, high)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_beyond_the_range_are_clipped_and_the_dtype_is_kept(dtype: Any) -> None:
    given = batch(dtype)
    wild = np.where(np.arange(24).reshape(given.x.shape) % 2 == 0, -9.0, 9.0)
    found = Fixed(wild)(given)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.unique(found), np.array([-1.0, 2.0], dtype))


def test_a_result_within_the_range_is_not_copied() -> None:
    result = np.zeros((2, 3, 1, 4), np.float32)
    assert Fixed(result)(batch()) is result


def test_clipping_leaves_the_result_of_the_subclass_alone() -> None:
    result = np.full((2, 3, 1, 4), 9.0, np.float32)
    Fixed(result)(batch())
    assert (result == 9.0).all()


def test_integers_are_numbers_too() -> None:
    found = Fixed(np.ones((2, 3, 1, 4), np.int64))(batch())
    assert found.dtype == np.float32
    assert (found == 1.0).all()


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 1, 4), (2, 3, 4, 1), ()])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as caught:
        Fixed(np.zeros(shape))(batch())
    assert f"'fixed' gave shape {shape} for inputs of shape (2, 3, 1, 4)" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_the_sample(value: float) -> None:
    result = np.zeros((2, 3, 1, 4))
    result[1, 2, 0, 3] = value
    with pytest.raises(DataError, match=r"'fixed' gave NaN or infinity for sample 41;"):
        Fixed(result)(batch(start=40))


@pytest.mark.parametrize(
    ("dtype", "shown"), [(np.complex64, "complex64"), (np.bool_, "bool"), ("U1", "<U1")]
)
def test_what_is_no_real_number_is_refused(dtype: Any, shown: str) -> None:
    with pytest.raises(DataError, match=rf"'fixed' gave values of type {shown};"):
        Fixed(np.zeros((2, 3, 1, 4), dtype))(batch())


def test_a_class_without_run_cannot_be_made() -> None:
    class Half(Perturbation):
        def parameters(self) -> dict[str, Any]:
            return {}

    with pytest.raises(TypeError, match=r"abstract method '?run"):
        Half()  # type: ignore[abstract]


def test_pairs_read_the_positions_of_the_batch() -> None:
    stored = np.random.default_rng(0).random((10, 3, 1, 4)).astype(np.float32)
    pairs = Pairs("x_adv.npz", lambda start, stop: stored[start:stop])
    np.testing.assert_array_equal(pairs(batch(start=5)), stored[5:7])
    assert (pairs.kind, pairs.name) == ("pairs", "pairs")
    assert pairs.parameters() == {"source": "x_adv.npz"}


def test_pairs_of_another_shape_are_refused() -> None:
    pairs = Pairs("x_adv.npz", lambda start, stop: np.zeros((stop - start, 5)))
    with pytest.raises(DataError, match=r"'pairs' gave shape \(2, 5\)"):
        pairs(batch())


def test_rows_of_a_batch_keep_their_positions_and_what_is_theirs() -> None:
    x = np.arange(5, dtype=np.float32)[:, None]
    whole = Batch(x, np.arange(5), 10, 0.0, 9.0, goal={"labels": np.arange(5)})
    assert whole.positions.tolist() == [10, 11, 12, 13, 14]
    part = whole.rows(np.array([False, True, False, True, True]))
    assert (part.start, part.positions.tolist()) == (11, [11, 13, 14])
    inner = part.rows(np.array([False, True, True]))
    assert (inner.start, inner.positions.tolist()) == (13, [13, 14])
    for values in (inner.x[:, 0], inner.labels, inner.goal["labels"]):
        np.testing.assert_array_equal(values, [3, 4])
    joined = Batch.joined([whole.rows(np.arange(5) < 2), inner])
    assert (joined.start, joined.positions.tolist()) == (10, [10, 11, 13, 14])
    for values in (joined.x[:, 0], joined.labels, joined.goal["labels"]):
        np.testing.assert_array_equal(values, [0, 1, 3, 4])
    assert Batch.joined([whole]) is whole


def test_batches_without_labels_are_joined_without() -> None:
    parts = [dataclasses.replace(batch(start=at)) for at in (0, 2)]
    assert Batch.joined(parts).labels is None


def test_a_sample_that_went_wrong_is_named_by_its_position() -> None:
    given = dataclasses.replace(batch(), places=np.array([4, 17]))
    result = np.zeros(given.x.shape)
    result[1, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinity for sample 17;"):
        Fixed(result)(given)
