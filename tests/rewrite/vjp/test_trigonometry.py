"""Adjoints of trigonometric and hyperbolic functions against central differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.rewrite.vjp.cases import KNOWLEDGE, adjoint, verify

# Where each function is smooth.
DOMAINS = {
    "Sin": (-4, 4),
    "Cos": (-4, 4),
    "Tan": (-1.2, 1.2),
    "Asin": (-0.9, 0.9),
    "Acos": (-0.9, 0.9),
    "Atan": (-4, 4),
    "Sinh": (-2, 2),
    "Cosh": (-2, 2),
    "Tanh": (-2, 2),
    "Asinh": (-4, 4),
    "Acosh": (1.2, 4),
    "Atanh": (-0.9, 0.9),
}


@pytest.mark.parametrize("kind", DOMAINS)
@settings(max_examples=6, deadline=None)
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    seed=st.integers(0, 99),
    knowledge=st.sampled_from(KNOWLEDGE),
)
def test_against_central_differences(
    kind: str, shape: tuple[int, ...], seed: int, knowledge: str
) -> None:
    x = np.random.default_rng(seed).uniform(*DOMAINS[kind], shape)
    verify(kind, {"x": np.asarray(x)}, knowledge=knowledge)


@pytest.mark.parametrize(
    ("kind", "x", "slope"),
    [("Sin", 0, 1), ("Tan", np.pi / 4, 2), ("Tanh", np.log(3), 0.36), ("Acosh", np.sqrt(2), 1)],
)
def test_known_slopes(kind: str, x: float, slope: float) -> None:
    np.testing.assert_allclose(adjoint(kind, [x]), [slope], rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "ends"), [("Asin", [-1, 1]), ("Acos", [-1, 1]), ("Acosh", [1]), ("Atanh", [-1, 1])]
)
def test_infinitely_steep_ends_count_as_flat(kind: str, ends: list[float]) -> None:
    assert adjoint(kind, ends).tolist() == [0] * len(ends)


def test_saturation_is_flat_and_finite() -> None:
    assert adjoint("Tanh", [-1e30, 1e30]).tolist() == [0, 0]
    assert adjoint("Atan", [-1e30, 1e30]).tolist() == [0, 0]


@pytest.mark.parametrize("kind", DOMAINS)
def test_in_half_precision(kind: str) -> None:
    x = np.linspace(*DOMAINS[kind], 5)
    half = adjoint(kind, x, dtype=np.float16)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, adjoint(kind, x), rtol=3e-2, atol=3e-2)
