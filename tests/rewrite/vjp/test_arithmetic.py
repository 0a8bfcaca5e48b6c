"""Adjoints of elementwise arithmetic against central differences, and their conventions at kinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import Array, model, node, value
from tests.rewrite.gradients import check, check_on_runtime, pulled_back
from tests.rewrite.vjp.cases import (
    KNOWLEDGE,
    adjoint,
    adjoints,
    drawn,
    one_node,
    positive,
    verify,
)

# Pairs of shapes that broadcast, and their common shape.
SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=1, max_side=4)
THREE_SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=1, max_side=3)
SHAPE = (2, 3, 4)


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@settings(max_examples=8, deadline=None)
@given(shapes=SHAPES, seed=st.integers(0, 99))
def test_binary_with_broadcasting(kind: str, knowledge: str, shapes: Any, seed: int) -> None:
    a, b = shapes.input_shapes
    verify(kind, {"a": drawn(seed, a), "b": drawn(seed + 1, b)}, knowledge=knowledge)


@pytest.mark.parametrize("kind", ["Sum", "Max", "Min"])
@settings(max_examples=8, deadline=None)
@given(shapes=THREE_SHAPES, seed=st.integers(0, 99))
def test_of_many_operands(kind: str, shapes: Any, seed: int) -> None:
    verify(kind, {f"x{i}": drawn(seed + i, shape) for i, shape in enumerate(shapes.input_shapes)})


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
def test_of_one_operand(kind: str) -> None:
    verify(kind, {"x": drawn(0, SHAPE)})


def test_mean_of_operands_of_one_shape() -> None:
    verify("Mean", {name: drawn(seed, SHAPE) for seed, name in enumerate("abc")})


# Neither ONNX's reference evaluator broadcasts Mean nor has ONNX Runtime a double kernel for it.
@settings(max_examples=8, deadline=None)
@given(shapes=THREE_SHAPES, seed=st.integers(0, 99))
def test_mean_sums_a_third_of_the_adjoint_to_each_shape(shapes: Any, seed: int) -> None:
    feeds = {
        f"x{i}": drawn(seed + i, shape).astype(np.float32)
        for i, shape in enumerate(shapes.input_shapes)
    }
    arriving = drawn(seed, shapes.result_shape).astype(np.float32)
    for name, found in adjoints(one_node("Mean", feeds), feeds, arriving).items():
        padded = (1,) * (arriving.ndim - feeds[name].ndim) + feeds[name].shape
        axes = tuple(a for a, size in enumerate(padded) if size == 1)
        wanted = arriving.sum(axes, keepdims=True).reshape(feeds[name].shape) / 3
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_operand_may_be_used_twice() -> None:
    proto = one_node("Mul", {"x": np.zeros(3, np.float32)}, inputs=["x", "x"])
    found = adjoints(proto, {"x": np.array([1, -2, 3], np.float32)})
    assert found["x"].tolist() == [2, -4, 6]


@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub", "Div"])
def test_constant_operands_have_no_adjoint(kind: str) -> None:
    feeds = {"x": drawn(0, (2, 3))}
    verify(kind, feeds, weights={"c": positive(1, (4, 1, 3))})
    verify(kind, feeds, weights={"c": positive(1, (4, 1, 3))}, inputs=["c", "x"])


UNARY = ["Identity", "Neg", "Abs", "Exp", "Reciprocal"]


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("kind", UNARY)
def test_of_one_number(kind: str, knowledge: str) -> None:
    verify(kind, {"x": drawn(3, SHAPE)}, knowledge=knowledge)


def test_error_function() -> None:
    verify("Erf", {"x": drawn(3, SHAPE)}, coarse=True)


@pytest.mark.parametrize("kind", ["Sqrt", "Log"])
def test_of_one_positive_number(kind: str) -> None:
    verify(kind, {"x": positive(3, SHAPE)})


# Remainders, bounds, choices


@settings(max_examples=8, deadline=None)
@given(shapes=SHAPES, seed=st.integers(0, 99))
def test_remainder(shapes: Any, seed: int) -> None:
    a, b = shapes.input_shapes
    rng = np.random.default_rng(seed)
    # Quotients between k + ¼ and k + ¾, whichever numbers meet.
    divisor = rng.choice([-1.0, 1.0, 2.0], b)
    dividend = rng.integers(-4, 4, a) * 2 + rng.uniform(0.55, 0.9, a)
    verify("Mod", {"a": dividend, "b": divisor}, fmod=1)


def test_the_number_of_whole_divisors_is_not_blurred_by_rounding() -> None:
    rng = np.random.default_rng(0)
    feeds = {"a": rng.uniform(1e3, 1e5, 50), "b": rng.uniform(0.1, 0.9, 50)}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    found = adjoints(one_node("Mod", feeds, fmod=1), feeds)["b"]
    exact = np.trunc(feeds["a"].astype(np.float64) / feeds["b"])
    np.testing.assert_array_equal(found, -exact.astype(np.float32))


def test_extremes_share_between_equal_numbers() -> None:
    feeds = {n: np.array(x, np.float32) for n, x in {"a": [1, 5], "b": [1, 2], "c": [0, 5]}.items()}
    found = adjoints(one_node("Max", feeds), feeds)
    assert {n: x.tolist() for n, x in found.items()} == {
        "a": [0.5, 0.5],
        "b": [0.5, 0],
        "c": [0, 0.5],
    }


@pytest.mark.parametrize("bounds", [["low", "high"], ["low"], ["", "high"], []])
def test_clip_and_its_bounds(bounds: list[str]) -> None:
    values = {"low": np.array(-0.55), "high": np.array(0.75)}
    feeds = {"x": drawn(0, SHAPE), **{name: values[name] for name in bounds if name}}
    verify("Clip", feeds, inputs=["x", *bounds])


def test_bounds_in_the_wrong_order_make_everything_the_upper_one() -> None:
    feeds = {"x": drawn(0, SHAPE), "low": np.array(0.5), "high": np.array(-0.35)}
    verify("Clip", feeds)
    single = {name: np.asarray(array, np.float32) for name, array in feeds.items()}
    found = adjoints(one_node("Clip", single), single)
    assert not found["x"].any()
    assert found["low"] == 0
    assert found["high"] == np.prod(SHAPE)


def test_what_lies_on_a_bound_was_not_clipped() -> None:
    bounds = {"low": np.array(0, np.float32), "high": np.array(1, np.float32)}
    assert adjoint("Clip", [-1, 0, 0.5, 1, 2], weights=bounds).tolist() == [0, 1, 1, 1, 0]


@settings(max_examples=8, deadline=None)
@given(shapes=THREE_SHAPES, seed=st.integers(0, 99), knowledge=st.sampled_from(KNOWLEDGE))
def test_choice(shapes: Any, seed: int, knowledge: str) -> None:
    condition, a, b = shapes.input_shapes
    feeds = {
        "condition": np.random.default_rng(seed).random(condition) > 0.5,
        "a": drawn(seed, a),
        "b": drawn(seed + 1, b),
    }
    verify("Where", feeds, knowledge=knowledge)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
def test_running_sums(axis: int, reverse: int, exclusive: int) -> None:
    weights = {"axis": np.array(axis, np.int64)}
    feeds = {"x": drawn(0, SHAPE)}
    verify("CumSum", feeds, weights=weights, reverse=reverse, exclusive=exclusive)


def test_numbers_in_a_row() -> None:
    feeds = {"start": np.array(0.5), "limit": np.array(4.1), "delta": np.array(0.7)}
    proto = one_node("Range", feeds)
    check(proto, feeds, ["start", "delta"])
    check_on_runtime(
        proto, {"start": feeds["start"], "limit": feeds["limit"], "delta": feeds["delta"]}
    )
    single = {name: array.astype(np.float32) for name, array in feeds.items()}
    # Six numbers, 0 to 5 times delta; the limit has no adjoint.
    found = adjoints(one_node("Range", single), single)
    assert {name: float(x) for name, x in found.items()} == {"start": 6, "delta": pytest.approx(15)}


# Types


@pytest.mark.parametrize(("kind", "options"), [("Cast", {"to": 1}), ("CastLike", {})])
def test_casts_return_to_the_type_of_their_input(kind: str, options: dict[str, int]) -> None:
    nodes = [
        node(kind, ["x", "like"][: 1 + (kind == "CastLike")], ["c"], **options),
        node("Mul", ["c", "like"], ["y"]),
    ]
    like = {"like": np.array([2, 3], np.float32)}
    proto = model(nodes, [value("x", [2], "float16")], [value("y", [2])], like, opset=18)
    found = adjoints(proto, {"x": np.ones(2, np.float16)})["x"]
    assert found.dtype == np.float16
    assert found.tolist() == [2, 3]


@pytest.mark.parametrize("kind", ["Mul", "Div", "Max", "Pow"])
def test_binary_in_half_precision(kind: str) -> None:
    feeds = {"a": positive(0, (2, 3)), "b": positive(1, (3,))}
    exact = adjoints(one_node(kind, feeds), feeds)
    half = {name: array.astype(np.float16) for name, array in feeds.items()}
    for name, found in adjoints(one_node(kind, half), half).items():
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, exact[name], rtol=2e-2, atol=2e-2)


# Conventions


@pytest.mark.parametrize(
    ("kind", "x"), [("Sqrt", 0), ("Log", 0), ("Reciprocal", 0), ("Abs", 0), ("Erf", 1e30)]
)
def test_infinite_or_undefined_derivatives_are_0(kind: str, x: float) -> None:
    assert adjoint(kind, [x]).tolist() == [0]


def test_a_masked_division_by_zero_leaves_gradients_finite() -> None:
    nodes = [
        node("Div", ["a", "b"], ["ratio"]),
        node("Equal", ["b", "zero"], ["bad"]),
        node("Where", ["bad", "zero", "ratio"], ["y"]),
    ]
    inputs = [value("a", ["N", 2]), value("b", ["N", 2])]
    zero = {"zero": np.array(0, np.float32)}
    proto = model(nodes, inputs, [value("y", ["N", 2])], zero, opset=18)
    feeds = {"a": np.array([[1, 0]], np.float32), "b": np.array([[0, 2]], np.float32)}
    found = adjoints(proto, feeds)
    assert found["a"].tolist() == [[0, 0.5]]
    assert found["b"].tolist() == [[0, 0]]


# Steps and Dropout


@pytest.mark.parametrize("kind", ["Sign", "Round", "Floor", "Ceil"])
def test_steps_pass_adjoints_on_only_when_asked_to(kind: str) -> None:
    proto = one_node(kind, {"x": np.zeros(3, np.float32)})
    assert pulled_back(proto, ["x"])[1] == {}
    _, gradients, _ = pulled_back(proto, ["x"], straight_through=True)
    assert list(gradients) == ["x"]


def test_dropout_does_nothing_at_inference() -> None:
    verify("Dropout", {"x": drawn(0, SHAPE)})
    constants = {"ratio": np.array(0.5), "training": np.array(False)}
    verify("Dropout", {"x": drawn(0, SHAPE)}, weights=constants)


def test_dropout_in_training_mode_is_refused() -> None:
    constants = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    proto = one_node("Dropout", {"x": np.zeros(3, np.float32)}, weights=constants)
    with pytest.raises(MissingRules) as caught:
        pulled_back(proto, ["x"])
    assert "training_mode" in caught.value.nodes[0].reason


def test_a_chain_of_many() -> None:
    nodes = [
        node("Mul", ["x", "x"], ["square"]),
        node("Add", ["square", "c"], ["more"]),
        node("Sqrt", ["more"], ["root"]),
        node("Div", ["x", "root"], ["unit"]),
        node("Exp", ["unit"], ["e"]),
        node("Sub", ["e", "x"], ["y"]),
    ]
    x: Array = drawn(5, (3, 4))
    inputs, outputs = [value("x", ["N", 4], "float64")], [value("y", None, "float64")]
    proto = model(nodes, inputs, outputs, {"c": positive(1, (4,))}, opset=18)
    check(proto, {"x": x})
    check_on_runtime(proto, {"x": x})
