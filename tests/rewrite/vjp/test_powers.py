"""Adjoints of powers by base and exponent, and what they are at a base of 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.rewrite.vjp.cases import (
    KNOWLEDGE,
    adjoint,
    adjoints,
    drawn,
    one_node,
    positive,
    verify,
)

SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=1, max_side=4)
SHAPE = (2, 3, 4)
POWERS: list[tuple[float, str]] = [
    *((exponent, "int64") for exponent in (0, 1, 2, 3, 5, -1, -2)),
    *((exponent, "float64") for exponent in (0, 1, 2, 3, -2, 0.5, -0.5, 2.5)),
    *((exponent, "float32") for exponent in (2, 0.5, -1)),
]


@pytest.mark.parametrize(("exponent", "dtype"), POWERS)
def test_power_by_a_known_number(exponent: float, dtype: str) -> None:
    whole = exponent == int(exponent)
    x = drawn(0, SHAPE) / 2 if whole else positive(0, SHAPE) / 2
    # Of a higher rank than the base, which the result then has too.
    for shape in [(), (1, 1, 1, 1)]:
        verify("Pow", {"x": x}, weights={"p": np.full(shape, exponent, dtype)})


@settings(max_examples=10, deadline=None)
@given(shapes=SHAPES, seed=st.integers(0, 99), knowledge=st.sampled_from(KNOWLEDGE))
def test_power_by_computed_exponents(shapes: Any, seed: int, knowledge: str) -> None:
    a, b = shapes.input_shapes
    feeds = {"a": positive(seed, a), "b": drawn(seed + 1, b) / 2}
    verify("Pow", feeds, knowledge=knowledge)


def test_power_of_negative_numbers_by_several_integers() -> None:
    verify("Pow", {"x": drawn(0, (2, 4)) * 2}, weights={"p": np.array([0, 1, 2, 3], np.int64)})


def test_power_of_zero_is_flat_where_it_is_infinitely_steep() -> None:
    x = np.zeros(6, np.float32)
    exponents = np.array([0, 0.5, 1, 1.5, 2, -1], np.float32)
    found = adjoints(one_node("Pow", {"x": x}, weights={"p": exponents}), {"x": x})
    assert found["x"].tolist() == [0, 0, 1, 0, 0, 0]
    for exponent, slope in zip(exponents, [0, 0, 1, 0, 0, 0], strict=True):
        assert adjoint("Pow", [0.0], weights={"p": exponent}).tolist() == [slope]


def test_exponents_of_bases_up_to_zero_have_no_gradient() -> None:
    feeds = {"a": np.array([0, 0, -2, 2], np.float32), "b": np.array([2, -1, 2, 2], np.float32)}
    found = adjoints(one_node("Pow", feeds), feeds)
    np.testing.assert_allclose(found["b"], [0, 0, 0, 4 * np.log(2)], rtol=1e-6)
