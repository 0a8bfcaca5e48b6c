"""Streaming statistics: memory depends on the number of figures, never on the number of samples.

A figure is a column (a measure of a layer, say). Batches of samples come as matrices of shape
(n, columns), so that the work per batch does not grow with the number of Python calls; an entry
that is not finite is left out of its column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.report.document import Distribution

Array = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.75, 0.95)
RESAMPLES = 200
# Quantiles are exact up to this many samples, then within RELATIVE_ACCURACY of the true value.
EXACT_SAMPLES = 2048
RELATIVE_ACCURACY = 1e-3

_MEDIAN = 0.5
# A list that is its own mirror image (q → 1 − q): figures kept as a distance rely on it.
_ALL_QUANTILES = (*QUANTILES[:2], _MEDIAN, *QUANTILES[2:])
_GAMMA_LOG = float(np.log((1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)))
# Bins of one column: every float64 above 0 falls within ±_ZERO_BIN, and 0 into -_ZERO_BIN itself.
_ZERO_BIN = 1 << 19
_BINS = 1 << 20
_LARGEST_LOG = float(np.log(np.finfo(np.float64).max))
# Poisson(1) by inversion: a uniform 32-bit word is at or above so many of these thresholds.
_POISSON_CUMULATED = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 13)]))
_POISSON_THRESHOLDS = np.floor(_POISSON_CUMULATED * 2.0**32).clip(max=2.0**32 - 1).astype(np.uint32)
# Philox counts in blocks of four 64-bit words, that is of eight 32-bit ones.
_BLOCKS_PER_SAMPLE = RESAMPLES // 8
_CHUNK_ELEMENTS = 1 << 18
# Keeps these draws apart from those of the noises, which use small numbers as second key word.
_BOOTSTRAP_STREAM = 1 << 63


class QuantileSketch:
    """Quantiles of non-negative values per column: exact for few, from logarithmic bins for many.

    The bins are those of DDSketch (Masson, Rim and Lee 2019): a quantile is within
    ``RELATIVE_ACCURACY`` of the true one, whatever the distribution. Values wait in a buffer of
    ``EXACT_SAMPLES`` rows, so that the bins are sorted once per buffer and not once per batch.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._waiting: list[Array] = []
        self._rows = 0
        self._keys = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)

    def add(self, values: Array) -> None:
        """Take in values, 0 or above or not finite, shape (n, columns)."""
        if self._rows + len(values) > EXACT_SAMPLES:
            self._flush()
        self._waiting.append(np.where(np.isfinite(values), values, np.nan))
        self._rows += len(values)
        if self._rows > EXACT_SAMPLES:
            self._flush()

    def quantiles(self, shares: Sequence[float]) -> Array:
        """Quantiles of each column, shape (shares, columns); NaN for a column without values.

        Ranks between two values are interpolated, as numpy does by default.

        Args:
            shares: Each 0 to 1.
        """
        if self._keys.size:
            self._flush()
        ordered = _Binned(self) if self._keys.size else _Exact(self._waiting, self._columns)
        ranks = np.asarray(shares)[:, None] * np.maximum(ordered.counts - 1, 0)
        below = np.floor(ranks).astype(np.int64)
        low, high = ordered.at(below), ordered.at(np.ceil(ranks).astype(np.int64))
        found: Array = low + (ranks - below) * (high - low)
        return np.where(ordered.counts > 0, found, np.nan)

    def bins(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Keys ``column * _BINS + bin``, rising, and the number of values in each."""
        return self._keys, self._counts

    @property
    def columns(self) -> int:
        """How many figures are kept."""
        return self._columns

    def _flush(self) -> None:
        if not self._waiting:
            return
        values = np.concatenate(self._waiting)
        keys = (_bin_of(values) + np.arange(self._columns) * _BINS)[np.isfinite(values)]
        fresh, counts = np.unique(keys, return_counts=True)
        self._keys, where = np.unique(np.concatenate([self._keys, fresh]), return_inverse=True)
        both = np.concatenate([self._counts, counts])
        self._counts = np.bincount(where, both, len(self._keys)).astype(np.int64)
        self._waiting, self._rows = [], 0


class _Exact:
    """The values themselves, sorted per column."""

    def __init__(self, parts: list[Array], columns: int) -> None:
        values = np.concatenate([np.zeros((0, columns)), *parts])
        self.counts = np.isfinite(values).sum(axis=0)
        self._sorted = np.sort(values, axis=0)

    def at(self, ranks: NDArray[np.int64]) -> Array:
        """The values of these ranks, counted from 0, shape (m, columns)."""
        if not len(self._sorted):
            return np.full(ranks.shape, np.nan)
        return np.take_along_axis(self._sorted, ranks, axis=0)


class _Binned:
    """The bins of a sketch, each standing for its values."""

    def __init__(self, sketch: QuantileSketch) -> None:
        self._keys, counts = sketch.bins()
        columns = np.arange(sketch.columns)
        self._cumulated = np.cumsum(counts)
        ends = np.searchsorted(self._keys, (columns + 1) * _BINS)
        totals = np.concatenate([[0], self._cumulated])[ends]
        self._before = np.concatenate([[0], totals[:-1]])
        self.counts = totals - self._before

    def at(self, ranks: NDArray[np.int64]) -> Array:
        """As ``_Exact.at``; where a column is empty, the value is of no meaning."""
        places = np.searchsorted(self._cumulated, self._before + ranks, side="right")
        return _bin_value(self._keys[np.minimum(places, len(self._keys) - 1)] % _BINS)


def _bin_of(values: Array) -> NDArray[np.int64]:
    """Bins from 0, which holds zeros; of no meaning where a value is not finite."""
    positive = values > 0
    logs = np.log(values, out=np.zeros_like(values), where=positive)
    bins = np.ceil(logs / _GAMMA_LOG).astype(np.int64) + _ZERO_BIN
    return np.where(positive, bins, 0)


def _bin_value(bins: NDArray[np.int64]) -> Array:
    """The value that is within ``RELATIVE_ACCURACY`` of all that fall into the bin."""
    # The top bin reaches beyond the largest float64; exp must not.
    logs = np.minimum((bins - _ZERO_BIN) * _GAMMA_LOG + np.log1p(-RELATIVE_ACCURACY), _LARGEST_LOG)
    return np.where(bins > 0, np.exp(logs), 0.0)


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
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
