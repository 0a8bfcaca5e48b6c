"""Threat models: what they return is inside, and what is inside stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.attacks import BALLS, L1, L2, Ball, Linf, SampleRandomness
from tests.attacks.oracles import true_norms

Array = NDArray[Any]

DTYPES = [np.float16, np.float32, np.float64]


def assert_inside(x: Array, x0: Array, ball: Ball) -> None:
    assert (x.shape, x.dtype) == (x0.shape, x0.dtype)
    moved = true_norms(x.astype(np.float64) - x0.astype(np.float64), ball.p)
    assert (moved <= ball.eps * (1 + 5e-6)).all(), moved / ball.eps
    low, high = x.dtype.type(ball.low), x.dtype.type(ball.high)
    assert ((x >= low) & (x <= high)).all()


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(1e-5, 1.0),
    limits=st.sampled_from([(0.0, 1.0), (0.0, 255.0), (-2.1, 2.6), (5.0, 5.5)]),
)
@settings(max_examples=15, deadline=None)
def test_projections_and_starts_lie_in_ball_and_range(
    norm: str, dtype: Any, seed: int, share: float, limits: tuple[float, float]
) -> None:
    low, high = limits
    rng = np.random.default_rng(seed)
    ball = BALLS[norm](share * (high - low), low, high)
    x0 = rng.uniform(low, high, (3, 2, 3, 5)).astype(dtype).clip(dtype(low), dtype(high))
    x0[0, 0] = dtype(high)
    reach = rng.choice([1e-3, 1.0, 30.0]) * ball.eps
    x = (x0 + rng.standard_normal(x0.shape) * reach).astype(dtype)
    projected = ball.project(x, x0)
    assert_inside(projected, x0, ball)
    # A point at the very edge may be found outside by the rounding of its norm, and move once more.
    # Of l1, what is added up of all entries rounds more often than one of them.
    ulps = (32 if norm == "l1" else 4) * float(np.finfo(dtype).eps)
    again = ball.project(projected, x0)
    np.testing.assert_allclose(again, projected, rtol=ulps, atol=ulps * max(abs(low), abs(high)))
    assert_inside(ball.random_start(x0, SampleRandomness.of_batch(seed, 0, 3)), x0, ball)
    around = ball.around(x0)(x)
    assert_inside(around, x0, ball)
    np.testing.assert_allclose(around, projected, rtol=ulps, atol=ulps * max(abs(low), abs(high)))


@pytest.mark.parametrize("norm", BALLS)
def test_what_is_inside_stays_exactly(norm: str) -> None:
    rng = np.random.default_rng(0)
    x0 = rng.uniform(0.3, 0.7, (4, 3, 5)).astype(np.float32)
    x = (x0 + rng.uniform(-0.01, 0.01, x0.shape)).astype(np.float32)
    np.testing.assert_array_equal(BALLS[norm](0.2, 0.0, 1.0).project(x, x0), x)


@pytest.mark.parametrize("norm", BALLS)
def test_no_distance_leaves_the_clean_input(norm: str) -> None:
    x0 = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    ball = BALLS[norm](0.0, 0.0, 1.0)
    np.testing.assert_array_equal(ball.project(x0 + 1, x0), x0)
    np.testing.assert_array_equal(ball.random_start(x0, SampleRandomness.of_batch(0, 0, 2)), x0)


def test_linf_clips_each_element_to_ball_and_range() -> None:
    x0 = np.array([[0.5, 0.95, 0.05], [0.5, 0.5, 0.5]])
    found = Linf(0.1, 0.0, 1.0).project(np.array([[0.9, 2.0, -1.0], [0.45, 0.0, 0.5]]), x0)
    np.testing.assert_allclose(found, [[0.6, 1.0, 0.0], [0.45, 0.4, 0.5]], atol=1e-12)


def test_l2_scales_the_displacement() -> None:
    found = L2(1.0, -10.0, 10.0).project(np.array([[3.0, 4.0], [0.3, 0.4]]), np.zeros((2, 2)))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.3, 0.4]])


def test_l1_takes_the_same_from_each_feature() -> None:
    # |3|, |−2|, |0.5| over a budget of 2: the threshold is 1.5.
    found = L1(2.0, -10.0, 10.0).project(np.array([[3.0, -2.0, 0.5]]), np.zeros((1, 3)))
    np.testing.assert_allclose(found, [[1.5, -0.5, 0.0]], atol=1e-9)


def test_l1_gives_what_the_range_keeps_from_one_feature_to_the_others() -> None:
    # Without the range: 1.5, −0.5, 0. The first may only reach 0.8, so the others get 0.7 more.
    found = L1(2.0, -10.0, 0.8).project(np.array([[3.0, -2.0, 0.5]]), np.zeros((1, 3)))
    np.testing.assert_allclose(found, [[0.8, -1.2, 0.0]], atol=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_l1_finds_the_nearest_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x0 = rng.random((1, 6))
    x = x0 + rng.standard_normal(x0.shape)
    ball = L1(0.7, 0.0, 1.0)
    nearest = np.linalg.norm(ball.project(x, x0) - x)
    for _ in range(30):
        other = ball.project(x0 + rng.standard_normal(x0.shape), x0)
        assert np.linalg.norm(other - x) >= nearest - 1e-9


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_directions_have_unit_norm_and_zero_gradients_none(norm: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal((4, 3, 7)).astype(dtype)
    gradient[2] = 0
    gradient[3, 0, 0] = np.nan
    direction = BALLS[norm](0.1, 0.0, 1.0).ascent(gradient, np.full_like(gradient, 0.5))
    assert direction.dtype == dtype
    expected = pytest.approx([1, 1, 0, 1], rel=2e-3)
    assert true_norms(direction, norm) == expected
    assert direction[3, 0, 0] == 0
    assert (direction * np.nan_to_num(gradient) >= 0).all()


def test_a_vanishing_gradient_still_has_a_direction() -> None:
    gradient = np.array([[3e-30, 4e-30], [1e-40, 0.0]], np.float32)
    direction = L2(1.0, 0.0, 1.0).ascent(gradient, np.zeros_like(gradient))
    np.testing.assert_allclose(direction, [[0.6, 0.8], [1.0, 0.0]], rtol=1e-3)


def test_l1_steps_pass_over_features_that_cannot_move() -> None:
    gradient = np.array([[5.0, -4.0, 3.0]])
    direction = L1(1.0, 0.0, 1.0).ascent(gradient, np.array([[1.0, 0.0, 0.5]]))
    np.testing.assert_array_equal(direction, [[0.0, 0.0, 1.0]])


def test_norms_by_hand() -> None:
    delta = np.array([[[3.0], [-4.0]], [[0.0], [1.0]]])
    found = {norm: ball(1, 0, 1).norm(delta).tolist() for norm, ball in BALLS.items()}
    assert found == {"linf": [4, 1], "l2": [5, 1], "l1": [7, 1]}


def test_norms_of_half_precision_do_not_overflow() -> None:
    delta = np.full((2, 400), 300.0, np.float16)  # the largest number is 65504
    assert L2(1, 0, 255).norm(delta).tolist() == [6000.0, 6000.0]
    assert L1(1, 0, 255).norm(delta).tolist() == [120000.0, 120000.0]


@pytest.mark.parametrize("norm", BALLS)
def test_random_starts_fill_the_ball(norm: str) -> None:
    x0 = np.zeros((4000, 2))
    start = BALLS[norm](1.0, -5.0, 5.0).random_start(x0, SampleRandomness.of_batch(3, 0, 4000))
    # Uniform in two dimensions: the half ball holds a quarter, and the mean is the centre.
    assert (true_norms(start, norm) <= 0.5).mean() == pytest.approx(0.25, abs=0.03)
    assert np.abs(start.mean(axis=0)).max() < 0.04
    assert np.abs(np.corrcoef(start.T)[0, 1]) < 0.06


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("shape", [(0, 3, 2), (3,), (2, 1)])
def test_batches_of_any_shape(norm: str, shape: tuple[int, ...]) -> None:
    ball = BALLS[norm](0.1, 0.0, 1.0)
    x0 = np.full(shape, 0.5, np.float32)
    assert_inside(ball.project(x0 + 1, x0), x0, ball)
    assert_inside(ball.random_start(x0, SampleRandomness.of_batch(0, 0, len(x0))), x0, ball)
    assert ball.ascent(x0, x0).shape == shape
