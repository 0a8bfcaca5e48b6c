"""Tensors made of shapes and numbers, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lsa_trainer.ops import generators as ops
from lsa_trainer.ops.registry import why_not
from tests.graphs import node
from tests.trainer.one_operator import Array, compare, on_runtime, on_torch

X = np.zeros((2, 3, 0, 5), np.float32)


@pytest.mark.parametrize(
    "how", [{}, {"start": 1}, {"end": -1}, {"start": -3, "end": 3}, {"start": 3, "end": 1}]
)
def test_shape(how: dict[str, int]) -> None:
    compare("Shape", [X], **how)


def test_shape_beyond_the_rank() -> None:
    compare("Shape", [X], start=-9, end=9)
    compare("Shape", [np.array([1], np.float32).reshape(())])


def test_size() -> None:
    compare("Size", [X])
    compare("Size", [np.zeros((2, 3), bool)])


def test_shapes_stay_on_the_cpu() -> None:
    with torch.device("meta"):
        x = torch.zeros(2, 3)
        assert [ops.shape_(x).device.type, ops.size(x).device.type] == ["cpu", "cpu"]


@pytest.mark.parametrize("dtype", [None, "float16", "float64", "int8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(2, 3), (), (2, 0)])
def test_constant_of_shape(dtype: str | None, shape: tuple[int, ...]) -> None:
    value = {} if dtype is None else {"value": numpy_helper.from_array(np.array([1], dtype))}
    compare("ConstantOfShape", [np.array(shape, np.int64)], **value)


@pytest.mark.parametrize(
    "how",
    [
        {"value": numpy_helper.from_array(np.array([[1, 2, 3]], np.int32))},
        {"value_float": 0.1},
        {"value_floats": [0.1, -2.0]},
        {"value_int": 2**40},
        {"value_ints": [3, -4]},
        {"value_int": 0},
        {"value_float": 0.0},
    ],
)
def test_constant(how: dict[str, Any]) -> None:
    compare("Constant", [], **how)


def test_constants_of_text_are_refused() -> None:
    text = node("Constant", [], ["c"], value_string="a")
    assert why_not(text, 21) == "a constant given as value_string is not supported"


@settings(max_examples=40, deadline=None)
@given(
    numbers=st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4)),
    scale=st.sampled_from([1, 0.1, 0.25, 3]),
    dtype=st.sampled_from(["float32", "float64", "int16", "int32", "int64"]),
)
def test_range(numbers: tuple[int, int, int], scale: float, dtype: str) -> None:
    start, limit, delta = numbers
    delta = delta or 1
    factor = scale if dtype.startswith("float") else 1
    compare("Range", [np.array(n * factor, dtype) for n in (start, limit, delta)])


def test_a_range_has_slopes() -> None:
    start, delta = (torch.tensor(n, requires_grad=True) for n in (1.0, 0.5))
    ops.range_(start, torch.tensor(2.4), delta).sum().backward()
    assert (start.grad.item(), delta.grad.item()) == (3, 0 + 1 + 2)


@pytest.mark.parametrize("k", [-9, -1, 0, 2, 9])
@pytest.mark.parametrize("shape", [(3, 5), (4, 2)])
@pytest.mark.parametrize("dtype", [None, TensorProto.DOUBLE, TensorProto.INT64])
def test_eye_like(k: int, shape: tuple[int, int], dtype: int | None) -> None:
    attributes = {"k": k} if dtype is None else {"k": k, "dtype": dtype}
    given_: Array = np.zeros(shape, np.int32)
    (y,) = on_torch("EyeLike", [given_], **attributes)
    wanted = np.int32 if dtype is None else helper.tensor_dtype_to_np_dtype(dtype)
    assert y.dtype == wanted
    np.testing.assert_array_equal(y, np.eye(*shape, k=k))
    if abs(k) < min(shape):
        np.testing.assert_array_equal(y, on_runtime("EyeLike", [given_], **attributes)[0])


def test_eye_like_of_a_type_that_torch_has_not() -> None:
    eye = node("EyeLike", ["x"], ["y"], dtype=TensorProto.STRING)
    assert why_not(eye, 21) == "element type STRING is not supported"
