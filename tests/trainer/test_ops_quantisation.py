"""Quantisation against ONNX Runtime, whose integers are whole numbers in floats here."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lsa_trainer.ops.quantisation import (
    dequantize_linear,
    dynamic_quantize_linear,
    quantised_type,
    quantize_linear,
)
from lsa_trainer.ops.registry import why_not
from tests.graphs import samples
from tests.trainer.one_operator import Array, compare, on_runtime, on_torch, slope_error

WHOLE = ["uint8", "int8", "uint16", "int16"]


def compare_numbers(kind: str, inputs: list[Array | None], opset: int = 21, **how: Any) -> None:
    """Hold what is a float here to what is an integer there, exactly."""
    ours, theirs = on_torch(kind, inputs, opset, **how), on_runtime(kind, inputs, opset, **how)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b.astype(np.float32))


def numbers(*shape: int, seed: int = 0, width: float = 500.0) -> Array:
    """Of both signs, many of them halfway between two whole numbers."""
    drawn = (samples(seed, *shape) - np.float32(0.5)) * np.float32(width)
    halves: Array = np.round(drawn * 2) / 2
    return halves.astype(np.float32)


def scales(*shape: int) -> Array:
    return np.exp2(np.round(samples(3, *shape) * 3)).astype(np.float32)


@pytest.mark.parametrize("dtype", WHOLE)
def test_one_scale(dtype: str) -> None:
    x, scale, zero = numbers(2, 3, 4), np.float32(1), np.array(5, dtype)
    for width in (1, 1000):
        compare_numbers("QuantizeLinear", [x * np.float32(width), np.array(scale), zero])
    numbered = (numbers(2, 3, 4) % 100).astype(dtype)
    compare("DequantizeLinear", [numbered, np.array([0.3], np.float32), zero.reshape(1)])


def test_without_a_zero_point() -> None:
    compare_numbers("QuantizeLinear", [numbers(2, 3), np.array(0.7, np.float32)])
    int16 = {"output_dtype": TensorProto.INT16}
    compare_numbers("QuantizeLinear", [numbers(2, 3), np.array(0.7, np.float32)], **int16)
    biases = np.array([[2**31 - 1, -7], [0, 3]], np.int32)
    compare("DequantizeLinear", [biases, np.array(0.01, np.float32)])


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from(WHOLE),
    blocked=st.booleans(),
)
def test_a_scale_for_each_entry_or_block_of_an_axis(
    shape: list[int], data: st.DataObject, dtype: str, blocked: bool
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    block = data.draw(st.integers(2, 3)) if blocked else 0
    spread = [shape[axis]]
    if blocked:
        spread = list(shape)
        spread[axis] = -(-shape[axis] // block)
        # ONNX Runtime refuses blocks where there is but one.
        assume(np.prod(spread) > 1)
    scale, zero = scales(*spread), np.arange(np.prod(spread)).reshape(spread).astype(dtype)
    how = {"axis": axis, "block_size": block} if blocked else {"axis": axis}
    compare_numbers("QuantizeLinear", [numbers(*shape), scale, zero], **how)
    compare("DequantizeLinear", [(numbers(*shape) % 100).astype(dtype), scale, zero], **how)


def test_half_precision() -> None:
    x, scale = numbers(2, 3, width=40).astype(np.float16), np.array(0.5, np.float16)
    compare_numbers("QuantizeLinear", [x, scale, np.array(3, np.int8)])
    compare("DequantizeLinear", [np.array([[3, 250]], np.uint8), np.array(0.3, np.float16)])


@pytest.mark.parametrize("shape", [(2, 3, 4), (7,)])
@pytest.mark.parametrize("shift", [-300, 0, 300])
def test_dynamic_quantisation(shape: tuple[int, ...], shift: int) -> None:
    compare_numbers("DynamicQuantizeLinear", [numbers(*shape) + np.float32(shift)], outputs=3)
    compare_numbers("DynamicQuantizeLinear", [np.zeros(shape, np.float32)], outputs=3)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (TensorProto.INT4, [-8, -8, -2, 0, 2, 7, 7]),
        (TensorProto.UINT4, [0, 0, 0, 0, 2, 8, 15]),
        (TensorProto.INT2, [-2, -2, -2, 0, 1, 1, 1]),
        (TensorProto.UINT2, [0, 0, 0, 0, 2, 3, 3]),
        (TensorProto.FLOAT4E2M1, [-6, -6, -2, 0.5, 2, 6, 6]),
        (TensorProto.FLOAT8E4M3FN, [-448, -8, -2.5, 0.4375, 2.5, 7.5, 448]),
        (TensorProto.FLOAT8E5M2, [-1024, -8, -2.5, 0.4375, 2.5, 8, 1024]),
    ],
)
def test_small_types_that_the_file_names(element: int, expected: list[float]) -> None:
    x = torch.tensor([-1000, -8.5, -2.5, 0.45, 2.5, 7.5, 1000])
    y = quantize_linear(x, torch.tensor(1.0), output_dtype=element)
    assert y.tolist() == expected


def test_float8_that_does_not_saturate() -> None:
    x = torch.tensor([1.0, 1e6], requires_grad=True)
    y = quantize_linear(x, torch.tensor(1.0), output_dtype=TensorProto.FLOAT8E5M2, saturate=0)
    assert y.tolist() == [1, float("inf")]
    zero = torch.zeros((), dtype=torch.float8_e4m3fn)
    assert quantize_linear(x, torch.tensor(1.0), zero, saturate=0)[1].isnan()


def test_the_type_of_the_numbers() -> None:
    assert quantised_type(None) == TensorProto.UINT8
    assert quantised_type(torch.zeros(1, dtype=torch.int16)) == TensorProto.INT16
    assert quantised_type(torch.zeros(1, dtype=torch.int8), TensorProto.INT4) == TensorProto.INT4
    *_, zero = dynamic_quantize_linear(torch.tensor([1.0, -1.0]))
    assert quantised_type(zero) == TensorProto.UINT8


def test_gradients_go_straight_through_and_stop_where_values_are_clipped() -> None:
    # With scale 2 and zero point 3, int8 reaches from −262 to 248, and half a step further.
    x = torch.tensor([-264, -263, -262, 0.3, 248, 249, 250], requires_grad=True)
    scale, zero = torch.tensor(2.0), torch.tensor(3, dtype=torch.int8)
    y = quantize_linear(x, scale, zero)
    assert y.tolist() == [-128, -128, -128, 3, 127, 127, 127]
    (g,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert g.tolist() == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0]
    (g,) = torch.autograd.grad(dequantize_linear(y, scale, zero).sum(), x)
    assert g.tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_the_slope_of_a_scale_is_what_rounding_leaves_over() -> None:
    """Esser et al. 2020, Eq. 3: round(x / s) − x / s within the range, its end outside."""
    x, zero = torch.tensor([2.6, -4.8, 300.0]), torch.tensor(0, dtype=torch.int8)
    for index, expected in enumerate([3 - 2.6, -5 + 4.8, 127.5 - 0.5]):
        scale = torch.tensor(1.0, requires_grad=True)
        y = dequantize_linear(quantize_linear(x, scale, zero), scale, zero)
        (g,) = torch.autograd.grad(y[index], scale)
        assert g.item() == pytest.approx(expected, abs=1e-5)


def test_dynamic_quantisation_goes_straight_through() -> None:
    x = torch.tensor([[0.3, -1.0], [2.0, 0.7]], requires_grad=True)
    y, scale, zero = dynamic_quantize_linear(x)
    (g,) = torch.autograd.grad(dequantize_linear(y, scale, zero).sum(), x)
    assert torch.allclose(g, torch.ones(2, 2))
    assert not scale.requires_grad
    assert not zero.requires_grad


def test_slopes_of_dequantisation() -> None:
    scale = torch.rand(3, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 3, 2, dtype=torch.float64, requires_grad=True)
    zero = torch.tensor([0, 3, 250], dtype=torch.uint8)
    slope_error(partial(dequantize_linear, x_zero_point=zero), x, scale)


def test_types_that_nothing_is_quantised_to() -> None:
    wrong = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=TensorProto.DOUBLE)
    assert why_not(wrong, 21) == "output_dtype 11 is no type to quantise to"
