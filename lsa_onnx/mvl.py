"""Algorithm 1: the most vulnerable layers (Khalooei et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Sums of many figures carry rounding of this relative size; a difference below it is none.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Selection:
    """What Algorithm 1 found.

    ``layers`` are indices, most vulnerable first; ``means`` is CM_l per layer, shape (layers,), NaN
    where no sample gave a value; ``mu`` and ``sigma`` are over all samples and layers, NaN where
    there is none.
    """

    layers: list[int]
    means: Array
    mu: float
    sigma: float


@dataclass(frozen=True)
class Sums:
    """Running sums of CM, each of shape (..., layers): how many values, their sum, of squares.

    Leading axes stand for separate experiments, such as the resamples of a bootstrap.
    """

    counts: Array
    values: Array
    squares: Array

    def statistics(self) -> tuple[Array, Array, Array]:
        """CM_l, shape (..., layers), and μ and σ over samples and layers, shape (..., 1)."""
        total = self.counts.sum(axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = self.values / self.counts
            mu = self.values.sum(axis=-1, keepdims=True) / total
            mean_square = self.squares.sum(axis=-1, keepdims=True) / total
        variance = mean_square - mu**2
        variance = np.where(np.abs(variance) <= _ROUNDING * mean_square, 0.0, variance)
        return means, mu, np.sqrt(np.maximum(variance, 0.0))


def most_vulnerable_layers(cm: Array, eta: float) -> Selection:
    """Algorithm 1 on a matrix of comparison measures.

    A layer enters the list when CM_l − μ > η σ, with CM_l its mean over samples, μ the mean and σ
    the population standard deviation of all entries, over samples and layers. NaN entries
    (undefined ratios) are left out.

    Args:
        cm: Comparison measures, shape (samples, layers), 0 or above.
        eta: The cut-off η.
    """
    valid = np.isfinite(cm)
    clean = np.where(valid, cm, 0.0)
    counts = valid.sum(axis=0).astype(np.float64)
    return select(Sums(counts, clean.sum(axis=0), (clean**2).sum(axis=0)), eta)


def select(sums: Sums, eta: float) -> Selection:
    """Algorithm 1 from running sums, each of shape (layers,)."""
    means, mu, sigma = sums.statistics()
    listed = _above(means, mu, sigma, eta)
    return Selection([i for i in ranked(means) if listed[i]], means, float(mu[0]), float(sigma[0]))


def listed_shares(sums: Sums, eta: float, top_k: int | None = None) -> Array:
    """In what share of experiments each layer is in the list, shape (layers,).

    Args:
        sums: Of all experiments, each array of shape (experiments, layers).
        eta: The cut-off η.
        top_k: Take the layers with the largest mean CM instead of those above the cut-off.
    """
    means, mu, sigma = sums.statistics()
    if top_k is None:
        return np.asarray(_above(means, mu, sigma, eta).mean(axis=0))
    listed = np.zeros(means.shape, bool)
    np.put_along_axis(listed, _order(means)[..., :top_k], True, axis=-1)
    return np.asarray((listed & np.isfinite(means)).mean(axis=0))


def top_layers(means: Array, count: int) -> list[int]:
    """The ``count`` layers with the largest mean CM, most vulnerable first."""
    return ranked(means)[:count]


def ranked(means: Array) -> list[int]:
    """Layers by falling mean CM, equal ones in graph order, those without a mean left out."""
    return [int(i) for i in _order(means) if np.isfinite(means[i])]


def _above(means: Array, mu: Array, sigma: Array, eta: float) -> NDArray[np.bool_]:
    # Equal means may differ in their last bit from μ, and none of them is above the others.
    listed: NDArray[np.bool_] = means - mu > eta * sigma + _ROUNDING * np.abs(mu)
    return listed


def _order(means: Array) -> NDArray[np.intp]:
    return np.argsort(-np.nan_to_num(means, nan=-np.inf), axis=-1, kind="stable")
