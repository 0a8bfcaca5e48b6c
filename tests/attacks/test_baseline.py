"""Noise of an attack's size: the same norm for each sample, whatever the batch, within the range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.attacks import Norm
from lsa_onnx.attacks.baseline import equal_norm_noise

Array = NDArray[Any]
ORDERS: dict[Norm, float] = {"linf": np.inf, "l2": 2, "l1": 1}
SHAPE = (5, 2, 3, 4)


def attacked(seed: int = 0, dtype: str = "float32") -> tuple[Array, Array]:
    """Clean inputs in the middle of −9 to 9, and an attack that moves each by another amount."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, SHAPE).astype(dtype)
    sizes = np.linspace(0, 0.4, 5).reshape(5, 1, 1, 1)
    return x, (x + sizes * rng.normal(0, 1, SHAPE)).astype(dtype)


def noise(x: Array, x_adv: Array, norm: Norm, **more: Any) -> Array:
    return equal_norm_noise(x, x_adv, norm, **{"seed": 1, "start": 0, "low": -9, "high": 9, **more})


def sizes(x: Array, moved: Array, norm: Norm) -> Array:
    rows = (moved.astype(np.float64) - x).reshape(len(x), -1)
    return np.asarray(np.linalg.norm(rows, ORDERS[norm], axis=1))


@pytest.mark.parametrize("norm", ORDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_sample_moves_as_far_as_the_attack_moved_it(norm: Norm, dtype: str) -> None:
    x, x_adv = attacked(dtype=dtype)
    noisy = noise(x, x_adv, norm)
    assert noisy.dtype == x.dtype
    np.testing.assert_allclose(sizes(x, noisy, norm), sizes(x, x_adv, norm), rtol=1e-4, atol=1e-6)
    # What the attack left alone is left alone; all else is moved.
    np.testing.assert_array_equal(noisy[0], x[0])
    assert (sizes(x, noisy, norm)[1:] > 0.01).all()


def test_in_linf_every_value_moves_by_all_of_it_up_or_down() -> None:
    x, x_adv = attacked()
    moved = (noise(x, x_adv, "linf").astype(np.float64) - x)[1:].reshape(4, -1)
    np.testing.assert_allclose(
        np.abs(moved), np.repeat(sizes(x, x_adv, "linf")[1:, None], 24, 1), rtol=1e-4, atol=1e-6
    )
    assert 0.2 < (moved > 0).mean() < 0.8


@pytest.mark.parametrize("norm", ORDERS)
def test_the_direction_is_not_that_of_the_attack(norm: Norm) -> None:
    x, x_adv = attacked()
    one, other = ((v - x)[1:].reshape(4, -1) for v in (x_adv, noise(x, x_adv, norm)))
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert (np.abs(cosine) < 0.7).all()


@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 10**6), cut=st.integers(1, 4), norm=st.sampled_from(list(ORDERS)))
def test_a_sample_gets_the_same_noise_in_any_batch(start: int, cut: int, norm: Norm) -> None:
    x, x_adv = attacked()
    whole = noise(x, x_adv, norm, start=start)
    np.testing.assert_array_equal(whole, noise(x, x_adv, norm, start=start))
    parts = [
        noise(x[part], x_adv[part], norm, start=start + (part.start or 0))
        for part in (slice(0, cut), slice(cut, None))
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("other", [{"seed": 2}, {"start": 1}])
def test_another_seed_or_position_gives_other_noise(other: dict[str, int]) -> None:
    x, x_adv = attacked()
    first, second = noise(x, x_adv, "l2"), noise(x, x_adv, "l2", **other)
    assert (np.abs(first - second)[1:] > 0).mean() > 0.9


def test_the_range_cuts_the_noise() -> None:
    x = np.linspace(0, 1, 120, dtype=np.float32).reshape(SHAPE)
    noisy = noise(x, np.clip(x + 0.3, 0, 1), "linf", low=0.0, high=1.0)
    assert (noisy.min(), noisy.max()) == (0, 1)
    assert (sizes(x, noisy, "linf") <= 0.3 + 1e-6).all()


def test_single_values_have_noise_too() -> None:
    x = np.array([0.5, -0.25], np.float32)
    noisy = noise(x, x + np.float32(0.1), "l2")
    np.testing.assert_allclose(np.abs(noisy - x), 0.1, rtol=1e-5)
