"""Numeric derivatives that know how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Scalar = Callable[[Array], float]

# Of each, this many directions: along single elements, and along all of them.
_SINGLE = 4
_DENSE = 4
# Inputs with more elements are images, of networks.
_LARGE = 50_000


@dataclass(frozen=True)
class Slope:
    """A derivative along a direction.

    Attributes:
        value: By central differences.
        doubt: What halving the step changed in it, and the kink that two steps agree on: the part of
            the difference of the one-sided derivatives that does not shrink with the step.
    """

    value: float
    doubt: float


def slope(function: Scalar, point: Array, direction: Array, step: float) -> Slope:
    """The derivative of ``function`` at ``point`` along ``direction``."""
    here = function(point)
    central, jumps = [], []
    for size in (step, step / 2):
        ahead = function(_moved(point, direction, size))
        behind = function(_moved(point, direction, -size))
        central.append((ahead - behind) / (2 * size))
        jumps.append((ahead - 2 * here + behind) / size)
    doubt = abs(central[0] - central[1]) + abs(2 * jumps[1] - jumps[0])
    return Slope(central[1], doubt if np.isfinite(doubt) else np.inf)


def _moved(point: Array, direction: Array, size: float) -> Array:
    return np.asarray(point + (size * direction).astype(point.dtype))


def directions(gradient: Array, rng: np.random.Generator) -> Iterator[tuple[Array, float]]:
    """Directions that tell a wrong gradient from a right one, also in a single element.

    Yields:
        Each with how many times the usual error is allowed. Along single elements of an image too
        little happens, and random directions cross many kinks; along the gradient itself it is most.
    """
    shape, count = gradient.shape, gradient.size
    if count > _LARGE:
        unit = gradient / np.sqrt(np.mean(gradient**2)) / 10
        yield unit, 1
        yield np.where(rng.random(shape) < 0.5, unit, 0), 1
        yield rng.standard_normal(shape), 5
        return
    for index in rng.permutation(count)[:_SINGLE]:
        yield np.eye(1, count, index).reshape(shape), 1
    for _ in range(_DENSE if count > 1 else 0):
        yield rng.standard_normal(shape), 1
