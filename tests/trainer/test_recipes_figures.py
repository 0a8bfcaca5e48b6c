"""Means and differences with intervals, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lsa_trainer.recipes.figures import mean_over_seeds, paired_difference, student_quantile

# From tables of Student's t at 97.5 %.
TABLE = {1: 12.706, 2: 4.303, 4: 2.776, 10: 2.228, 20: 2.086, 21: 2.080, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize(("freedom", "quantile"), TABLE.items())
def test_quantiles_are_those_of_tables(freedom: int, quantile: float) -> None:
    assert student_quantile(freedom) == pytest.approx(quantile, abs=1e-3)


def test_mean_over_seeds() -> None:
    # Spread 2 over 3 seeds: 4.303 · 2 / √3.
    found = mean_over_seeds([1.0, 3.0, 5.0])
    assert (found.value, found.n) == (3.0, 3)
    assert found.half == pytest.approx(4.303 * 2 / math.sqrt(3), abs=1e-3)
    assert mean_over_seeds([7.0]).half is None


def test_equal_rows_differ_by_nothing() -> None:
    found = paired_difference(np.zeros((3, 50)))
    assert (found.value, found.low, found.high, found.holds) == (0, 0, 0, False)
    assert (found.seeds, found.n) == (3, 50)


def test_one_seed_has_the_interval_of_its_samples() -> None:
    # Half of 400 samples gain 100 points: a standard error of 50 / √400 = 2.5.
    found = paired_difference(np.tile([0.0, 100.0], 200)[None])
    assert found.value == 50
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2.5, rel=0.08)
    assert found.holds


def test_many_samples_leave_what_seeds_add() -> None:
    # All samples alike: the differences of the seeds alone, 2, 4 and 6, with Student's interval.
    found = paired_difference(np.repeat([[2.0], [4.0], [6.0]], 30, axis=1))
    half = 4.303 * 2 / math.sqrt(3)
    assert found.value == 4
    assert found.high - found.low == pytest.approx(2 * half, rel=0.12)
    assert not found.holds


def test_samples_are_drawn_for_all_seeds_at_once() -> None:
    # Five copies of a seed say no more than one of them.
    one = np.random.default_rng(1).normal(size=(1, 300))
    single, copies = paired_difference(one), paired_difference(np.repeat(one, 5, axis=0))
    assert (copies.low, copies.high) == pytest.approx((single.low, single.high))


def test_a_loss_holds_too() -> None:
    found = paired_difference(np.full((1, 20), -3.0))
    assert (found.value, found.holds) == (-3.0, True)
