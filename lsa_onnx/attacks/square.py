"""Square: random search with windows, without gradients."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass

from lsa_onnx.attacks.arrays import Array, column, divided, euclidean, namespace, total, wide
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import Ball, Norm
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Found, Goal, Oracle, goal_rows, worse
from lsa_onnx.attacks.planes import Planes, Windows, bumps, like, tiles
from lsa_onnx.attacks.randomness import Randomness, signs
from lsa_onnx.errors import DataError

QUERIES = 5000
P_INIT = 0.8
NORMS: tuple[Norm, ...] = ("linf", "l2")
# After this many of 10,000 queries, the share of a plane that a window covers is halved once more.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Queries whose random numbers are drawn at once: drawing for a sample has a fixed cost.
_BLOCK = 32
_SCHEDULE = 10_000
# The paper's least side of a bump.
_LEAST_BUMP = 3


def square(
    oracle: Oracle,
    x: Array,
    y: Goal,
    ball: Ball,
    *,
    numbers: Randomness,
    queries: int = QUERIES,
    p_init: float = P_INIT,
    channel_axis: int | None = None,
) -> Found:
    """Square Attack (Andriushchenko et al. 2020), in the linf and the l2 norm.

    Only samples that are not broken yet are queried. Each has its own windows, so that it gets the
    same ones whatever the batch.

    Args:
        oracle: The model and the objective, asked without gradient.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        ball: The threat model.
        numbers: For start, places and signs.
        queries: Candidates tried for each sample.
        p_init: Share of a plane that the first windows cover.
        channel_axis: 1 for (n, channels, height, width), 3 for (n, height, width, channels); ``None``
            for tabular and other data, where windows are runs of the flattened features.

    Returns:
        For each sample the first broken point, or that of the highest loss.

    Raises:
        DataError: The norm is another one.
    """
    if ball.p not in _RULES:
        raise DataError(
            f"'square' does not work in the {ball.p} norm; it takes {' and '.join(NORMS)}, "
            "and 'pgd' and 'apgd' take l1"
        )
    planes = Planes.of(x, channel_axis)
    rule = _RULES[ball.p](ball, planes)
    start = planes.join(rule.start(planes.split(x), numbers))
    found = Found.of(start, oracle(start, y, gradient=False))
    for query, uniform in enumerate(_drawn(numbers, rule.draws, queries, x)):
        left = found.unbroken
        if not namespace(left).any(left):
            break
        part, share = found.rows(left), share_at(query, queries, p_init)
        candidate = rule.propose(planes.split(part.x), planes.split(x[left]), share, uniform[left])
        candidate = planes.join(candidate)
        answer = oracle(candidate, goal_rows(y, left), gradient=False)
        found = found.replaced(left, worse(part, Found.of(candidate, answer)))
    return found


def share_at(query: int, queries: int, p_init: float = P_INIT) -> float:
    """Share of a plane that the windows of a query cover: the schedule of 10,000, rescaled."""
    place = query * _SCHEDULE // queries
    halvings = sum(place > after for after in _HALVINGS)
    return p_init * 0.5**halvings


class _Rule(abc.ABC):
    """How to start and what to try next; x as planes, shape (n, channels, height, width).

    ``draws`` is the number of uniform numbers that a candidate takes.
    """

    def __init__(self, ball: Ball, planes: Planes) -> None:
        self._ball = ball
        self._planes = planes

    @property
    @abc.abstractmethod
    def draws(self) -> int: ...

    @abc.abstractmethod
    def start(self, x0: Array, numbers: Randomness) -> Array:
        """The first point, shape of ``x0``."""

    @abc.abstractmethod
    def propose(self, best: Array, x0: Array, share: float, uniform: Array) -> Array:
        """A candidate near ``best``, with windows of ``share`` of a plane; uniform: (n, draws)."""


class _Stripes(_Rule):
    """linf: vertical stripes of ±eps, then squares of ±eps in each channel."""

    @property
    def draws(self) -> int:
        return 2 + self._planes.channels

    def start(self, x0: Array, numbers: Randomness) -> Array:
        uniform = numbers.uniform((self._planes.channels, 1, self._planes.width), 0, x0)
        return self._ball.project(wide(x0) + self._ball.eps * signs(uniform), x0)

    def propose(self, best: Array, x0: Array, share: float, uniform: Array) -> Array:
        windows = Windows.at_random(self._planes, self._planes.window(share), uniform[:, :2])
        # Twice eps reaches the other side of the ball from anywhere in it.
        jump = 2 * self._ball.eps * signs(uniform[:, 2:])[:, :, None, None]
        xp = namespace(x0)
        moved = xp.where(windows.mask(), wide(best) + jump, wide(best))
        return self._ball.project(moved, x0)


class _Bumps(_Rule):
    """l2: tiles of bumps, then bumps in one window with the budget of another added."""

    @property
    def draws(self) -> int:
        return 5 + self._planes.channels

    def start(self, x0: Array, numbers: Randomness) -> Array:
        pattern, number, count = tiles(self._planes)
        xp = namespace(x0)
        uniform = numbers.uniform((self._planes.channels, count), 0, x0)
        index = xp.reshape(like(number, x0), (-1,))
        sign = xp.reshape(xp.take(signs(uniform), index, axis=2), x0.shape)
        return self._at_eps(like(pattern, sign) * sign, x0)

    def propose(self, best: Array, x0: Array, share: float, uniform: Array) -> Array:
        xp = namespace(x0)
        delta = wide(best) - wide(x0)
        size = self._planes.window(share, least=_LEAST_BUMP)
        first = Windows.at_random(self._planes, size, uniform[:, :2])
        second = Windows.at_random(self._planes, size, uniform[:, 2:4])
        here = xp.astype(first.mask(), delta.dtype)
        cleared = xp.astype(first.mask() | second.mask(), delta.dtype)
        which = xp.astype(uniform[:, 4] < 0.5, xp.int64)
        bump = first.pick(like(bumps(*size), delta), which) * here
        fresh = bump * signs(uniform[:, 5:])[:, :, None, None] + _unit(delta * here)
        budget = self._unspent(delta) + _squares(delta * cleared)
        return self._at_eps(delta * (1 - cleared) + _unit(fresh) * xp.sqrt(budget), x0)

    def _unspent(self, delta: Array) -> Array:
        """What eps² leaves, for each plane, shape (n, 1, 1, 1)."""
        rest = self._ball.eps**2 - total(delta * delta)
        return column(namespace(delta).clip(rest, 0, None) / self._planes.channels, delta)

    def _at_eps(self, delta: Array, x0: Array) -> Array:
        return self._ball.project(wide(x0) + divided(delta, euclidean(delta)) * self._ball.eps, x0)


_RULES: dict[str, type[_Rule]] = {"linf": _Stripes, "l2": _Bumps}


def _drawn(numbers: Randomness, count: int, queries: int, x: Array) -> Iterator[Array]:
    """Uniform numbers for each query, shape (n, count); draw 0 belongs to the start."""
    for first in range(0, queries, _BLOCK):
        block = numbers.uniform((_BLOCK, count), 1 + first // _BLOCK, x)
        for query in range(min(_BLOCK, queries - first)):
            yield block[:, query, :]


def _squares(planes: Array) -> Array:
    """The sum of squares of each plane, shape (n, channels, 1, 1)."""
    return namespace(planes).sum(planes * planes, axis=(2, 3), keepdims=True)


def _unit(planes: Array) -> Array:
    """Each plane over its norm, shape (n, channels, height, width); zero where that is zero."""
    xp = namespace(planes)
    norm = xp.sqrt(_squares(planes))
    return xp.where(norm > 0, planes / xp.where(norm > 0, norm, xp.ones_like(norm)), planes)


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """See ``square``; without ``objective``, the margin, and without labels that of the scan."""

    queries: int = QUERIES
    p_init: float = P_INIT

    algorithm = "square"
    norms = NORMS
    needs_gradient = False

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        own = None if batch.labels is None else "margin"
        found = square(
            self.oracle(batch, self.objective or own),
            batch.x,
            batch.goal,
            ball,
            numbers=numbers,
            queries=self.queries,
            p_init=self.p_init,
            channel_axis=batch.channel_axis,
        )
        return found.x
