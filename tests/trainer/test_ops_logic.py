"""Comparisons, truth values and bits against ONNX Runtime, and by hand where it has no kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsa_trainer.ops.logic import where
from tests.trainer.one_operator import compare, on_torch

SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=4)
COMPARISONS = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]


@settings(max_examples=25, deadline=None)
@given(
    shapes=SHAPES,
    kind=st.sampled_from(COMPARISONS),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
    seed=st.integers(0, 99),
)
def test_comparisons(shapes: hnp.BroadcastableShapes, kind: str, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    compare(kind, [np.asarray(rng.integers(0, 3, s), dtype) for s in shapes.input_shapes])


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("Equal", [False, True, False]),
        ("Less", [True, False, False]),
        ("LessOrEqual", [True, True, False]),
        ("Greater", [False, False, True]),
        ("GreaterOrEqual", [False, True, True]),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float16"])
def test_comparisons_of_any_type(kind: str, answers: list[bool], dtype: str) -> None:
    (result,) = on_torch(kind, [np.array([1, 2, 200], dtype), np.array(2, dtype)])
    assert result.dtype == bool
    assert result.tolist() == answers


@pytest.mark.parametrize("kind", COMPARISONS)
def test_nothing_holds_of_nan(kind: str) -> None:
    x = np.array([np.nan, 1.0, np.inf], np.float32)
    compare(kind, [x, x])


def test_equality_of_truth_values() -> None:
    compare("Equal", [np.array([True, False]), np.array([[True], [False]])])


@settings(max_examples=10, deadline=None)
@given(shapes=SHAPES, kind=st.sampled_from(["And", "Or", "Xor"]), seed=st.integers(0, 99))
def test_truth_values(shapes: hnp.BroadcastableShapes, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    compare(kind, [np.asarray(rng.random(s) < 0.5) for s in shapes.input_shapes])


def test_not() -> None:
    compare("Not", [np.array([[True, False, True]])])


@pytest.mark.parametrize("detect", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_is_inf(detect: tuple[int, int]) -> None:
    x = np.array([[-np.inf, np.inf, np.nan], [0, 1, -1]], np.float32)
    compare("IsInf", [x], detect_negative=detect[0], detect_positive=detect[1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_is_nan(dtype: str) -> None:
    compare("IsNaN", [np.array([[np.nan, np.inf], [0, -1]], dtype)])


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8"])
def test_where_is_broadcast(dtype: str) -> None:
    condition = np.array([[True], [False]])
    a, b = np.array([1, 0, 1], dtype), np.array([[[0, 1, 1]], [[1, 1, 0]]], dtype)
    compare("Where", [condition, a, b])


def test_where_gives_each_its_gradient() -> None:
    a, b = torch.zeros(3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    where(torch.tensor([[True], [False]]), a, b).sum().backward()
    assert a.grad.tolist() == [1, 1, 1]
    assert b.grad.tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("kind", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_bits_of_two(kind: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    compare(kind, [np.array([[info.min, 12, info.max]], dtype), np.array([[10], [7]], dtype)])


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_bits_of_one(dtype: str) -> None:
    info = np.iinfo(dtype)
    compare("BitwiseNot", [np.array([[info.min, 5], [7, info.max]], dtype)])


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bit_shift(direction: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    x = np.array([[info.max], [info.max - 2], [5]], dtype)
    by = np.array([0, 1, 3, info.bits - 1], dtype)
    (result,) = on_torch("BitShift", [x, by], direction=direction)
    answers = np.left_shift(x, by) if direction == "LEFT" else np.right_shift(x, by)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, answers)
