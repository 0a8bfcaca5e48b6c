"""Quantiles of a stream, in memory that does not grow with its length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Quantiles are exact up to this many samples, then within RELATIVE_ACCURACY of the true value.
EXACT_SAMPLES = 2048
RELATIVE_ACCURACY = 1e-3

_GAMMA_LOG = float(np.log((1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)))
# Bins of one column: every float64 above 0 falls within ±_ZERO_BIN, and 0 into -_ZERO_BIN itself.
_ZERO_BIN = 1 << 19
_BINS = 1 << 20
_LARGEST_LOG = float(np.log(np.finfo(np.float64).max))


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
        # Both are sorted, and after a few buffers hardly any bin is new: no need to sort again.
        places = np.asarray(np.searchsorted(self._keys, fresh))
        known = np.zeros(fresh.size, bool)
        inside = places < self._keys.size
        known[inside] = self._keys[places[inside]] == fresh[inside]
        self._counts[places[known]] += counts[known]
        self._keys = np.insert(self._keys, places[~known], fresh[~known])
        self._counts = np.insert(self._counts, places[~known], counts[~known])
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
