"""Adjoints of reductions against central differences, and their conventions at ties and zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import model, node, value
from tests.rewrite.gradients import check_on_runtime
from tests.rewrite.vjp.cases import (
    KNOWLEDGE,
    Array,
    adjoint,
    adjoints,
    drawn,
    one_node,
    positive,
    verify,
)

KINDS = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
]
SHAPE = (2, 3, 4)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def numbers(kind: str, seed: int = 0) -> Array:
    """A tensor of (2, 3, 4) at which the reduction is smooth and of moderate size."""
    return positive(seed, SHAPE) / 2 if kind == "ReduceLogSum" else drawn(seed, SHAPE) / 2


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(
    axes=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    from_the_end=st.booleans(),
    keepdims=st.sampled_from([0, 1]),
    knowledge=st.sampled_from(KNOWLEDGE),
    seed=st.integers(0, 99),
)
def test_over_constant_axes(
    kind: str, axes: list[int], from_the_end: bool, keepdims: int, knowledge: str, seed: int
) -> None:
    chosen = [axis - 3 for axis in axes] if from_the_end else axes
    feeds = {"x": numbers(kind, seed)}
    weights = {"axes": ints(*chosen)}
    verify(kind, feeds, weights=weights, keepdims=keepdims, knowledge=knowledge)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keepdims", [0, 1, None])
@pytest.mark.parametrize("empty", [False, True])
def test_over_all_axes(kind: str, keepdims: int | None, empty: bool) -> None:
    attributes: dict[str, Any] = {} if keepdims is None else {"keepdims": keepdims}
    weights = {"axes": ints()} if empty else {}
    verify(kind, {"x": numbers(kind)}, weights=weights, **attributes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [(1,), (-1, 0), (0, 1, 2)])
def test_over_axes_computed_at_run_time(kind: str, keepdims: int, axes: tuple[int, ...]) -> None:
    verify(kind, {"x": numbers(kind), "axes": ints(*axes)}, keepdims=keepdims, knowledge="unknown")


# ONNX's reference evaluator differs from ONNX Runtime in what the others do without axes.
@pytest.mark.parametrize("kind", ["ReduceSum", "ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("given_axes", ["none", "constant", "computed"])
def test_no_axes_may_mean_no_reduction(kind: str, keepdims: int, given_axes: str) -> None:
    feeds = {"x": numbers(kind).astype(np.float32)}
    feeds |= {"axes": ints()} if given_axes == "computed" else {}
    weights = {"axes": ints()} if given_axes == "constant" else {}
    proto = one_node(kind, feeds, weights=weights, keepdims=keepdims, noop_with_empty_axes=1)
    arriving = drawn(1, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(adjoints(proto, feeds, arriving)["x"], arriving)


def test_sums_of_squares_without_axes_are_squares() -> None:
    feeds = {"x": np.array([[1, -2], [3, 4]], np.float32)}
    proto = one_node("ReduceSumSquare", feeds, noop_with_empty_axes=1)
    assert adjoints(proto, feeds)["x"].tolist() == [[2, -4], [6, 8]]


# By hand


def over_rows(kind: str, x: list[list[float]]) -> Any:
    """The adjoint of a matrix whose rows are reduced, as a list."""
    return adjoint(kind, np.array(x), weights={"axes": ints(-1)}).tolist()


def test_extremes_share_between_equal_numbers() -> None:
    assert over_rows("ReduceMax", [[1, 3, 3], [2, 0, 1]]) == [[0, 0.5, 0.5], [1, 0, 0]]
    assert over_rows("ReduceMin", [[1, 1, 1, 1], [2, 0, 1, 3]]) == [[0.25] * 4, [0, 1, 0, 0]]


def test_product_with_no_one_and_two_zeros() -> None:
    found = over_rows("ReduceProd", [[2, 3, 4], [2, 0, 4], [0, 3, 0]])
    assert found == [[12, 8, 6], [0, 8, 0], [0, 0, 0]]


def test_norms_and_logarithms_at_zero_are_flat() -> None:
    assert over_rows("ReduceL2", [[0, 0], [0, 4]]) == [[0, 0], [0, 1]]
    assert over_rows("ReduceL1", [[0, 0], [3, -4]]) == [[0, 0], [1, -1]]
    assert over_rows("ReduceLogSum", [[0, 0], [3, 1]]) == [[0, 0], [0.25, 0.25]]


def test_log_sum_exp_of_large_numbers_and_of_masked_rows() -> None:
    found = over_rows("ReduceLogSumExp", [[1e4, 1e4], [-np.inf, -np.inf], [-np.inf, 2]])
    wanted = np.array([[0.5, 0.5], [0, 0], [0, 1]])
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_mean_counts_what_it_averages_over() -> None:
    feeds = {"x": np.ones((2, 3, 4), np.float32)}
    for knowledge in KNOWLEDGE:
        proto = one_node("ReduceMean", feeds, weights={"axes": ints(0, 2)}, knowledge=knowledge)
        np.testing.assert_allclose(adjoints(proto, feeds)["x"], np.full((2, 3, 4), 1 / 8))


def test_mean_over_the_batch_holds_for_any_batch() -> None:
    nodes = [node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)]
    weights = {"axes": ints(0)}
    proto = model(nodes, [value("x", ["N", 3])], [value("y", [3])], weights, opset=18)
    for batch in (2, 5):
        found = adjoints(proto, {"x": np.zeros((batch, 3), np.float32)})["x"]
        np.testing.assert_allclose(found, np.full((batch, 3), 1 / batch))


def test_standardisation_written_out() -> None:
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"]),
        node("Sub", ["x", "mean"], ["centred"]),
        node("ReduceSumSquare", ["centred", "axes"], ["power"], keepdims=0),
        node("Sqrt", ["power"], ["norm"]),
        node("Unsqueeze", ["norm", "axes"], ["wide"]),
        node("Div", ["centred", "wide"], ["y"]),
    ]
    inputs, outputs = [value("x", ["N", 5], "float64")], [value("y", None, "float64")]
    proto = model(nodes, inputs, outputs, {"axes": ints(1)}, opset=18)
    check_on_runtime(proto, {"x": drawn(0, (3, 5))})


@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision(kind: str) -> None:
    options: dict[str, Any] = {"weights": {"axes": ints(1)}, "keepdims": 0}
    half = adjoint(kind, numbers(kind), dtype=np.float16, **options)
    assert half.dtype == np.float16
    single = adjoint(kind, numbers(kind), **options)
    np.testing.assert_allclose(half, single, rtol=2e-2, atol=2e-2)
