"""Random numbers follow from seed, sample and draw, and from nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.attacks import SampleRandomness
from lsa_onnx.attacks.randomness import generators, signs

LIKE = np.zeros(1, np.float32)


def test_numbers_do_not_depend_on_the_batch() -> None:
    whole = SampleRandomness.of_batch(7, 10, 6)
    late = SampleRandomness.of_batch(7, 13, 3)
    chosen = whole.rows(np.array([False, True, False, False, True, True]))
    for draw in (0, 5):
        numbers = whole.uniform((2, 3), draw, LIKE)
        np.testing.assert_array_equal(numbers[3:], late.uniform((2, 3), draw, LIKE))
        np.testing.assert_array_equal(numbers[[1, 4, 5]], chosen.uniform((2, 3), draw, LIKE))


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**9), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_seed_sample_and_draw_each_matter(seed: int, start: int, draw: int) -> None:
    def numbers(seed: int, start: int, draw: int) -> list[float]:
        drawn = SampleRandomness.of_batch(seed, start, 1).normal((4,), draw, LIKE)
        return [float(value) for value in drawn[0]]

    first = numbers(seed, start, draw)
    assert first == numbers(seed, start, draw)
    others = [(seed ^ 1, start, draw), (seed, start + 1, draw), (seed, start, draw + 1)]
    for other in others:
        assert not set(first) & set(numbers(*other))


@pytest.mark.parametrize(
    ("given_type", "drawn"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_type_follows_the_example_but_is_never_coarse(given_type: str, drawn: str) -> None:
    numbers = SampleRandomness.of_batch(0, 0, 2)
    like = np.zeros(1, given_type)
    assert numbers.uniform((3,), 0, like).dtype == drawn
    assert numbers.normal((3,), 0, like).dtype == drawn


def test_distributions() -> None:
    numbers = SampleRandomness.of_batch(1, 0, 50)
    uniform, normal = numbers.uniform((2000,), 0, LIKE), numbers.normal((2000,), 0, LIKE)
    assert (uniform.min() >= 0, uniform.max() < 1) == (True, True)
    np.testing.assert_allclose([uniform.mean(), uniform.var()], [0.5, 1 / 12], atol=4e-3)
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=1e-2)
    assert signs(uniform).mean() == pytest.approx(0, abs=2e-2)
    assert set(signs(uniform).ravel().tolist()) == {-1.0, 1.0}


def test_attacks_and_noises_of_one_seed_differ() -> None:
    noise = next(generators(3, 0, [5])).random(4, np.float32)
    attack = SampleRandomness.of_batch(3, 5, 1).uniform((4,), 0, LIKE)[0]
    assert not set(noise.tolist()) & set(attack.tolist())
