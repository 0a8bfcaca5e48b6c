"""Gains over plain training, with bounds that know how many trials there were."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_trainer.tuning.comparing import gain_of, score_interval, simultaneous_intervals
from lsa_trainer.tuning.document import Gain

N = 400


def coins(seed: int, share: float, n: int = N) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return (np.random.default_rng(seed).random(n) < share).astype(np.float64)


def test_a_gain_is_paired_by_sample() -> None:
    # Right at every other sample, and at 8 more of 400: 8 samples differ, all in one direction.
    plain = np.tile([0.0, 1.0], N // 2)
    better = plain.copy()
    better[:16:2] = 1
    gain = gain_of("001", "plain", {"plain": plain, "001": better}, 0, picked=False)
    assert gain.value == pytest.approx(8 / N)
    # A share of 2 % of 400 samples: its standard error is .007, that of two means would be .035.
    assert 0.005 < gain.interval[0] < 8 / N < gain.interval[1] < 0.037
    assert gain.among_all is None
    assert gain.holds


def test_bounds_for_one_trial_are_those_of_the_normal_distribution() -> None:
    values = coins(0, 0.3)
    low, high = simultaneous_intervals({"a": values}, 1)["a"]
    error = values.std() / np.sqrt(N)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean())


def test_bounds_grow_with_the_number_of_trials() -> None:
    differences = {str(i): coins(i, 0.5) - coins(100 + i, 0.5) for i in range(30)}
    alone = simultaneous_intervals({"0": differences["0"]}, 0)["0"]
    among = simultaneous_intervals(differences, 0)["0"]
    ratio = (among[1] - among[0]) / (alone[1] - alone[0])
    # Of 30 independent normal variables: z of 1 − .05 / 60 is 3.14, over 1.96.
    assert ratio == pytest.approx(3.14 / 1.96, rel=0.07)


def test_the_best_of_many_equals_is_not_better() -> None:
    plain = coins(0, 0.5)
    points = {"plain": plain} | {str(i): coins(1 + i, 0.5) for i in range(40)}
    best = max(points, key=lambda name: points[name].mean())
    gain = gain_of(best, "plain", points, 0, picked=True)
    assert gain.interval[0] > 0
    assert gain.among_all is not None
    assert gain.among_all[0] < 0
    assert not gain.holds


def test_a_trial_that_answers_alike_gains_nothing() -> None:
    plain = coins(0, 0.5)
    points = {"plain": plain, "001": plain.copy(), "002": coins(1, 0.9)}
    gain = gain_of("001", "plain", points, 0, picked=True)
    assert gain == Gain("001", "plain", 0.0, (0.0, 0.0), (0.0, 0.0))
    assert not gain.holds


def test_intervals_hold_the_mean_and_repeat() -> None:
    values = np.random.default_rng(0).integers(0, 4, 200).astype(np.float64) * 100
    low, high = score_interval(values, 3)
    assert low < values.mean() < high
    assert score_interval(values, 3) == (low, high)
    assert score_interval(np.ones(5), 0) == (1.0, 1.0)
