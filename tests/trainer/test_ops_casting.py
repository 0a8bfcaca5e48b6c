"""Changes of the element type: against ONNX Runtime, and by ONNX's tables for 8-bit floats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from lsa_trainer.ops import casting as ops
from lsa_trainer.ops.element_types import TORCH_TYPES
from lsa_trainer.ops.registry import why_not
from tests.graphs import model, node, run, value
from tests.trainer.one_operator import compare, on_torch

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16"]
DTYPES += ["uint32", "uint64", "bool"]
FLOAT8 = {
    "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
    "float8_e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "float8_e5m2": TensorProto.FLOAT8E5M2,
    "float8_e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
}
# Ordinary ones, and those around the ends of the types' ranges.
NUMBERS = [0, -0.0, 0.3, -1.7, 1e-3, 239, 241, 447, 463, 464, 470, 1000, -1000, 57344, 57345, 1e6]
NUMBERS += [np.inf, -np.inf, np.nan]


def number_of(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_cast(source: str, target: str) -> None:
    numbers = np.array([0, 1, 2.75, 100.5, 0.25]).astype(source)
    compare("Cast", [numbers], to=number_of(target))


@pytest.mark.parametrize("target", ["int8", "int32", "int64", "bool"])
def test_negative_numbers_lose_their_fraction(target: str) -> None:
    compare("Cast", [np.array([-2.9, -0.5, 0.5, 2.9], np.float32)], to=number_of(target))


def test_integers_lose_their_high_bits() -> None:
    compare("Cast", [np.array([200, -129, 2**40 + 3])], to=TensorProto.INT8)
    compare("Cast", [np.array([200, -129, 2**40 + 3])], to=TensorProto.UINT16)


def test_too_large_a_float_is_infinite() -> None:
    compare("Cast", [np.array([1e6, -1e300, np.nan])], to=TensorProto.FLOAT16)


def test_bfloat16_keeps_eight_bits() -> None:
    y = ops.cast(torch.tensor([1 + 1 / 128, 1 + 1 / 512]), to=TensorProto.BFLOAT16)
    assert y.dtype == torch.bfloat16
    assert y.tolist() == [1 + 1 / 128, 1]


@pytest.mark.parametrize("name", FLOAT8)
@pytest.mark.parametrize("saturate", [0, 1])
def test_cast_to_8_bit_floats(name: str, saturate: int) -> None:
    x = np.array(NUMBERS, np.float32)
    nodes = [
        node("Cast", ["x"], ["small"], to=FLOAT8[name], saturate=saturate),
        node("Cast", ["small"], ["y"], to=TensorProto.FLOAT),
    ]
    proto = model(nodes, [value("x", ["N"])], [value("y", ["N"])], opset=21, ir=10)
    small = ops.cast(torch.from_numpy(x), to=FLOAT8[name], saturate=saturate)
    assert small.dtype == getattr(torch, name)
    np.testing.assert_array_equal(small.float().numpy(), run(proto, {"x": x})["y"])


def test_a_saturated_cast_passes_gradients_inside_its_range() -> None:
    x = torch.tensor([3.0, 1e6], requires_grad=True)
    y = ops.cast(ops.cast(x, to=TensorProto.FLOAT8E5M2), to=TensorProto.FLOAT)
    y.sum().backward()
    assert x.grad.tolist() == [1, 0]


def test_cast_like() -> None:
    compare("CastLike", [np.array([-1.5, 0, 300], np.float32), np.zeros((2, 2), np.int32)])
    small = ops.cast_like(torch.tensor([1e6]), torch.zeros(1).to(torch.float8_e5m2))
    assert small.float().tolist() == [57344]


@pytest.mark.parametrize(
    ("given", "target"), [("float32", "int32"), ("int64", "float64"), ("uint16", "float16")]
)
def test_bit_cast(given: str, target: str) -> None:
    x = np.arange(3, 9).reshape(2, 3).astype(given)
    (y,) = on_torch("BitCast", [x], opset=26, to=number_of(target))
    assert y.dtype == target
    np.testing.assert_array_equal(y, x.view(target))


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        (TensorProto.STRING, "element type STRING is not supported"),
        (TensorProto.INT4, "element type INT4 is not supported"),
        (999, "element type 999 is not supported"),
    ],
)
@pytest.mark.parametrize("kind", ["Cast", "BitCast"])
def test_types_that_torch_has_not(kind: str, element: int, reason: str) -> None:
    assert why_not(node(kind, ["x"], ["y"], to=element), 26) == reason


def test_torch_types_are_as_wide_as_onnx_says() -> None:
    for element, dtype in TORCH_TYPES.items():
        assert helper.tensor_dtype_to_np_dtype(element).itemsize == dtype.itemsize
        name = onnx.TensorProto.DataType.Name(element)
        assert ("FLOAT" in name or name == "DOUBLE") == dtype.is_floating_point
