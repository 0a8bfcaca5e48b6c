"""Threat models: how far from the clean input x0 an attack may go.

Each set is {x : ‖x − x0‖ₚ ≤ eps, low ≤ x ≤ high}, sample by sample, over all axes but the first. What
a ball returns lies in it after rounding too, in float16 as in float64, but for 4 millionths of eps and
given that x0 itself is within [low, high].
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from lsa_onnx.attacks.arrays import (
    Array,
    column,
    displaced,
    divided,
    elements,
    euclidean,
    finite,
    flat,
    largest,
    namespace,
    total,
    wide,
)
from lsa_onnx.attacks.randomness import Randomness, signs

# A point of any shape (n, ...) → the point of the set for it.
Projection: TypeAlias = Callable[[Array], Array]
Norm: TypeAlias = Literal["linf", "l2", "l1"]

# Of the features, those that a step in the l1 norm moves (Tramèr & Boneh 2019 take 1 to 20 %).
L1_SHARE = 0.05
# Of eps: how much farther rounding may move a sample.
_TOLERANCE = 4e-6
# Bisections by the bits of the type: more would only meet the type's own rounding.
_HALVINGS = {32: 28, 64: 44}


@dataclass(frozen=True)
class Ball(abc.ABC):
    """A threat model, see the module.

    Attributes:
        eps: Radius, in units of x.
        low: Lower end of the declared range.
        high: Upper end.
    """

    eps: float
    low: float
    high: float

    p: ClassVar[Norm]

    @abc.abstractmethod
    def norm(self, delta: Array) -> Array:
        """‖delta‖ₚ of each sample, shape (n,)."""

    @abc.abstractmethod
    def ascent(self, gradient: Array, x: Array) -> Array:
        """The direction of unit norm to go from ``x``, shape (n, ...); zero where the gradient is."""

    @abc.abstractmethod
    def _ones_norm(self, count: int) -> float:
        """The norm of ``count`` ones."""

    @abc.abstractmethod
    def _shortened(self, delta: Array, x0: Array) -> Array:
        """The point of the ball to take for ``delta``: what is inside stays exactly as it is."""

    @abc.abstractmethod
    def _random(self, x0: Array, numbers: Randomness, draw: int) -> Array:
        """A displacement, uniform in the ball, shape of ``x0``."""

    def project(self, x: Array, x0: Array) -> Array:
        """A point of the set for ``x``, shape and type of ``x0``; ``x`` itself where it is in."""
        xp = namespace(x0)
        x = xp.astype(x, x0.dtype, copy=False)
        delta = wide(x) - wide(x0)
        shortened = self._shortened(delta, x0)
        moved = xp.where(shortened == delta, x, self._moved(x0, shortened))
        # x0 is in the box, so this only brings elements closer to it.
        return xp.clip(moved, self.low, self.high)

    def around(self, x0: Array) -> Projection:
        """``project`` onto the set around ``x0``, for many points: what they share is computed once."""
        return lambda x: self.project(x, x0)

    def random_start(self, x0: Array, numbers: Randomness, draw: int = 0) -> Array:
        """A random point: uniform in the ball, then brought into [low, high]."""
        moved = self._moved(x0, self._shortened(self._random(x0, numbers, draw), x0))
        return namespace(x0).clip(moved, self.low, self.high)

    def _moved(self, x0: Array, delta: Array) -> Array:
        """x0 + delta in the type of x0, no farther away than ``delta`` is."""
        xp = namespace(x0)
        half_a_unit = xp.finfo(x0.dtype).eps * max(abs(self.low), abs(self.high)) / 2
        # The usual case: rounding to nearest cannot matter, and is far cheaper.
        if half_a_unit * self._ones_norm(elements(x0)) <= _TOLERANCE * self.eps:
            return xp.astype(wide(x0) + delta, x0.dtype, copy=False)
        return displaced(x0, delta)


class Linf(Ball):
    """{x : maxᵢ abs(xᵢ − x0ᵢ) ≤ eps, low ≤ x ≤ high}."""

    p = "linf"

    def norm(self, delta: Array) -> Array:
        """See ``Ball.norm``."""
        return largest(wide(delta))

    def ascent(self, gradient: Array, x: Array) -> Array:  # noqa: ARG002 - l1 needs x
        """The sign of the gradient."""
        return namespace(gradient).sign(finite(gradient))

    def _ones_norm(self, count: int) -> float:  # noqa: ARG002 - others depend on it
        return 1.0

    def around(self, x0: Array) -> Projection:
        """See ``Ball.around``: a box is two bounds for each element."""
        xp = namespace(x0)
        reach = xp.full_like(wide(x0), self.eps)
        least = xp.clip(displaced(x0, -reach), self.low, self.high)
        most = xp.clip(displaced(x0, reach), self.low, self.high)
        return lambda x: xp.clip(xp.astype(x, x0.dtype, copy=False), least, most)

    def _shortened(self, delta: Array, x0: Array) -> Array:  # noqa: ARG002 - l1 needs x0
        return namespace(delta).clip(delta, -self.eps, self.eps)

    def _random(self, x0: Array, numbers: Randomness, draw: int) -> Array:
        uniform = numbers.uniform(x0.shape[1:] or (1,), draw, x0)
        return namespace(x0).reshape((2 * uniform - 1) * self.eps, x0.shape)


class L2(Ball):
    """{x : ‖x − x0‖₂ ≤ eps, low ≤ x ≤ high}."""

    p = "l2"

    def norm(self, delta: Array) -> Array:
        """See ``Ball.norm``."""
        return euclidean(wide(delta))

    def ascent(self, gradient: Array, x: Array) -> Array:  # noqa: ARG002 - l1 needs x
        """The gradient over its norm."""
        # Scaled first: squares of a vanishing gradient would underflow to zero.
        scaled = wide(finite(gradient))
        scaled = divided(scaled, largest(scaled))
        unit = divided(scaled, euclidean(scaled))
        return namespace(gradient).astype(unit, gradient.dtype, copy=False)

    def _ones_norm(self, count: int) -> float:
        return math.sqrt(count)

    def _shortened(self, delta: Array, x0: Array) -> Array:  # noqa: ARG002 - l1 needs x0
        xp = namespace(delta)
        norm = self.norm(delta)
        # The margin is what summing the squares may have lost.
        target = self.eps * (1 - 4 * xp.finfo(delta.dtype).eps)
        return xp.where(column(norm > self.eps, delta), divided(delta, norm) * target, delta)

    def _random(self, x0: Array, numbers: Randomness, draw: int) -> Array:
        # A point of the sphere in two dimensions more, without these, is uniform in the ball.
        size = elements(x0)
        normal = numbers.normal((size + 2,), draw, x0)
        unit = divided(normal, euclidean(normal))[:, :size]
        return namespace(x0).reshape(unit * self.eps, x0.shape)


class L1(Ball):
    """{x : Σᵢ abs(xᵢ − x0ᵢ) ≤ eps, low ≤ x ≤ high}."""

    p = "l1"

    def norm(self, delta: Array) -> Array:
        """See ``Ball.norm``."""
        return total(namespace(delta).abs(wide(delta)))

    def ascent(self, gradient: Array, x: Array) -> Array:
        """The signs of the steepest few features (Tramèr & Boneh 2019), see ``sparse_ascent``."""
        return self.sparse_ascent(gradient, x, None)

    def sparse_ascent(self, gradient: Array, x: Array, count: Array | None) -> Array:
        """The signs of the ``count`` steepest features over their number.

        Features that the range keeps from moving that way are passed over.

        Args:
            gradient: Shape (n, ...).
            x: Where the step starts.
            count: How many features, shape (n,), int64; ``None`` for ``L1_SHARE`` of them.
        """
        xp = namespace(gradient)
        gradient = finite(gradient)
        free = xp.where(gradient > 0, x < self.high, x > self.low)
        size = flat(xp.where(free, xp.abs(gradient), xp.zeros_like(gradient)))
        ranked = xp.sort(size, axis=1, descending=True)
        if count is None:
            threshold = ranked[:, max(int(L1_SHARE * size.shape[1]), 1) - 1]
        else:
            place = xp.reshape(count - 1, (-1, 1))
            threshold = xp.take_along_axis(ranked, place, axis=1)[:, 0]
        taken = (size >= column(threshold, size)) & (size > 0)
        direction = xp.sign(gradient) * xp.astype(xp.reshape(taken, gradient.shape), gradient.dtype)
        # In half precision, the number of features may be beyond what can be counted.
        unit = divided(wide(direction), self.norm(direction))
        return xp.astype(unit, gradient.dtype, copy=False)

    def _ones_norm(self, count: int) -> float:
        return float(count)

    def _shortened(self, delta: Array, x0: Array) -> Array:
        """The exact projection onto ball and box together, as Croce & Hein 2021 have it.

        It is sign(δᵢ) · min(max(|δᵢ| − λ, 0), roomᵢ), where roomᵢ is what the box leaves on that
        side, and λ ≥ 0 the least value that keeps the sum within eps.
        """
        xp = namespace(delta)
        start = wide(x0)
        room = xp.where(delta > 0, self.high - start, start - self.low)
        room = xp.clip(room, 0, None)
        size = xp.abs(delta)

        def shortened(threshold: Array) -> Array:
            return xp.minimum(xp.clip(size - column(threshold, size), 0, None), room)

        least = _least(lambda t: total(shortened(t)) <= self.eps, largest(delta))
        return xp.sign(delta) * shortened(least)

    def _random(self, x0: Array, numbers: Randomness, draw: int) -> Array:
        # Exponential sizes over their sum, one dimension more than needed: uniform in the ball.
        xp = namespace(x0)
        count = elements(x0)
        uniform = 2 * numbers.uniform((count + 1,), draw, x0) - 1
        # Uniform numbers have 24 bits at least, so this keeps the logarithm finite.
        size = -xp.log(xp.clip(1 - xp.abs(uniform), 2.0**-25, None))
        share = divided(signs((uniform + 1) / 2) * size, total(size))[:, :count]
        return xp.reshape(share * self.eps, x0.shape)


BALLS: dict[str, type[Ball]] = {"linf": Linf, "l2": L2, "l1": L1}


def _least(holds: Callable[[Array], Array], top: Array) -> Array:
    """For each sample the least t in [0, top], shape (n,), from which ``holds`` is true: bisection.

    ``holds(t)``, shape (n,), is true for ``top`` and monotone; so it is for the result.
    """
    xp = namespace(top)
    low, high = xp.zeros_like(top), top
    high = xp.where(holds(low), low, high)
    for _ in range(_HALVINGS[xp.finfo(top.dtype).bits]):
        middle = (low + high) / 2
        enough = holds(middle)
        low, high = xp.where(enough, low, middle), xp.where(enough, middle, high)
    return high
