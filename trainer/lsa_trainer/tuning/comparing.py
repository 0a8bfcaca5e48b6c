"""Is the best trial better than plain training, or only the luckiest of many? Bounds for both questions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.bootstrap import mean_over_samples, paired_difference
from lsa_trainer.tuning.document import Gain

Array = NDArray[np.float64]

_RESAMPLES = 4_000
# Resamples at a time: each holds a number per sample.
_CHUNK = 250
_CONFIDENCE = 0.95
# Keeps these draws apart from those of other intervals with the same seed.
_STREAM = (1 << 63) + 2


def score_interval(points: Array, seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean.

    Args:
        points: What each sample adds to the score, shape (n,).
        seed: Of the resamples.
    """
    return mean_over_samples(points, seed).interval


def gain_of(trial: str, over: str, points: Mapping[str, Array], seed: int, *, picked: bool) -> Gain:
    """How far ``trial`` is ahead of ``over``.

    Args:
        trial: A name in ``points``.
        over: Another one.
        points: Of every trial with a score, what each sample adds to it, all of shape (n,).
        seed: Of the resamples.
        picked: Whether ``trial`` was picked among all of them for its score.
    """
    found = paired_difference(points[over], points[trial], seed)
    among = None
    if picked:
        others = {name: values - points[over] for name, values in points.items() if name != over}
        among = simultaneous_intervals(others, seed)[trial]
    return Gain(trial, over, found.value, found.interval, among)


def simultaneous_intervals(
    differences: Mapping[str, Array], seed: int
) -> dict[str, tuple[float, float]]:
    """Bounds that hold for all means at once with 95 % confidence.

    The largest |mean* − mean| / s over all trials, in each resample of the samples, says how many standard errors
    s the luckiest one may be off (max-|t|; Romano & Wolf 2005).

    Args:
        differences: By name, shape (n,) each, over the same samples.
        seed: Of the resamples.
    """
    table = np.stack(list(differences.values()))
    means = table.mean(axis=1)
    errors = table.std(axis=1) / np.sqrt(table.shape[1])
    away = np.abs(_resampled_means(table, seed) - means)
    # A trial that answers as the other does at every sample has no error, and is not off.
    scaled = np.divide(away, errors, out=np.zeros_like(away), where=errors > 0)
    reach = np.quantile(scaled.max(axis=1), _CONFIDENCE) * errors
    bounds = np.stack([means - reach, means + reach], axis=1).tolist()
    return {name: (low, high) for name, (low, high) in zip(differences, bounds, strict=True)}


def _resampled_means(table: Array, seed: int) -> Array:
    """Means over resamples of the samples, the same for all rows: shape (resamples, rows)."""
    n = table.shape[1]
    rng = np.random.Generator(np.random.Philox(key=[seed, _STREAM]))
    shares = np.full(n, 1 / n)
    parts = [rng.multinomial(n, shares, _CHUNK) @ table.T / n for _ in range(_RESAMPLES // _CHUNK)]
    return np.concatenate(parts)
