"""How far APGD steps, and when it goes back to the best point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from lsa_onnx.attacks.arrays import Array, chosen, column, elements, flat, namespace
from lsa_onnx.attacks.balls import L1, Ball

# Croce & Hein 2020: share of a step that is new; the rest repeats the step before.
_ALPHA = 0.75
# Croce & Hein 2021: of the features, those that the first steps move; a checkpoint after this share of
# the steps; what divides the number of features, and the step size; what counts as fewer features;
# the least step size, a share of the largest.
_FIRST_SHARE, _STRETCH, _DIVISOR, _FEWER, _LEAST_SIZE = 0.2, 0.04, 1.5, 0.95, 0.1


@dataclass(frozen=True)
class Peak:
    """The point of the highest loss so far of each sample.

    Attributes:
        x: Shape (n, ...).
        loss: Shape (n,).
        gradient: There, shape of ``x``.
    """

    x: Array
    loss: Array
    gradient: Array

    def risen(self, other: Peak) -> Peak:
        """With the samples in which ``other`` is higher."""
        higher = other.loss > self.loss
        return self.replaced(higher, other)

    def replaced(self, where: Array, other: Peak) -> Peak:
        """``other`` for the samples under ``where``, shape (n,)."""
        return Peak(
            chosen(where, other.x, self.x),
            chosen(where, other.loss, self.loss),
            chosen(where, other.gradient, self.gradient),
        )


class Steps(Protocol):
    """The rule of one start; it holds what differs from sample to sample."""

    alpha: float

    def move(self, point: Array, gradient: Array) -> Array:
        """``point`` after a step along the gradient, shape (n, ...), before projection."""

    def back(self, done: int, rose: Array, peak: Peak) -> Array | None:
        """Samples to take back to their peak after ``done`` steps, shape (n,); ``None`` for none.

        ``rose``, shape (n,), says in which samples the last step raised the loss.
        """


class Halving:
    """Step sizes that start at 2 · eps and are halved at checkpoints (Croce & Hein 2020)."""

    alpha = _ALPHA

    def __init__(self, ball: Ball, start: Peak, steps: int, rho: float) -> None:
        xp = namespace(start.loss)
        self._ball, self._rho = ball, rho
        self._checkpoints = checkpoints(steps)[1:]
        self._last = 0
        self._size = xp.full_like(start.loss, 2 * ball.eps)
        self._rises = xp.zeros_like(start.loss, dtype=xp.int64)
        self._peak_loss = start.loss
        self._halved = xp.ones_like(start.loss, dtype=xp.bool)

    def move(self, point: Array, gradient: Array) -> Array:
        """See ``Steps.move``."""
        size = namespace(point).astype(self._size, point.dtype, copy=False)
        return point + column(size, point) * self._ball.ascent(gradient, point)

    def back(self, done: int, rose: Array, peak: Peak) -> Array | None:
        """See ``Steps.back``: the samples whose step size was halved."""
        xp = namespace(rose)
        self._rises = self._rises + xp.astype(rose, xp.int64)
        if done not in self._checkpoints:
            return None
        # Condition 1: too few steps of this stretch raised the loss.
        few = self._rises < math.ceil(self._rho * (done - self._last))
        # Condition 2: neither step size nor peak changed since the checkpoint before.
        stuck = ~self._halved & (peak.loss == self._peak_loss)
        self._halved = few | stuck
        self._size = xp.where(self._halved, self._size / 2, self._size)
        self._rises = xp.zeros_like(self._rises)
        self._last, self._peak_loss = done, peak.loss
        return self._halved


class SparseSteps:
    """Steps of the l1 norm along few features, as many as the peak needs (Croce & Hein 2021)."""

    alpha = 1.0

    def __init__(self, ball: L1, start: Peak, x: Array, steps: int) -> None:
        xp = namespace(start.loss)
        self._ball, self._x = ball, x
        self._stretch = max(int(_STRETCH * steps), 1)
        self._features = elements(x)
        moved = xp.full_like(start.loss, self._features, dtype=xp.int64)
        self._moved = moved
        self._count = self._usable(xp.astype(moved, xp.float64) * _FIRST_SHARE)
        self._size = xp.full_like(start.loss, ball.eps)

    def move(self, point: Array, gradient: Array) -> Array:
        """See ``Steps.move``."""
        direction = self._ball.sparse_ascent(gradient, point, self._count)
        size = namespace(point).astype(self._size, point.dtype, copy=False)
        return point + column(size, point) * direction

    def back(self, done: int, rose: Array, peak: Peak) -> Array | None:  # noqa: ARG002 - see Halving
        """See ``Steps.back``: the samples whose peak needs fewer features than before."""
        if done % self._stretch:
            return None
        xp = namespace(self._size)
        moved = xp.sum(xp.astype(flat(peak.x != self._x), xp.int64), axis=1)
        fewer = xp.astype(moved, xp.float64) < _FEWER * xp.astype(self._moved, xp.float64)
        self._count = self._usable(xp.astype(moved, xp.float64) / _DIVISOR)
        largest = xp.full_like(self._size, self._ball.eps)
        smaller = xp.maximum(self._size / _DIVISOR, largest * _LEAST_SIZE)
        self._size = xp.where(fewer, largest, smaller)
        self._moved = moved
        return fewer

    def _usable(self, count: Array) -> Array:
        xp = namespace(count)
        return xp.clip(xp.astype(count, xp.int64), 1, max(self._features, 1))


def checkpoints(steps: int) -> list[int]:
    """The numbers of steps after which step sizes may be halved (Croce & Hein 2020, Sec. 3.1).

    w_j = ⌈p_j · steps⌉ with p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06).
    """
    # In hundredths, so that rounding up meets exact numbers.
    shares = [0, 22]
    while shares[-1] <= 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    return [-(-share * steps // 100) for share in shares[:-1]]
