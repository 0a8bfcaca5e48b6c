"""Figures over seeds and test samples, with intervals of 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
_SEED = 2202
# Of Student's t at 97.5 %, for 1, 2, ... degrees of freedom.
_QUANTILES = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
)  # fmt: skip
_NORMAL_QUANTILE = 1.959963985


@dataclass(frozen=True)
class Mean:
    """A mean over ``n`` seeds and the half of its interval; ``None`` for a single seed."""

    value: float
    half: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A mean difference and its interval, over ``seeds`` seeds and ``n`` test samples."""

    value: float
    low: float
    high: float
    seeds: int
    n: int

    @property
    def holds(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def student_quantile(freedom: int) -> float:
    """The quantile of Student's t at 97.5 %, for 1 or more degrees of freedom, within 0.001."""
    if freedom <= len(_QUANTILES):
        return _QUANTILES[freedom - 1]
    # Cornish and Fisher 1938, to the second term.
    z = _NORMAL_QUANTILE
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + (z**3 + z) / (4 * freedom) + second / freedom**2


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """Their mean with Student's interval."""
    n = len(values)
    if n == 1:
        return Mean(values[0], None, 1)
    spread = float(np.std(values, ddof=1))
    return Mean(float(np.mean(values)), student_quantile(n - 1) * spread / math.sqrt(n), n)


def paired_difference(by_seed: Array) -> Difference:
    """How much one way of training gains on another, paired by seed and by test sample.

    Two things might have come out otherwise. Test samples, which are the same for all seeds, are drawn
    with replacement for all seeds at once. The seeds are too few to draw from: their part is drawn from
    Student's t with the spread of the seeds' own differences. Of a single seed nothing is known of the
    spread, and the interval is for that seed alone.

    Args:
        by_seed: Differences, shape (seeds, n).

    Returns:
        The mean of all, and the 2.5 % and 97.5 % quantiles of what was drawn.
    """
    seeds, n = by_seed.shape
    chance = np.random.default_rng(_SEED)
    # How often each value is drawn says it all, and there are few: to draw samples would take 100 times as long.
    values, counts = np.unique(by_seed.mean(axis=0), return_counts=True)
    drawn = chance.multinomial(n, counts / n, RESAMPLES) @ values / n
    if seeds > 1:
        error = by_seed.mean(axis=1).std(ddof=1) / math.sqrt(seeds)
        drawn += error * chance.standard_t(seeds - 1, RESAMPLES)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Difference(float(by_seed.mean()), float(low), float(high), seeds, n)
