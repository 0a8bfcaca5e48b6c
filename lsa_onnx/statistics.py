"""Streaming statistics: memory depends on the number of layers, never on the number of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.report.document import Distribution

Array = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.75, 0.95)
RESAMPLES = 200
# Quantiles are exact up to this many samples, then within RELATIVE_ACCURACY of the true value.
EXACT_SAMPLES = 4096
RELATIVE_ACCURACY = 1e-3


class QuantileSketch:
    """Quantiles of non-negative values: exact for few, from logarithmic bins for many.

    The bins are those of DDSketch (Masson, Rim and Lee 2019): a quantile is within ``RELATIVE_ACCURACY`` of the true
    one, whatever the distribution, and two sketches merge without loss.
    """

    def __init__(self) -> None:
        self._values: list[Array] | None = []
        self._bins: dict[int, int] = {}
        self._count = 0

    def add(self, values: Array) -> None:
        """Take in values, each 0 or above and finite, shape (n,)."""
        self._count += values.size
        if self._values is not None:
            self._values.append(values.copy())
            if self._count <= EXACT_SAMPLES:
                return
            values, self._values = np.concatenate(self._values), None
        indices, counts = np.unique(_bin_of(values), return_counts=True)
        for index, count in zip(indices.tolist(), counts.tolist(), strict=True):
            self._bins[index] = self._bins.get(index, 0) + count

    def quantile(self, q: float) -> float:
        """The ``q``-quantile, 0 ≤ q ≤ 1, of at least one value."""
        if self._values is not None:
            return float(np.quantile(np.concatenate(self._values), q))
        indices = np.array(sorted(self._bins))
        cumulated = np.cumsum([self._bins[i] for i in indices.tolist()])
        return _bin_value(int(indices[np.searchsorted(cumulated, q * (self._count - 1) + 1)]))


_GAMMA_LOG = np.log((1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY))
_ZERO_BIN = np.iinfo(np.int64).min


def _bin_of(values: Array) -> NDArray[np.int64]:
    positive = values > 0
    logs = np.log(values, out=np.zeros_like(values), where=positive)
    return np.where(positive, np.ceil(logs / _GAMMA_LOG).astype(np.int64), _ZERO_BIN)


def _bin_value(index: int) -> float:
    if index == _ZERO_BIN:
        return 0.0
    return float(np.exp(index * _GAMMA_LOG) * (1 - RELATIVE_ACCURACY))


class Moments:
    """Number, mean, spread and range of one figure, in float64 (Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self._m2 = 0.0
        self.minimum = np.inf
        self.maximum = -np.inf

    def add(self, values: Array) -> None:
        """Take in finite values, shape (n,)."""
        if values.size == 0:
            return
        count, mean = values.size, float(values.mean())
        delta, total = mean - self.mean, self.n + count
        self._m2 += float(((values - mean) ** 2).sum()) + delta**2 * self.n * count / total
        self.mean += delta * count / total
        self.n = total
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

    @property
    def std(self) -> float:
        """Population standard deviation."""
        return float(np.sqrt(self._m2 / self.n)) if self.n else np.nan


class Summary:
    """One figure over all samples: moments, quantiles, and the bootstrap means of its 95 % interval.

    ``ceiling`` is for figures that crowd below an upper bound (a cosine below 1): quantiles are then kept of the
    distance to it, where their relative accuracy means something.
    """

    def __init__(self, ceiling: float | None = None) -> None:
        self._ceiling = ceiling
        self._moments = Moments()
        self._sketch = QuantileSketch()
        self._weighted_sum = np.zeros(RESAMPLES)
        self._weight = np.zeros(RESAMPLES)

    @property
    def mean(self) -> float:
        """Mean so far, NaN of nothing."""
        return self._moments.mean if self._moments.n else np.nan

    def add(self, values: Array, weights: Array) -> None:
        """Take in a batch.

        Args:
            values: Shape (n,); entries that are not finite are left out.
            weights: Bootstrap weights of those samples, shape (n, RESAMPLES).
        """
        valid = np.isfinite(values)
        kept = values[valid]
        self._moments.add(kept)
        self._sketch.add(kept if self._ceiling is None else self._ceiling - kept)
        self._weighted_sum += kept @ weights[valid]
        self._weight += weights[valid].sum(axis=0)

    def distribution(self) -> Distribution:
        """The figure's summary; ``None`` in every place where there was no finite value."""
        m = self._moments
        if m.n == 0:
            nothing = {str(q): None for q in QUANTILES}
            return Distribution(0, None, None, None, None, None, dict(nothing), None)
        return Distribution(
            n=m.n,
            mean=m.mean,
            std=m.std,
            median=self._quantile(0.5),
            minimum=m.minimum,
            maximum=m.maximum,
            quantiles={str(q): self._quantile(q) for q in QUANTILES},
            interval=self._interval(),
        )

    def _quantile(self, q: float) -> float:
        if self._ceiling is None:
            return self._sketch.quantile(q)
        return self._ceiling - self._sketch.quantile(1 - q)

    def _interval(self) -> tuple[float, float] | None:
        drawn = self._weight > 0
        if not drawn.any():
            return None
        means = self._weighted_sum[drawn] / self._weight[drawn]
        low, high = np.quantile(means, (0.025, 0.975))
        return float(low), float(high)


def bootstrap_weights(seed: int, start: int, stop: int) -> Array:
    """Weights of samples ``start`` to ``stop`` in each bootstrap resample, shape (stop − start, RESAMPLES).

    Poisson bootstrap: a sample is drawn Poisson(1) times into each resample, so a stream needs no second pass. The
    draws depend on ``seed`` and the sample's position alone, not on how the stream was cut into batches.
    """
    rows = [
        np.random.Generator(np.random.Philox(key=[seed, index])).poisson(1.0, RESAMPLES)
        for index in range(start, stop)
    ]
    return np.asarray(rows, np.float64).reshape(stop - start, RESAMPLES)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share, for ``n`` ≥ 1."""
    z = 1.959963984540054
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
