from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.attacks import NOISES, Batch, Noise
from lsa_onnx.errors import DataError

Array = NDArray[Any]

RANGES = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (5.0, 6.5)]


def middle(low: float, high: float, dtype: Any = np.float32, n: int = 3) -> Batch:
    x = np.full((n, 2, 80, 50), low + (high - low) / 2).astype(dtype)
    return Batch(x, None, 0, low, high)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_gaussian_noise_has_the_stated_deviation_in_any_range(low: float, high: float) -> None:
    given_batch = middle(low, high)
    delta = Noise("gaussian", 0.05, 1)(given_batch) - given_batch.x.astype(np.float64)
    assert delta.std() == pytest.approx(0.05 * (high - low), rel=0.02)
    assert abs(delta.mean()) < 0.002 * (high - low)
    # Normal, not uniform or anything else of that deviation: 4.55 % lie beyond two deviations.
    assert (np.abs(delta) > 0.1 * (high - low)).mean() == pytest.approx(0.0455, abs=0.006)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_speckle_is_in_proportion_to_the_value_above_the_floor(low: float, high: float) -> None:
    for share in (0.0, 0.25, 0.5):
        x = np.full((2, 1, 100, 90), low + share * (high - low))
        delta = Noise("speckle", 0.2, 1)(Batch(x, None, 0, low, high)) - x
        assert delta.std() == pytest.approx(0.2 * share * (high - low), rel=0.03, abs=1e-12)


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize(("name", "top"), [("salt", True), ("pepper", False)])
def test_salt_and_pepper_replace_the_stated_share(
    low: float, high: float, name: str, top: bool
) -> None:
    given_batch = middle(low, high)
    noisy = Noise(name, 0.3, 1)(given_batch)
    changed = noisy != given_batch.x
    assert changed.mean() == pytest.approx(0.3, abs=0.02)
    assert set(noisy[changed].tolist()) == {high if top else low}


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_noise_keeps_range_shape_and_dtype(name: str, dtype: Any, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, (3, 2, 4, 5)).astype(dtype).clip(dtype(low), dtype(high))
    before = x.copy()
    noisy = Noise(name, 1.0, 3)(Batch(x, None, 0, low, high))
    assert (noisy.shape, noisy.dtype) == (x.shape, x.dtype)
    assert noisy.min() >= dtype(low)
    assert noisy.max() <= dtype(high)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", NOISES)
def test_no_strength_changes_nothing(name: str) -> None:
    given_batch = middle(0.0, 1.0)
    np.testing.assert_array_equal(Noise(name, 0.0)(given_batch), given_batch.x)


@pytest.mark.parametrize(("name", "value"), [("salt", 1.0), ("pepper", 0.0)])
def test_full_strength_replaces_every_element(name: str, value: float) -> None:
    assert (Noise(name, 1.0)(middle(0.0, 1.0)) == value).all()


@pytest.mark.parametrize("name", NOISES)
@given(cut=st.integers(1, 8), start=st.integers(0, 10**9), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_sample_gets_the_same_noise_in_any_batch(
    name: str, cut: int, start: int, seed: int
) -> None:
    x = np.random.default_rng(1).random((9, 2, 3)).astype(np.float32)
    noise = Noise(name, 0.5, seed)
    whole = noise(Batch(x, None, start, 0.0, 1.0))
    first = noise(Batch(x[:cut], None, start, 0.0, 1.0))
    second = noise(Batch(x[cut:], None, start + cut, 0.0, 1.0))
    np.testing.assert_array_equal(whole, np.concatenate([first, second]))
    np.testing.assert_array_equal(whole, noise(Batch(x, None, start, 0.0, 1.0)))


@pytest.mark.parametrize("name", NOISES)
def test_samples_and_seeds_get_different_noise(name: str) -> None:
    given_batch = middle(0.0, 1.0)
    noisy = Noise(name, 0.5, 1)(given_batch)
    assert (noisy[0] != noisy[1]).any()
    assert (noisy != Noise(name, 0.5, 2)(given_batch)).any()


def test_two_noises_of_one_seed_are_independent() -> None:
    given_batch = middle(0.0, 1.0)
    salted = Noise("salt", 0.5, 1)(given_batch) != given_batch.x
    peppered = Noise("pepper", 0.5, 1)(given_batch) != given_batch.x
    assert (salted & peppered).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("name", NOISES)
def test_parameters_say_what_was_done(name: str) -> None:
    noise = Noise(name, 0.25, 7)
    assert noise.parameters() == {"strength": 0.25, "unit": NOISES[name].unit, "seed": 7}
    assert (noise.kind, noise.name) == ("noise", name)


@pytest.mark.parametrize("strength", [-0.1, 1.5, math.nan, math.inf])
def test_a_strength_that_is_no_share_is_refused(strength: float) -> None:
    with pytest.raises(DataError, match=rf"strength {strength:g} of 'salt' is not within 0\.\.1"):
        Noise("salt", strength)


def test_an_unknown_noise_is_refused() -> None:
    with pytest.raises(DataError, match="'rain'; accepted are gaussian, salt, pepper, speckle"):
        Noise("rain", 0.1)
