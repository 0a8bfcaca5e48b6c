"""Bootstrap of means over samples: exact means, honest intervals, pairs that belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.bootstrap import mean_over_samples, paired_difference
from lsa_onnx.statistics import wilson_interval


def test_the_mean_is_exact_and_lies_in_its_interval() -> None:
    scores = np.array([0] * 3 + [2] * 5 + [6] * 12)
    found = mean_over_samples(scores)
    assert found.value == 82 / 20
    low, high = found.interval
    assert low < 82 / 20 < high
    # The spread of a mean of 20: sd / √20.
    assert high - low == pytest.approx(2 * 1.96 * scores.std() / np.sqrt(20), rel=0.05)


def test_without_spread_there_is_no_width() -> None:
    assert mean_over_samples(np.full(7, 3)) == (3.0, (3.0, 3.0))
    assert mean_over_samples(np.array([True])) == (1.0, (1.0, 1.0))


def test_of_an_accuracy_it_is_close_to_wilsons() -> None:
    right = np.arange(2000) < 1500
    found = mean_over_samples(right)
    assert found.interval == pytest.approx(wilson_interval(1500, 2000), abs=2e-3)


def test_the_order_of_samples_does_not_matter_and_the_seed_decides() -> None:
    scores = np.random.default_rng(0).integers(0, 7, 300)
    found = mean_over_samples(scores, seed=5)
    assert mean_over_samples(scores[::-1], seed=5) == found
    other = mean_over_samples(scores, seed=6)
    assert other.value == found.value
    assert other.interval != found.interval
    assert other.interval == pytest.approx(found.interval, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_the_interval_stays_within_the_values(values: list[int]) -> None:
    found = mean_over_samples(np.array(values))
    low, high = found.interval
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert found.value == pytest.approx(np.mean(values))


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    """R&G scores over six strengths of samples whose distribution is known."""
    chances = np.array([0.08, 0.05, 0.07, 0.1, 0.2, 0.2, 0.3])
    truth = float(chances @ np.arange(7))
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(120):
        low, high = mean_over_samples(rng.choice(7, size=150, p=chances)).interval
        hits += low <= truth <= high
    # 95 % of 120, give or take three standard deviations.
    assert 107 <= hits <= 119


def test_pairs_are_narrower_than_two_means() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 7, 400)
    second = np.minimum(6, first + (rng.random(400) < 0.2))
    found = paired_difference(first, second, seed=3)
    assert found.value == pytest.approx((second - first).mean())
    low, high = found.interval
    assert 0 < low < found.value < high
    alone_low, alone_high = mean_over_samples(first).interval
    assert high - low < 0.5 * (alone_high - alone_low)
    turned = paired_difference(second, first, seed=3)
    assert turned.value == -found.value


def test_right_and_wrong_can_be_compared() -> None:
    first, second = np.array([True, True, False, True]), np.array([True, False, False, False])
    assert paired_difference(first, second).value == -0.5
    assert paired_difference(first, first) == (0.0, (0.0, 0.0))
