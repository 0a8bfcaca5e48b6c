"""Adjoints of activations against central differences, and at kinks and far out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.graphs import model, node, value
from tests.rewrite.gradients import pulled_back
from tests.rewrite.vjp.cases import (
    KNOWLEDGE,
    adjoint,
    adjoints,
    drawn,
    one_node,
    runtime_takes,
    verify,
)

# Operator, attributes, opset.
ACTIVATIONS: list[tuple[str, dict[str, Any], int]] = [
    ("Relu", {}, 18),
    ("LeakyRelu", {}, 18),
    ("LeakyRelu", {"alpha": 0.3}, 18),
    ("LeakyRelu", {"alpha": 1.5}, 18),
    ("LeakyRelu", {"alpha": -0.5}, 18),
    ("ThresholdedRelu", {}, 18),
    ("ThresholdedRelu", {"alpha": -0.35}, 18),
    ("Shrink", {}, 18),
    ("Shrink", {"lambd": 0.75, "bias": 0.25}, 18),
    ("HardSigmoid", {}, 18),
    ("HardSigmoid", {"alpha": -0.4, "beta": 0.6}, 18),
    ("Elu", {}, 18),
    ("Elu", {"alpha": 0.7}, 18),
    ("Elu", {"alpha": -0.7}, 18),
    ("Selu", {}, 18),
    ("Selu", {"alpha": 0.5, "gamma": 2.0}, 18),
    ("Celu", {}, 18),
    ("Celu", {"alpha": 0.6}, 18),
    ("Sigmoid", {}, 18),
    ("Softplus", {}, 18),
    ("Softsign", {}, 18),
    ("HardSwish", {}, 18),
    ("Mish", {}, 18),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("Swish", {}, 24),
    ("Swish", {"alpha": 1.7}, 24),
]
# ONNX's bodies, or the kernels for double, hold constants or results of single precision.
COARSE = {"Celu", "Gelu", "Selu", "Shrink"}


@pytest.mark.parametrize(("kind", "attributes", "opset"), ACTIVATIONS)
@settings(max_examples=4, deadline=None)
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    seed=st.integers(0, 99),
    knowledge=st.sampled_from(KNOWLEDGE),
)
def test_against_central_differences(
    kind: str,
    attributes: dict[str, Any],
    opset: int,
    shape: tuple[int, ...],
    seed: int,
    knowledge: str,
) -> None:
    # Values that are 0.03 off the multiples of 0.1 at which there are kinks.
    x = np.round(drawn(seed, shape), 1) + 0.03
    verify(kind, {"x": x}, knowledge=knowledge, opset=opset, coarse=kind in COARSE, **attributes)


@pytest.mark.parametrize(
    ("kind", "x", "attributes", "slopes"),
    [
        ("Relu", [-1, 0, 1], {}, [0, 0, 1]),
        ("LeakyRelu", [-1, 0, 1], {"alpha": 0.25}, [0.25, 0.25, 1]),
        ("LeakyRelu", [-1, 0, 1], {"alpha": 2.0}, [2, 2, 1]),
        ("ThresholdedRelu", [0, 1, 1.5], {}, [0, 0, 1]),
        ("Shrink", [-1, -0.5, 0, 0.5, 1], {}, [1, 0, 0, 0, 1]),
        ("HardSigmoid", [-4, -2, 0, 2, 4], {"alpha": 0.25}, [0, 0, 0.25, 0, 0]),
        ("Elu", [0, 1], {"alpha": 0.5}, [0.5, 1]),
        ("HardSwish", [-4, 0, 1.5, 4], {}, [0, 0.5, 1, 1]),
        ("Sigmoid", [-1e4, 0, 1e4], {}, [0, 0.25, 0]),
        ("Softplus", [-1e4, 0, 1e4], {}, [0, 0.5, 1]),
        ("Softsign", [-1, 0, 1e20], {}, [0.25, 1, 0]),
        ("Mish", [-1e4, 0, 1e4], {}, [0, 0.6, 1]),
    ],
)
def test_slopes_by_hand(
    kind: str, x: list[float], attributes: dict[str, Any], slopes: list[float]
) -> None:
    np.testing.assert_allclose(adjoint(kind, x, **attributes), slopes, atol=1e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize(("dtype", "far"), [(np.float16, 6e4), (np.float32, 1e20)])
def test_gelu_far_out(approximate: str, dtype: type[np.floating[Any]], far: float) -> None:
    x = [-far, -300, -20, 0, 20, 300, far]
    slopes = adjoint("Gelu", x, dtype=dtype, opset=20, approximate=approximate)
    np.testing.assert_allclose(slopes, [0, 0, 0, 0.5, 1, 1, 1], atol=1e-3)


# Celu is defined for single precision alone.
@pytest.mark.parametrize(
    ("kind", "attributes", "opset"), [a for a in ACTIVATIONS if a[0] != "Celu"]
)
def test_in_half_precision(kind: str, attributes: dict[str, Any], opset: int) -> None:
    if not runtime_takes(opset):
        pytest.skip(f"this ONNX Runtime does not run opset {opset}")
    x = np.round(drawn(7, (3, 4)), 1) + 0.03
    half = adjoint(kind, x, dtype=np.float16, opset=opset, **attributes)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, adjoint(kind, x, opset=opset, **attributes), atol=2e-2)


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("slope", [(2, 3, 4), (3, 1), (4,), (1,), ()])
def test_prelu_and_its_slope(slope: tuple[int, ...], knowledge: str) -> None:
    feeds = {"x": drawn(0, (2, 3, 4)), "slope": drawn(1, slope)}
    verify("PRelu", feeds, knowledge=knowledge)


def test_prelu_with_constant_slopes() -> None:
    verify("PRelu", {"x": drawn(0, (2, 3, 4, 2))}, weights={"slope": drawn(1, (3, 1, 1))})


def test_prelu_at_zero_has_the_slope_of_the_negative_side() -> None:
    weights = {"slope": np.array([0.25], np.float32)}
    assert adjoint("PRelu", [-1, 0, 1], weights=weights).tolist() == [0.25, 0.25, 1]


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, None])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_softmax_over_any_axis(kind: str, axis: int | None, knowledge: str) -> None:
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    verify(kind, {"x": drawn(2, (2, 3, 4))}, knowledge=knowledge, **attributes)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_confident_softmax_stays_finite(kind: str) -> None:
    feeds = {"x": np.array([[1e4, 0, -1e4]], np.float32)}
    found = adjoints(one_node(kind, feeds), feeds, np.array([[0, 1, 0]], np.float32))["x"]
    wanted = [0, 0, 0] if kind == "Softmax" else [-1, 1, 0]
    assert found.tolist() == [wanted]


def test_hardmax_has_no_gradient() -> None:
    proto = one_node("Hardmax", {"x": drawn(0, (2, 3))})
    assert pulled_back(proto, ["x"])[1] == {}


@pytest.mark.parametrize("cast", [False, True])
def test_rows_that_are_masked_in_full_leave_gradients_finite(cast: bool) -> None:
    """As attention is exported: a Softmax over −∞ alone is NaN, and the model puts 0 in its place."""
    nodes = [
        node("Softmax", ["x"], ["p"]),
        *([node("Cast", ["p"], ["q"], to=1)] if cast else [node("Identity", ["p"], ["q"])]),
        node("IsNaN", ["q"], ["bad"]),
        node("Where", ["bad", "zero", "q"], ["clean"]),
        node("Mul", ["clean", "weights"], ["y"]),
    ]
    constants = {"zero": np.zeros((), np.float32), "weights": np.array([1, 2], np.float32)}
    proto = model(nodes, [value("x", ["N", 2])], [value("y", None)], constants, opset=18)
    x = np.array([[-np.inf, -np.inf], [0, 0], [-np.inf, 3]], np.float32)
    # p (1 − p) times the difference of the weights.
    assert adjoints(proto, {"x": x})["x"].tolist() == [[0, 0], [-0.25, 0.25], [0, 0]]


def test_a_softmax_that_nothing_is_left_out_of_costs_no_more() -> None:
    pulled, _, _ = pulled_back(one_node("Softmax", {"x": drawn(0, (2, 3))}), ["x"])
    assert not {"IsNaN", "Where"} & {n.op_type for n in pulled.graph.node}
