"""Bootstrap intervals of means over samples, where the values are few: counts of right answers.

A resample draws n samples with replacement. Only how often each value is drawn matters for a mean,
and that is multinomial: one draw per resample, whatever n is, and no approximation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000

# Keeps these draws apart from those of noises, attacks and the bootstrap of scans.
_STREAM = (1 << 63) + 1
_BOUNDS = (0.025, 0.975)
# Resamples at a time: what is drawn of one holds a number per distinct value.
_CHUNK = 1_000


class Estimate(NamedTuple):
    """A mean over samples with the 95 % percentile interval of its bootstrap."""

    value: float
    interval: tuple[float, float]


def mean_over_samples(values: NDArray[Any], seed: int = 0) -> Estimate:
    """The mean of ``values``, and how far other samples of the same kind would move it.

    Where all values are equal, no resample differs, and the interval is that value.

    Args:
        values: One per sample, shape (n,) with n ≥ 1, of few distinct values.
        seed: Of the resamples, 0 to 2³² − 1.
    """
    levels, counts = np.unique(values, return_counts=True)
    n = int(counts.sum())
    rng = np.random.Generator(np.random.Philox(key=[seed, _STREAM]))
    means = np.concatenate(
        [rng.multinomial(n, counts / n, _CHUNK) @ levels / n for _ in range(RESAMPLES // _CHUNK)]
    )
    low, high = np.quantile(means, _BOUNDS).tolist()
    return Estimate(float(counts @ levels / n), (low, high))


def paired_difference(first: NDArray[Any], second: NDArray[Any], seed: int = 0) -> Estimate:
    """The mean of ``second`` − ``first`` over the same samples.

    Both models meet the same samples, so that what makes a sample hard for both cancels out: the
    interval is narrower than that of two means.

    Args:
        first: One value per sample, shape (n,): whether it is right, or how often.
        second: Likewise, of the other model, in the same order.
        seed: Of the resamples, 0 to 2³² − 1.
    """
    return mean_over_samples(np.subtract(second, first, dtype=np.float64), seed)
