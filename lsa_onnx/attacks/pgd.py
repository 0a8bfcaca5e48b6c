"""Projected gradient descent on the negated loss, with restarts and momentum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from lsa_onnx.attacks.arrays import Array, divided, elements, finite, namespace, total, wide
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import Ball
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Answer, Found, Goal, Oracle, ask_gradient, worse
from lsa_onnx.attacks.randomness import Randomness
from lsa_onnx.attacks.stages import in_turn

STEPS = 20
# Steps add up to this many times eps unless a step size is given (Madry et al. 2018).
REACH = 2.5


def pgd(
    oracle: Oracle,
    x: Array,
    y: Goal,
    ball: Ball,
    *,
    numbers: Randomness,
    steps: int = STEPS,
    step_size: float | None = None,
    restarts: int = 1,
    momentum: float = 0.0,
) -> Found:
    """Projected gradient ascent on the loss from random starts (Madry et al. 2018).

    Args:
        oracle: The model and the objective.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        ball: The threat model.
        numbers: For the random starts.
        steps: Gradient steps of each start.
        step_size: In units of x; ``None`` for 2.5 · eps / steps.
        restarts: Random starts; those after the first are spared what is broken.
        momentum: Decay of the gradients of earlier steps (MI-FGSM, Dong et al. 2018); 0 for none.

    Returns:
        For each sample the worst point of all that were visited: a broken one before any other, then
        that of the highest loss.
    """
    size = default_step(ball.eps, steps) if step_size is None else step_size

    def climb(restart: int, x: Array, y: Goal, numbers: Randomness) -> Found:
        start = ball.random_start(x, numbers, restart)
        points = ascend(oracle, x, y, ball, start, steps, size, momentum)
        visited = (Found.of(at, said or oracle(at, y, gradient=False)) for at, said in points)
        return reduce(worse, visited)

    return in_turn([partial(climb, restart) for restart in range(restarts)], x, y, numbers)


def default_step(eps: float, steps: int) -> float:
    """The step size for a number of steps, in units of x."""
    return REACH * eps / steps


def ascend(
    oracle: Oracle,
    x: Array,
    y: Goal,
    ball: Ball,
    start: Array,
    steps: int,
    step_size: float,
    momentum: float = 0.0,
) -> Iterator[tuple[Array, Answer | None]]:
    """The points of projected gradient ascent from ``start``, with the oracle's answers there.

    Yields:
        ``steps`` points, each with its answer, and the last one, which was not asked for yet.
    """
    point = start
    direction, within = namespace(x).zeros_like(x), ball.around(x)
    for _ in range(steps):
        answer, gradient = ask_gradient(oracle, point, y)
        yield point, answer
        direction = momentum * direction + _normalised(gradient) if momentum else gradient
        point = within(point + step_size * ball.ascent(direction, point))
    yield point, None


def _normalised(gradient: Array) -> Array:
    """The gradient over its mean absolute value, sample by sample; float32 for half precision."""
    gradient = wide(finite(gradient))
    mean = total(namespace(gradient).abs(gradient)) / max(elements(gradient), 1)
    return divided(gradient, mean)


@dataclass(frozen=True, kw_only=True)
class Pgd(Attack):
    """See ``pgd``; ``step_size`` is in units of the declared range."""

    steps: int = STEPS
    restarts: int = 1
    step_size: float | None = None
    momentum: float = 0.0

    algorithm = "pgd"

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        found = pgd(
            self.oracle(batch),
            batch.x,
            batch.goal,
            ball,
            numbers=numbers,
            steps=self.steps,
            step_size=self.step_size,
            restarts=self.restarts,
            momentum=self.momentum,
        )
        return found.x

    def parameters(self) -> dict[str, Any]:
        """See ``Perturbation.parameters``; the step size is the one that was taken."""
        size = default_step(self.eps, self.steps) if self.step_size is None else self.step_size
        return {**super().parameters(), "step_size": size}
