"""Reading and writing at indices, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_trainer.ops import indexing as ops
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

REDUCTIONS = ["none", "add", "mul", "max", "min"]


def drawn(seed: int, *shape: int, dtype: str = "float32") -> Array:
    """Numbers of which no two are alike, in any order; different values where the type allows."""
    values = np.random.default_rng(seed).permutation(int(np.prod(shape))) - 3
    return values.reshape(shape).astype(dtype)


def places(seed: int, length: int, *shape: int, dtype: str = "int64") -> Array:
    """Indices into an axis, from both ends."""
    return np.random.default_rng(seed).integers(-length, length, shape).astype(dtype)


def distinct_along(seed: int, length: int, axis: int, *shape: int) -> Array:
    """Indices that never meet along ``axis``, some counted from the end."""
    rng = np.random.default_rng(seed)
    wide = list(shape)
    wide[axis] = length
    orders = np.argsort(rng.random(wide), axis)
    chosen = np.take(orders, range(shape[axis]), axis)
    return np.asarray(chosen - length * rng.integers(0, 2, shape))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    shape=st.lists(st.integers(0, 3), max_size=3),
    axis=st.integers(-3, 2),
    dtype=st.sampled_from(["float16", "float32", "int64", "bool", "uint16"]),
    index=st.sampled_from(["int32", "int64"]),
)
def test_gather(lengths: list[int], shape: list[int], axis: int, dtype: str, index: str) -> None:
    axis = max(-len(lengths), min(axis, len(lengths) - 1))
    indices = places(1, lengths[axis], *shape, dtype=index)
    compare("Gather", [drawn(0, *lengths, dtype=dtype), indices], axis=axis)


def test_rows_of_a_table_that_are_looked_up_twice_add_their_gradients() -> None:
    table = torch.arange(6.0).reshape(3, 2).requires_grad_()
    ops.gather(table, torch.tensor([[2, -1, 0]])).sum().backward()
    assert table.grad.tolist() == [[1, 1], [0, 0], [2, 2]]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint16", "bool"])
def test_gather_elements(axis: int, dtype: str) -> None:
    x = drawn(0, 3, 4, 5, dtype=dtype)
    shape = [2, 3, 4]
    shape[axis] = 6
    compare("GatherElements", [x, places(1, x.shape[axis], *shape)], axis=axis)


@pytest.mark.parametrize("axis", [0, 2])
def test_slopes_of_gather_elements(axis: int) -> None:
    x = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    indices = torch.from_numpy(places(1, x.shape[axis], 2, 3, 4))
    slope_error(lambda t: ops.gather_elements(t, indices, axis=axis), x)


@pytest.mark.parametrize(
    ("batch_dims", "shape", "depth"),
    [(0, (3,), 1), (0, (2, 3), 2), (0, (), 3), (1, (2, 5), 1), (1, (2,), 2), (2, (2, 3), 1)],
)
def test_gather_nd(batch_dims: int, shape: tuple[int, ...], depth: int) -> None:
    x = drawn(0, 2, 3, 4)
    columns = [places(i, x.shape[batch_dims + i], *shape) for i in range(depth)]
    compare("GatherND", [x, np.stack(columns, -1)], batch_dims=batch_dims)


def test_gather_nd_of_nothing() -> None:
    compare("GatherND", [drawn(0, 2, 3, 4), np.zeros((0, 2), np.int64)])
    compare("GatherND", [drawn(0, 2, 3, 0), np.zeros((3, 2), np.int64)])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_scatter_elements(reduction: str, axis: int, dtype: str) -> None:
    x, shape = drawn(0, 3, 4, 5, dtype=dtype), (2, 3, 4)
    # Without a reduction no two updates may meet.
    meeting = places(1, x.shape[axis], *shape)
    apart = distinct_along(1, x.shape[axis], axis, *shape)
    indices = apart if reduction == "none" else meeting
    compare(
        "ScatterElements",
        [x, indices, drawn(2, *shape, dtype=dtype)],
        axis=axis,
        reduction=reduction,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_scatter_nd(reduction: str, depth: int, dtype: str) -> None:
    x = drawn(0, 4, 3, 5, dtype=dtype)
    if reduction == "none":
        flat = np.random.default_rng(1).permutation(int(np.prod(x.shape[:depth])))[:4]
        indices = np.stack(np.unravel_index(flat, x.shape[:depth]), -1).reshape(2, 2, depth)
    else:
        indices = np.stack([places(i, x.shape[i], 2, 2) for i in range(depth)], -1)
    updates = drawn(2, 2, 2, *x.shape[depth:], dtype=dtype)
    compare("ScatterND", [x, indices, updates], reduction=reduction)


def test_scatter_of_wide_unsigned_integers() -> None:
    x = np.arange(4, dtype=np.uint16)
    indices, updates = np.array([[0], [-1]]), np.array([7, 60000], np.uint16)
    (y,) = on_torch("ScatterND", [x, indices, updates])
    assert y.dtype == np.uint16
    assert y.tolist() == [7, 1, 2, 60000]


def test_scatter_of_nothing() -> None:
    x = drawn(0, 3, 4)
    compare("ScatterND", [x, np.zeros((0, 1), np.int64), np.zeros((0, 4), np.float32)])
    compare("ScatterElements", [x, np.zeros((0, 4), np.int64), np.zeros((0, 4), np.float32)])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_slopes_of_scattering(reduction: str) -> None:
    x = torch.from_numpy(drawn(0, 3, 4, dtype="float64")).requires_grad_()
    updates = torch.from_numpy(drawn(1, 2, 4, dtype="float64") + 0.5).requires_grad_()
    rows = torch.tensor([[2], [0]])
    spread = torch.tensor([[2, 0, 1, -1], [0, 1, 2, 0]])

    def by_rows(a: torch.Tensor, b: torch.Tensor) -> Any:
        return ops.scatter_nd(a, rows, b, reduction=reduction)

    def by_elements(a: torch.Tensor, b: torch.Tensor) -> Any:
        return ops.scatter_elements(a, spread, b, reduction=reduction)

    slope_error(by_rows, x, updates)
    slope_error(by_elements, x, updates)


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5, 4), -2), ((2, 5, 3), 1), ((2, 3, 5), -1)])
def test_tensor_scatter(mode: str, shape: tuple[int, ...], axis: int) -> None:
    cache = drawn(0, *shape)
    small = list(shape)
    small[axis] = 2
    update, starts = drawn(1, *small), np.array([3, 1])
    if mode == "circular":
        starts[0] = 4
    (y,) = on_torch("TensorScatter", [cache, update, starts], opset=24, axis=axis, mode=mode)
    expected = np.moveaxis(cache.copy(), axis, 1)
    for sample, start in enumerate(starts):
        for step in range(2):
            place = (start + step) % shape[axis]
            expected[sample, place] = np.moveaxis(update, axis, 1)[sample, step]
    np.testing.assert_array_equal(y, np.moveaxis(expected, 1, axis))


def test_tensor_scatter_begins_at_the_start() -> None:
    cache, update = np.zeros((1, 4, 1), np.float32), np.ones((1, 2, 1), np.float32)
    (y,) = on_torch("TensorScatter", [cache, update], opset=24)
    assert y.ravel().tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_one_hot(axis: int, dtype: str) -> None:
    indices = np.array([[0, 2, -1], [-3, 3, -4]])
    compare("OneHot", [indices, np.array([3]), np.array([-1, 5], dtype)], axis=axis)


def test_one_hot_of_floats_and_of_a_scalar() -> None:
    compare(
        "OneHot",
        [np.array([0, 2, -1], np.float32), np.array([3], np.float32), np.array([0, 1], np.float32)],
    )
    assert ops.one_hot(torch.tensor(1), [3], torch.tensor([0, 1])).tolist() == [0, 1, 0]


def test_the_values_of_one_hot_have_gradients() -> None:
    values = torch.tensor([0.0, 1.0], requires_grad=True)
    ops.one_hot(torch.tensor([1, 0]), [3], values).sum().backward()
    assert values.grad.tolist() == [4, 2]
