"""Arithmetic against ONNX Runtime, and by hand where it is undefined there or about gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsa_trainer.ops import arithmetic as ops
from lsa_trainer.ops.registry import find
from tests.graphs import node
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=4)
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
SPECIAL = np.array([-np.inf, -2.5, -1.5, -0.5, 0, 0.5, 1.5, 2.5, np.inf, np.nan], np.float32)


def drawn(seed: int, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    """Normal values; as integers neither 0 nor far from it."""
    values = np.random.default_rng(seed).standard_normal(shape)
    if np.dtype(dtype).kind == "f":
        return np.asarray(values, dtype)
    away = np.where(values < 0, -1, 1) * (1 + np.abs(7 * values).astype(int))
    return np.asarray(np.abs(away) if dtype.startswith("u") else away, dtype)


# Of two


@settings(max_examples=40, deadline=None)
@given(
    shapes=SHAPES,
    kind=st.sampled_from(["Add", "Sub", "Mul", "Div", "Min", "Max", "Mod"]),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
    seed=st.integers(0, 99),
)
def test_two_are_broadcast(
    shapes: hnp.BroadcastableShapes, kind: str, dtype: str, seed: int
) -> None:
    a, b = (drawn(seed + i, shape, dtype) for i, shape in enumerate(shapes.input_shapes))
    attributes = {"fmod": 1} if kind == "Mod" and dtype.startswith("float") else {}
    compare(kind, [a, b], **attributes)


@pytest.mark.parametrize(
    ("kind", "attributes", "answers"),
    [
        ("Div", {}, [-3, -3, 3, 3]),
        ("Mod", {}, [1, -1, 1, -1]),
        ("Mod", {"fmod": 1}, [-1, 1, 1, -1]),
    ],
)
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_division_of_integers(
    kind: str, attributes: dict[str, Any], answers: list[int], dtype: str
) -> None:
    a, b = np.array([-7, 7, 7, -7], dtype), np.array([2, -2, 2, -2], dtype)
    (result,) = on_torch(kind, [a, b], **attributes)
    assert result.dtype == dtype
    assert result.tolist() == answers
    compare(kind, [a, b], **attributes)


@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_of_floats(fmod: int) -> None:
    a, b = np.array([[-7.5, 7.5, 7.5], [2, -2, 2]], np.float32)
    (result,) = on_torch("Mod", [a, b], fmod=fmod)
    assert result.tolist() == [[0.5, -0.5, 1.5], [-1.5, 1.5, 1.5]][fmod]


@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"])
def test_unsigned_integers_wrap(kind: str, dtype: str) -> None:
    most = min(np.iinfo(dtype).max, 2**63 - 1)
    a, b = np.array([[most, 2, 9]], dtype), np.array([[3], [4]], dtype)
    by_numpy = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.floor_divide,
        "Mod": np.mod,
        "Max": np.maximum,
        "Min": np.minimum,
    }
    (result,) = on_torch(kind, [a, b])
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, by_numpy[kind](a, b))


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Clip"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_keeps_half_precision(kind: str, dtype: torch.dtype) -> None:
    entry = find(node(kind, ["a", "b"], ["y"]), 21)
    assert entry is not None
    a, b = torch.tensor([[0.5, -3.0, 7.0]]), torch.tensor(1.5)
    result = entry.function(a.to(dtype), b.to(dtype))
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), entry.function(a, b), atol=0.02, rtol=0.01)


# Powers


@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 2, 2.5, 3])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_power_of_a_number(exponent: float, dtype: str) -> None:
    x = np.array([[0.25, 1, 2], [3, 4, 0.5]], dtype)
    (result,) = on_torch("Pow", [x, np.array(exponent, dtype)])
    assert result.dtype == dtype
    np.testing.assert_allclose(result, x.astype(float) ** exponent, rtol=1e-3)
    if dtype != "float16":
        compare("Pow", [x, np.array(exponent, dtype)])


@settings(max_examples=20, deadline=None)
@given(
    shapes=SHAPES,
    types=st.sampled_from(
        [
            ("float32", "float32"),
            ("float32", "float64"),
            ("float32", "int64"),
            ("float64", "float32"),
            ("int32", "int64"),
            ("int64", "int32"),
            ("int32", "float32"),
            ("int64", "float64"),
        ]
    ),
    seed=st.integers(0, 99),
)
def test_power_of_tensors(
    shapes: hnp.BroadcastableShapes, types: tuple[str, str], seed: int
) -> None:
    base, power = shapes.input_shapes
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.integers(1, 5, base), types[0])
    y = np.asarray(rng.integers(-2, 4, power), types[1])
    (result,) = on_torch("Pow", [x, y])
    assert result.dtype == types[0]
    # A single number comes without its shape, which could add axes.
    if y.size != 1 or y.ndim <= x.ndim:
        compare("Pow", [x, y])


@pytest.mark.parametrize(
    ("base", "exponent", "answer"),
    [(-3, 2, 9), (2, -1, 0), (5, 0, 1), (9, 0.5, 3), (8, 1.5, 22), (3, 33, 3**33)],
)
def test_power_of_integers(base: int, exponent: float, answer: int) -> None:
    x = torch.tensor([base])
    for given_as in (exponent, torch.tensor([exponent])):
        assert ops.pow_(x, given_as).tolist() == [answer]


def test_power_takes_unsigned_exponents() -> None:
    powers = ops.pow_(torch.tensor([2.0, 3.0]), torch.tensor([3, 2], dtype=torch.uint32))
    assert powers.tolist() == [8.0, 9.0]


def test_squares_have_slopes_also_below_zero() -> None:
    x = torch.tensor([-3.0, 0.0, 2.0], requires_grad=True)
    ops.pow_(x, 2.0).sum().backward()
    assert x.grad.tolist() == [-6.0, 0.0, 4.0]


# Of any number


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("shapes", [[(2, 3)], [(3,), (2, 1)], [(2, 1, 3), (), (4, 1)]])
def test_any_number_of_inputs(kind: str, shapes: list[tuple[int, ...]]) -> None:
    compare(kind, [drawn(i, shape) for i, shape in enumerate(shapes)])


@pytest.mark.parametrize("kind", ["Max", "Min"])
def test_extremes_let_nan_through(kind: str) -> None:
    compare(kind, [SPECIAL, np.flip(SPECIAL)])


# Clip


@pytest.mark.parametrize("bounds", [(None, None), (-0.5, None), (None, 0.5), (-0.5, 0.5), (1, -1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip(bounds: tuple[float | None, float | None], dtype: str) -> None:
    low, high = (None if b is None else np.array(b, dtype) for b in bounds)
    compare("Clip", [drawn(1, (2, 5), dtype), low, high])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_clip_of_integers(dtype: str) -> None:
    compare("Clip", [np.arange(7).astype(dtype), np.array(2, dtype), np.array(5, dtype)])


@pytest.mark.parametrize("shape", [(), (1,)])
def test_clip_takes_numbers_and_tensors(shape: tuple[int, ...]) -> None:
    low, high = torch.full(shape, -1.0), torch.full(shape, 1.0)
    x = torch.tensor([-3.0, 0.5, 3.0])
    for given_low in (low, -1.0):
        for given_high in (high, 1.0):
            assert ops.clip(x, given_low, given_high).tolist() == [-1.0, 0.5, 1.0]
    assert ops.clip(torch.tensor(3.0), low, high).shape == ()
    assert ops.clip(x, low).tolist() == [-1.0, 0.5, 3.0]
    assert ops.clip(x, None, high).tolist() == [-3.0, 0.5, 1.0]


def test_clip_keeps_the_gradient_on_a_bound() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    ops.clip(x, 0.0, 1.0).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_bounds_of_clip_can_be_trained() -> None:
    x = torch.tensor([[-2.0, -1.5, 0.0], [0.25, 3.0, 0.5]], dtype=torch.float64)
    low, high = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    slope_error(ops.clip, *(t.requires_grad_() for t in (x, low.clone(), high.clone())))


# Of one


@pytest.mark.parametrize(
    "kind",
    ["Neg", "Abs", "Sign", "Reciprocal", "Sqrt", "Exp", "Log", "Erf", "Floor", "Ceil", "Round"],
)
def test_of_one(kind: str) -> None:
    compare(kind, [SPECIAL])
    compare(kind, [np.abs(drawn(2, (2, 3, 4)))])
    compare(kind, [np.zeros((0, 3), np.float32)])


@pytest.mark.parametrize(
    ("kind", "dtype"), [("Abs", d) for d in UNSIGNED[1:]] + [("Sign", "uint64")]
)
def test_of_one_unsigned(kind: str, dtype: str) -> None:
    compare(kind, [np.array([0, 1, 9], dtype)])


@pytest.mark.parametrize("kind", ["Neg", "Abs", "Sign"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_of_one_integer(kind: str, dtype: str) -> None:
    compare(kind, [np.array([[-3, 0, 5]], dtype)])


# Of a matrix


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3, 3), (2, 1, 1), (0, 2, 2), (2, 0, 0)])
def test_determinants(shape: tuple[int, ...]) -> None:
    compare("Det", [drawn(3, shape)])


def test_determinants_in_half_precision() -> None:
    x = torch.tensor([[[2.0, 1.0], [1.0, 3.0]], [[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float16)
    assert ops.det(x).dtype == torch.float16
    assert ops.det(x).tolist() == [5.0, -1.0]
