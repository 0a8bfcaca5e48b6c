"""Streaming statistics: memory depends on the number of figures, never on the number of samples.

A figure is a column (a measure of a layer, say). Batches of samples come as matrices of shape
(n, columns), so that the work per batch does not grow with the number of Python calls; an entry
that is not finite is left out of its column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.quantiles import QuantileSketch
from lsa_onnx.report.document import Accuracy, Distribution

Array = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.75, 0.95)
RESAMPLES = 200

_MEDIAN = 0.5
# A list that is its own mirror image (q → 1 − q): figures kept as a distance rely on it.
_ALL_QUANTILES = (*QUANTILES[:2], _MEDIAN, *QUANTILES[2:])
# Poisson(1) by inversion: a uniform 32-bit word is at or above so many of these thresholds.
_POISSON_CUMULATED = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 13)]))
_POISSON_THRESHOLDS = np.floor(_POISSON_CUMULATED * 2.0**32).clip(max=2.0**32 - 1).astype(np.uint32)
# Philox counts in blocks of four 64-bit words, that is of eight 32-bit ones.
_BLOCKS_PER_SAMPLE = RESAMPLES // 8
_CHUNK_ELEMENTS = 1 << 15
# Keeps these draws apart from those of the noises, which use small numbers as second key word.
_BOOTSTRAP_STREAM = 1 << 63


class Moments:
    """Number, mean, spread and range per column, in float64 (Chan, Golub and LeVeque 1983)."""

    def __init__(self, columns: int) -> None:
        self.n = np.zeros(columns, np.int64)
        self.mean = np.zeros(columns)
        self._m2 = np.zeros(columns)
        self.minimum = np.full(columns, np.inf)
        self.maximum = np.full(columns, -np.inf)

    def add(self, values: Array) -> None:
        """Take in a batch, shape (n, columns)."""
        valid = np.isfinite(values)
        count = valid.sum(axis=0)
        mean = np.where(valid, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        total = np.maximum(self.n + count, 1)
        delta = np.where(count > 0, mean - self.mean, 0.0)
        spread = (np.where(valid, values - mean, 0.0) ** 2).sum(axis=0)
        self._m2 += spread + delta**2 * self.n * count / total
        self.mean += delta * count / total
        self.n += count
        self.minimum = np.minimum(
            self.minimum, np.where(valid, values, np.inf).min(0, initial=np.inf)
        )
        self.maximum = np.maximum(
            self.maximum, np.where(valid, values, -np.inf).max(0, initial=-np.inf)
        )

    @property
    def std(self) -> Array:
        """Population standard deviation, 0 for a column without values."""
        return np.sqrt(self._m2 / np.maximum(self.n, 1))


class Summaries:
    """All figures over all samples: moments, quantiles, and bootstrap sums for 95 % intervals.

    Attributes:
        moments: Number, mean, spread and range per column.
        drawn_weight: Total weight of the valid samples per resample, shape (RESAMPLES, columns).
        drawn_sum: Weighted sum of the values, likewise.
    """

    def __init__(self, columns: int, ceilings: Array | None = None) -> None:
        """Start with nothing.

        Args:
            columns: How many figures.
            ceilings: Per column, NaN for none. A figure that crowds below an upper bound (a cosine
                below 1) keeps quantiles of its distance to it, where a relative accuracy means
                something.
        """
        self._ceilings = np.full(columns, np.nan) if ceilings is None else ceilings
        self._capped = np.isfinite(self._ceilings)
        self._sketch = QuantileSketch(columns)
        self.moments = Moments(columns)
        self.drawn_weight = np.zeros((RESAMPLES, columns))
        self.drawn_sum = np.zeros((RESAMPLES, columns))

    def add(self, values: Array, weights: Array) -> None:
        """Take in a batch.

        Args:
            values: Shape (n, columns); entries that are not finite are left out.
            weights: Bootstrap weights of those samples, shape (n, RESAMPLES).
        """
        valid = np.isfinite(values)
        self.moments.add(values)
        self._sketch.add(np.where(self._capped, self._ceilings - values, values))
        if valid.all():
            self.drawn_weight += weights.sum(axis=0)[:, None]
            self.drawn_sum += weights.T @ values
        else:
            self.drawn_weight += weights.T @ valid.astype(np.float64)
            self.drawn_sum += weights.T @ np.where(valid, values, 0.0)

    def distributions(self) -> list[Distribution]:
        """The summary of each column; ``None`` in every place where there was no finite value.

        A single sample has no interval: its mean might be anywhere.
        """
        quantiles, intervals = self._quantiles(), self._intervals()
        return [
            self._distribution(column, quantiles[:, column], intervals[:, column])
            for column in range(len(self._capped))
        ]

    def _distribution(self, column: int, quantiles: Array, interval: Array) -> Distribution:
        m, n = self.moments, int(self.moments.n[column])
        if n == 0:
            nothing: dict[str, float | None] = dict.fromkeys(map(str, QUANTILES))
            return Distribution(0, None, None, None, None, None, nothing, None)
        found = dict(zip(_ALL_QUANTILES, quantiles.tolist(), strict=True))
        low, high = interval.tolist()
        return Distribution(
            n=n,
            mean=float(m.mean[column]),
            std=float(m.std[column]),
            median=found[_MEDIAN],
            minimum=float(m.minimum[column]),
            maximum=float(m.maximum[column]),
            quantiles={str(q): found[q] for q in QUANTILES},
            interval=(low, high) if n > 1 else None,
        )

    def _quantiles(self) -> Array:
        """Shape (quantiles, columns), never beyond the smallest and largest value."""
        found = self._sketch.quantiles(_ALL_QUANTILES)
        found = np.where(self._capped, self._ceilings - found[::-1], found)
        return np.clip(found, self.moments.minimum, self.moments.maximum)

    def _intervals(self) -> Array:
        """Shape (2, columns)."""
        drawn = self.drawn_weight > 0
        means = np.divide(
            self.drawn_sum, self.drawn_weight, out=np.full(drawn.shape, np.nan), where=drawn
        )
        found = np.quantile(means, (0.025, 0.975), axis=0)
        # A resample may hold none of a column's few valid samples; it then says nothing of it.
        for column in np.flatnonzero(~drawn.all(axis=0) & drawn.any(axis=0)):
            found[:, column] = np.quantile(means[drawn[:, column], column], (0.025, 0.975))
        return np.asarray(found)


def row_slices(rows: int, row_elements: int) -> Iterator[slice]:
    """Cut a batch so that each part is small: for double-precision work without a copy of it all.

    Args:
        rows: How many rows the batch has.
        row_elements: Elements of one row.
    """
    step = max(1, _CHUNK_ELEMENTS // max(row_elements, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def bootstrap_weights(seed: int, start: int, stop: int) -> Array:
    """Weights of samples ``start`` to ``stop`` per resample, shape (stop − start, RESAMPLES).

    Poisson bootstrap: a sample is drawn Poisson(1) times into each resample, so a stream needs no
    second pass. The draws depend on ``seed`` and the sample's position alone, not on how the stream
    was cut into batches: the random numbers are those of a counter that starts at the position.
    """
    count = stop - start
    bits = np.random.Philox(key=[seed, _BOOTSTRAP_STREAM], counter=start * _BLOCKS_PER_SAMPLE)
    words = bits.random_raw(count * _BLOCKS_PER_SAMPLE * 4).astype("<u8", copy=False).view("<u4")
    weights = np.zeros(words.shape, np.uint8)
    for threshold in _POISSON_THRESHOLDS:
        weights += words >= threshold
    return weights.reshape(count, RESAMPLES).astype(np.float64)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share, for ``n`` ≥ 1."""
    z = 1.959963984540054
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # At the ends, rounding alone would keep the bound off the share itself.
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    high = 1.0 if successes == n else min(1.0, float(centre + half))
    return low, high


def newcombe_interval(before: Accuracy, after: Accuracy) -> tuple[float, float]:
    """95 % interval of ``after`` − ``before``, two shares of their own samples (Newcombe 1998, method 10).

    It is built from the Wilson intervals that both carry. Of two models on the same samples it is wider
    than need be, for it does not know that what is hard for one is hard for the other.
    """
    p, q = before.value, after.value
    down = math.hypot(q - after.interval[0], before.interval[1] - p)
    up = math.hypot(after.interval[1] - q, p - before.interval[0])
    return q - p - down, q - p + up
