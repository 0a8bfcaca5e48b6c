"""Algorithm 1: the most vulnerable layers (Khalooei et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """What Algorithm 1 found.

    ``layers`` are indices, most vulnerable first; ``means`` is CM_l per layer, shape (layers,), NaN where no sample
    gave a value; ``mu`` and ``sigma`` are over all samples and layers, NaN where there is none.
    """

    layers: list[int]
    means: Array
    mu: float
    sigma: float


def most_vulnerable_layers(cm: Array, eta: float) -> Selection:
    """Algorithm 1 on a matrix of comparison measures.

    A layer enters the list when CM_l − μ > η σ, with CM_l its mean over samples, μ the mean and σ the population
    standard deviation of all entries, over samples and layers. NaN entries (undefined ratios) are left out.

    Args:
        cm: Comparison measures, shape (samples, layers), 0 or above.
        eta: The cut-off η.
    """
    valid = np.isfinite(cm)
    clean = np.where(valid, cm, 0.0)
    return select(
        valid.sum(axis=0).astype(np.float64), clean.sum(axis=0), (clean**2).sum(axis=0), eta
    )


def select(counts: Array, sums: Array, squares: Array, eta: float) -> Selection:
    """Algorithm 1 from running sums, each of shape (layers,): number, sum and sum of squares of the CM of a layer."""
    total = counts.sum()
    if total == 0:
        return Selection([], np.full(counts.shape, np.nan), np.nan, np.nan)
    means = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    mu = float(sums.sum() / total)
    sigma = float(np.sqrt(max(squares.sum() / total - mu**2, 0.0)))
    above = np.nan_to_num(means - mu, nan=-np.inf) > eta * sigma
    return Selection([i for i in ranked(means) if above[i]], means, mu, sigma)


def top_layers(means: Array, count: int) -> list[int]:
    """The ``count`` layers with the largest mean CM, most vulnerable first."""
    return ranked(means)[:count]


def ranked(means: Array) -> list[int]:
    """Layers by falling mean CM, equal ones in graph order, those without a mean left out."""
    order = np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable")
    return [int(i) for i in order if np.isfinite(means[i])]
