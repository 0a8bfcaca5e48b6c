"""The two directions of an input landscape, and the points of the plane that they span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Fgsm, Linf, SampleRandomness
from lsa_onnx.attacks.arrays import finite
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Oracle, ask_gradient
from lsa_onnx.attacks.randomness import signs

Array = NDArray[Any]

# Noises have the streams from 0 on, attacks 16.
_STREAM = 32
_SIGNS, _NEARBY = 0, 1
# Share of the way to a random point of the ball, where the gradient at the sample itself is 0.
_NEARBY_SHARE = 0.1


@dataclass(frozen=True)
class Plane:
    """The plane through each of n samples.

    Attributes:
        x: The samples, shape (n, ...), in units of the declared range.
        ascent: d₁, the sign of the loss gradient, shape of ``x``; 0 where that is 0.
        random: d₂, −1 or 1 with equal chance, shape of ``x``.
        flat: Whether the gradient is 0 throughout, shape (n,): such a sample has no first direction.
        low: Lower end of the declared range.
        high: Upper end.
    """

    x: Array
    ascent: Array
    random: Array
    flat: NDArray[np.bool_]
    low: float
    high: float

    def point(self, a: float, b: float) -> Array:
        """Where each sample is moved, x + a·d₁ + b·d₂, clipped to the range of what inputs can be."""
        dtype = self.x.dtype
        moved = self.x + dtype.type(a) * self.ascent + dtype.type(b) * self.random
        clipped: Array = np.clip(moved, dtype.type(self.low), dtype.type(self.high))
        return clipped

    def along(self, a: float) -> Array:
        """The points x + a·d₁, not clipped: at the end of the range that gives a line a bend of its own."""
        moved: Array = self.x + self.x.dtype.type(a) * self.ascent
        return moved


def open_plane(attack: Fgsm, oracle: Oracle, batch: Batch) -> Plane:
    """The plane of the samples in ``batch``.

    The same sample has the same random direction in every model and whatever the batch.

    Args:
        attack: The single step whose direction is the first axis, of the plane's extent.
        oracle: Model and objective.
        batch: Samples and what the objective aims at.
    """
    numbers = SampleRandomness(
        attack.seed, _STREAM, np.arange(batch.start, batch.start + len(batch.x))
    )
    start = batch.x
    if attack.aims_away_from_x(batch):
        # Such an objective is 0 at the sample, its least value, and so is its gradient.
        ball = Linf(attack.eps, batch.low, batch.high)
        away = ball.random_start(batch.x, numbers, _NEARBY) - batch.x
        start = (batch.x + _NEARBY_SHARE * away).astype(batch.x.dtype)
    _, gradient = ask_gradient(oracle, start, batch.goal)
    ascent = np.sign(finite(gradient)).astype(batch.x.dtype)
    flat = ~ascent.reshape(len(ascent), -1).any(axis=1)
    return Plane(batch.x, ascent, _random_signs(batch, numbers), flat, batch.low, batch.high)


def _random_signs(batch: Batch, numbers: SampleRandomness) -> Array:
    """Drawn channels first, so that models of either layout move the same pixel alike."""
    shape, axis = batch.x.shape[1:], batch.channel_axis
    last = axis is not None and axis == len(shape)
    drawn = (shape[-1], *shape[:-1]) if last else shape
    found: Array = signs(numbers.uniform(drawn or (1,), _SIGNS, batch.x)).astype(batch.x.dtype)
    found = found.reshape(len(found), *drawn)
    return np.moveaxis(found, 1, -1) if last else found
