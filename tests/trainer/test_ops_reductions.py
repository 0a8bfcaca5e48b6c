"""Reductions, positions, selections and running sums against ONNX Runtime and by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsa_trainer.ops import reductions as ops
from lsa_trainer.ops.registry import Function
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

NAMES = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"]
KINDS = [f"Reduce{name}" for name in NAMES]
UNSIGNED = ["uint8", "uint32", "uint64"]


def positive(seed: int, *shape: int, dtype: str = "float32") -> Array:
    """Values of which a sum has a logarithm."""
    return np.asarray(np.random.default_rng(seed).uniform(0.25, 3, shape), dtype)


# Reductions


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, max_side=4),
    keepdims=st.integers(0, 1),
    noop=st.integers(0, 1),
    dtype=st.sampled_from(["float32", "float64", "int32"]),
    data=st.data(),
)
def test_reductions(
    kind: str,
    shape: tuple[int, ...],
    keepdims: int,
    noop: int,
    dtype: str,
    data: st.DataObject,
) -> None:
    rank = len(shape)
    axes = data.draw(st.lists(st.integers(0, max(rank - 1, 0)), unique=True, max_size=rank))
    signs = [axis - rank if data.draw(st.booleans()) else axis for axis in axes]
    inputs = [positive(0, *shape, dtype=dtype), np.array(signs, np.int64)]
    # Of whole numbers, ONNX Runtime takes these in single precision or in whole numbers.
    assume(dtype != "int32" or "Log" not in kind)
    # Not all supported versions have this right: see below.
    assume(axes or not noop)
    compare(kind, inputs, keepdims=keepdims, noop_with_empty_axes=noop)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_over_all_axes_by_default(kind: str, keepdims: int) -> None:
    compare(kind, [positive(1, 2, 3, 4)], keepdims=keepdims)
    compare(kind, [positive(1, 2, 3, 4)])


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        *((f"Reduce{name}", [-2, 1, 3]) for name in ("Sum", "Mean", "Max", "Min", "Prod")),
        ("ReduceL1", [2, 1, 3]),
        ("ReduceL2", [2, 1, 3]),
        ("ReduceLogSum", [np.nan, 0, np.log(3)]),
        ("ReduceLogSumExp", [-2, 1, 3]),
        ("ReduceSumSquare", [4, 1, 9]),
    ],
)
@pytest.mark.parametrize("axes", [None, np.zeros(0, np.int64)])
def test_over_no_axis(kind: str, answers: list[float], axes: Array | None) -> None:
    x = np.array([[-2], [1], [3]], np.float32)
    for keepdims in (0, 1):
        how = {"keepdims": keepdims, "noop_with_empty_axes": 1}
        (result,) = on_torch(kind, [x, axes], **how)
        np.testing.assert_allclose(result, np.reshape(answers, (3, 1)), rtol=1e-6)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "ReduceMean"])
@pytest.mark.parametrize("axes", [[0], [1], [0, 1], [0, 1, 2]])
def test_over_nothing(kind: str, axes: list[int]) -> None:
    compare(kind, [np.zeros((2, 0, 3), np.float32), np.array(axes)])


def test_mean_of_nothing_is_undefined() -> None:
    (result,) = on_torch("ReduceMean", [np.zeros((2, 0), np.float32), np.array([1])])
    np.testing.assert_array_equal(result, [[np.nan], [np.nan]])
    (result,) = on_torch("ReduceMean", [np.zeros((2, 0), np.int32), np.array([1])])
    assert result.tolist() == [[0], [0]]


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_extremes_of_nothing(kind: str, dtype: str) -> None:
    compare(kind, [np.zeros((2, 0), dtype), np.array([1])], opset=20)


@pytest.mark.parametrize(("kind", "answer"), [("ReduceMax", False), ("ReduceMin", True)])
def test_extremes_of_no_truth_value(kind: str, answer: bool) -> None:
    (result,) = on_torch(kind, [np.zeros((2, 0), bool), np.array([1])], opset=20)
    assert result.dtype == bool
    assert result.tolist() == [[answer], [answer]]


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMin"])
def test_extremes_of_truth_values(kind: str) -> None:
    x = np.array([[True, False], [False, False], [True, True]])
    compare(kind, [x, np.array([1])], opset=20)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("ReduceSum", 15),
        ("ReduceMean", 3),
        ("ReduceMax", 9),
        ("ReduceMin", 0),
        ("ReduceProd", 0),
        ("ReduceL1", 15),
        ("ReduceL2", 10),
        ("ReduceLogSum", 2),
        ("ReduceSumSquare", 107),
    ],
)
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_integers(kind: str, answer: int, dtype: str) -> None:
    (result,) = on_torch(kind, [np.array([[9, 0], [1, 5]], dtype)], keepdims=0)
    assert result.dtype == dtype
    assert result == answer


def test_integers_wrap_in_their_own_type() -> None:
    x = np.array([2**31 - 1, 1], np.int32)
    assert on_torch("ReduceSum", [x])[0].tolist() == [-(2**31)]
    assert on_torch("ReduceMean", [np.array([-7, 2], np.int64)])[0].tolist() == [-2]


@pytest.mark.parametrize("kind", KINDS)
def test_keeps_half_precision(kind: str) -> None:
    x = positive(2, 2, 3, dtype="float16")
    (half,) = on_torch(kind, [x, np.array([1])])
    (single,) = on_torch(kind, [x.astype(np.float32), np.array([1])])
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, single, rtol=2e-3)


@pytest.mark.parametrize("name", ["sum", "prod", "l2", "log_sum_exp", "max"])
@pytest.mark.parametrize("axes", [[0, 2], [-1], None])
def test_slopes_of_reductions(name: str, axes: list[int] | None) -> None:
    reduce: Function = getattr(ops, f"reduce_{name}")
    x = torch.from_numpy(positive(3, 2, 3, 2, dtype="float64")).requires_grad_()
    slope_error(partial(reduce, axes=axes, keepdims=0), x)


def test_a_product_with_zeros_has_slopes() -> None:
    x = torch.tensor([[0.0, 2.0], [3.0, 4.0]], requires_grad=True)
    ops.reduce_prod(x, [0, 1]).sum().backward()
    assert x.grad.tolist() == [[24.0, 0.0], [0.0, 0.0]]


def test_a_norm_of_zeros_has_slope_zero() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    ops.reduce_l2(x, [1]).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


# Positions


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["ArgMax", "ArgMin"]),
    x=hnp.arrays(
        st.sampled_from([np.float32, np.int32, np.float64, np.uint8]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
        elements=st.integers(0, 2),
    ),
    keepdims=st.integers(0, 1),
    last=st.integers(0, 1),
    data=st.data(),
)
def test_positions(kind: str, x: Array, keepdims: int, last: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    compare(kind, [x], axis=axis, keepdims=keepdims, select_last_index=last)


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_positions_of_unsigned_integers(dtype: str) -> None:
    x = np.array([[3, 7, 7], [1, 1, 0]], dtype)
    assert on_torch("ArgMax", [x], axis=1, keepdims=0)[0].tolist() == [1, 0]
    assert on_torch("ArgMin", [x])[0].tolist() == [[1, 1, 1]]


# Selections


@settings(max_examples=30, deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from([np.float32, np.int64, np.float64, np.int32]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
        elements=st.integers(-2, 2),
    ),
    largest=st.integers(0, 1),
    data=st.data(),
)
def test_top_k(x: Array, largest: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(0, x.shape[axis]))
    compare("TopK", [x, np.array([k])], outputs=2, axis=axis, largest=largest)


@pytest.mark.parametrize("largest", [0, 1])
def test_of_equal_values_the_first_are_taken(largest: int) -> None:
    x = np.zeros((2, 5000), np.float32)
    _, places = on_torch("TopK", [x, np.array([3])], outputs=2, largest=largest, sorted=0)
    assert places.tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("dtype", [*UNSIGNED, "int8", "float16"])
def test_top_k_keeps_the_type(dtype: str) -> None:
    values, places = on_torch("TopK", [np.array([[1, 5, 3]], dtype), np.array([2])], outputs=2)
    assert values.dtype == dtype
    assert (values.tolist(), places.tolist()) == ([[5, 3]], [[1, 2]])


def test_selected_values_get_the_gradient() -> None:
    x = torch.tensor([[1.0, 5.0, 3.0], [4.0, 2.0, 4.0]], requires_grad=True)
    values, _ = ops.top_k(x, [2])
    (values * torch.tensor([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [[0, 1, 10], [1, 0, 10]]


# Running sums and products


@settings(max_examples=30, deadline=None)
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    exclusive=st.integers(0, 1),
    reverse=st.integers(0, 1),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
    data=st.data(),
)
def test_running_sums(
    shape: tuple[int, ...], exclusive: int, reverse: int, dtype: str, data: st.DataObject
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    inputs = [positive(4, *shape, dtype=dtype), np.array(axis)]
    compare("CumSum", inputs, exclusive=exclusive, reverse=reverse)


@pytest.mark.parametrize(
    ("attributes", "answers"),
    [
        ({}, [[2, 6, 24], [3, 0, 0]]),
        ({"exclusive": 1}, [[1, 2, 6], [1, 3, 0]]),
        ({"reverse": 1}, [[24, 12, 4], [0, 0, 5]]),
        ({"exclusive": 1, "reverse": 1}, [[12, 4, 1], [0, 5, 1]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "uint32", "uint64"])
def test_running_products(attributes: dict[str, Any], answers: list[Any], dtype: str) -> None:
    x = np.array([[2, 3, 4], [3, 0, 5]], dtype)
    (result,) = on_torch("CumProd", [x, np.array(-1)], opset=26, **attributes)
    assert result.dtype == dtype
    assert result.tolist() == answers


def test_what_is_left_out_of_a_running_sum_may_be_infinite() -> None:
    x = np.array([1, 2, np.inf], np.float32)
    assert on_torch("CumSum", [x, np.array(0)], exclusive=1)[0].tolist() == [0, 1, 3]


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_slopes_of_running_values(exclusive: int, reverse: int) -> None:
    x = torch.from_numpy(positive(5, 2, 3, dtype="float64")).requires_grad_()
    for function in (ops.cum_sum, ops.cum_prod):
        slope_error(lambda x, f=function: f(x, [1], exclusive=exclusive, reverse=reverse), x)
