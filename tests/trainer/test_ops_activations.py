"""Activations against ONNX Runtime, and their derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsa_trainer.ops import activations as ops
from lsa_trainer.ops.registry import find
from tests.graphs import node
from tests.rewrite.vjp.cases import runtime_takes
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

# A sixth, as a file holds it.
SIXTH = float(np.float32(1 / 6))
# Operator, attributes, opset.
ACTIVATIONS: list[tuple[str, dict[str, Any], int]] = [
    ("Relu", {}, 18),
    ("LeakyRelu", {}, 18),
    ("LeakyRelu", {"alpha": 1.5}, 18),
    ("LeakyRelu", {"alpha": -0.5}, 18),
    ("ThresholdedRelu", {}, 18),
    ("ThresholdedRelu", {"alpha": -0.35}, 18),
    ("Shrink", {}, 18),
    ("Shrink", {"lambd": 0.75, "bias": 0.25}, 18),
    ("Shrink", {"lambd": -0.5, "bias": 0.25}, 18),
    ("HardSigmoid", {}, 18),
    ("HardSigmoid", {"alpha": SIXTH}, 18),
    ("HardSigmoid", {"alpha": SIXTH, "beta": 0.25}, 18),
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


def around_zero(seed: int, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    """Values that are 0.03 off the multiples of 0.1, at which there are kinks."""
    drawn = 2 * np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(np.round(drawn, 1) + 0.03, dtype)


@pytest.mark.parametrize(("kind", "attributes", "opset"), ACTIVATIONS)
def test_values(kind: str, attributes: dict[str, Any], opset: int) -> None:
    if not runtime_takes(opset):
        pytest.skip(f"this ONNX Runtime does not run opset {opset}")
    for shape in [(2, 3, 5), (), (0, 3)]:
        compare(kind, [around_zero(0, shape)], opset=opset, **attributes)
    far_and_kinks = np.array([[-1e4, -50, -3, -0.5], [0, 0.5, 1, 3], [50, 90, 1e4, 0]], np.float32)
    compare(kind, [far_and_kinks], opset=opset, **attributes)


@pytest.mark.parametrize(("kind", "attributes", "opset"), ACTIVATIONS)
def test_slopes(kind: str, attributes: dict[str, Any], opset: int) -> None:
    entry = find(node(kind, ["x"], ["y"]), opset)
    assert entry is not None
    x = torch.from_numpy(around_zero(1, (2, 3), "float64")).requires_grad_()
    slope_error(lambda x: entry.function(x, **attributes), x)


@pytest.mark.parametrize(("kind", "attributes", "opset"), ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_keeps_the_type(kind: str, attributes: dict[str, Any], opset: int, dtype: str) -> None:
    x = around_zero(2, (3, 4), dtype)
    (result,) = on_torch(kind, [x], opset, **attributes)
    (single,) = on_torch(kind, [x.astype(np.float32)], opset, **attributes)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, single, atol=5e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_relu_of_integers(dtype: str) -> None:
    compare("Relu", [np.array([[-3, 0, 4]], dtype)])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint32", "uint64"])
def test_shrink_of_integers(dtype: str) -> None:
    x = np.array([0, 1, 2, 5], dtype)
    compare("Shrink", [x if dtype.startswith("u") else x - 3], lambd=1.5, bias=1.5)


def test_softplus_is_exact_in_double_precision() -> None:
    x = torch.tensor([19.0, 21.0, 30.0, 45.0], dtype=torch.float64)
    assert torch.equal(ops.softplus(x), torch.log1p(torch.exp(-x)) + x)


# PRelu


@pytest.mark.parametrize(
    ("shape", "slope"),
    [
        ((2, 3, 4, 5), (3, 1, 1)),
        ((2, 3, 4, 5), (1, 3, 1, 1)),
        ((2, 3, 4, 5), (1,)),
        ((2, 3, 4, 5), ()),
        ((2, 3, 4, 5), (5,)),
        ((2, 3, 4, 5), (4, 5)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (2, 1, 3)),
        ((2, 3), (3,)),
        ((2, 3), (1, 3)),
        ((3,), (3,)),
        ((3,), (1,)),
        ((), ()),
        ((0, 3, 2), (3, 1)),
    ],
)
def test_prelu(shape: tuple[int, ...], slope: tuple[int, ...]) -> None:
    compare("PRelu", [around_zero(3, shape), around_zero(4, slope)])


@settings(max_examples=15, deadline=None)
@given(shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=3), data=st.data())
def test_prelu_of_any_slope(shape: tuple[int, ...], data: st.DataObject) -> None:
    ones = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    slope = tuple(1 if is_one else size for is_one, size in zip(ones, shape, strict=True))
    cut = data.draw(st.integers(0, len(shape)))
    compare("PRelu", [around_zero(5, shape), around_zero(6, slope[cut:])])


@pytest.mark.parametrize("slope", [(3, 1), (2,), (1,)])
def test_slopes_of_prelu(slope: tuple[int, ...]) -> None:
    x, s = (
        torch.from_numpy(around_zero(7 + i, shape, "float64")).requires_grad_()
        for i, shape in enumerate([(2, 3, 2), slope])
    )
    slope_error(ops.prelu, x, s)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_prelu_of_integers(dtype: str) -> None:
    x, slope = np.array([[0, 1], [2, 3]], dtype), np.array([4, 5], dtype)
    lower = x if dtype.startswith("u") else x - 2
    (result,) = on_torch("PRelu", [lower, slope])
    assert result.dtype == dtype
    assert result.tolist() == ([[0, 1], [2, 3]] if dtype.startswith("u") else [[-8, -5], [0, 1]])


# ONNX Runtime's own


@pytest.mark.parametrize("kind", ["Gelu", "FastGelu", "QuickGelu"])
def test_gelus_of_onnx_runtime(kind: str) -> None:
    compare(kind, [around_zero(8, (2, 3, 4))], domain="com.microsoft")


@pytest.mark.parametrize("kind", ["BiasGelu", "FastGelu"])
def test_gelus_with_a_bias(kind: str) -> None:
    compare(kind, [around_zero(9, (2, 3, 4)), around_zero(10, (4,))], domain="com.microsoft")


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_quick_gelu_of_another_slope(alpha: float) -> None:
    compare("QuickGelu", [around_zero(11, (2, 3))], domain="com.microsoft", alpha=alpha)


# Over an axis


@settings(max_examples=20, deadline=None)
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
    kind=st.sampled_from(["Softmax", "LogSoftmax", "Hardmax"]),
    data=st.data(),
)
def test_over_an_axis(shape: tuple[int, ...], kind: str, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    compare(kind, [around_zero(12, shape)], axis=axis)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
def test_over_the_last_axis_by_default(kind: str) -> None:
    compare(kind, [around_zero(13, (2, 3, 4))])


def test_softmax_of_large_values() -> None:
    compare("Softmax", [np.array([[1e4, 1e4, -1e4], [300, 0, 299]], np.float32)])


def test_hardmax_takes_the_first_of_equal_ones() -> None:
    (result,) = on_torch("Hardmax", [np.array([[1, 3, 3], [2, 2, 2]], np.float16)])
    assert result.dtype == np.float16
    assert result.tolist() == [[0, 1, 0], [1, 0, 0]]
