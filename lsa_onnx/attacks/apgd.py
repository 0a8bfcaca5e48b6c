"""APGD: gradient ascent that sets its own step size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lsa_onnx.attacks.apgd_steps import Halving, Peak, SparseSteps, Steps
from lsa_onnx.attacks.arrays import Array
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import L1, Ball, Projection
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Found, Goal, Oracle, ask_gradient, worse
from lsa_onnx.attacks.randomness import Randomness
from lsa_onnx.attacks.stages import in_turn

STEPS = 100
RHO = 0.75


def apgd(
    oracle: Oracle,
    x: Array,
    y: Goal,
    ball: Ball,
    *,
    numbers: Randomness,
    steps: int = STEPS,
    restarts: int = 1,
    rho: float = RHO,
) -> Found:
    """Auto-PGD (Croce & Hein 2020, Alg. 1); in the l1 norm, that of Croce & Hein 2021.

    Args:
        oracle: The model and the objective.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        ball: The threat model.
        numbers: For the random starts.
        steps: Gradient steps of each start.
        restarts: Random starts; those after the first are spared what is broken.
        rho: A step size is halved when fewer than this share of its steps raised the loss; without
            effect in the l1 norm.

    Returns:
        For each sample the worst point of all that were visited: a broken one before any other, then
        that of the highest loss.
    """

    def climb(restart: int, x: Array, y: Goal, numbers: Randomness) -> Found:
        return _climb(oracle, x, y, ball, ball.random_start(x, numbers, restart), steps, rho)

    return in_turn([partial(climb, restart) for restart in range(restarts)], x, y, numbers)


def _climb(
    oracle: Oracle, x: Array, y: Goal, ball: Ball, start: Array, steps: int, rho: float
) -> Found:
    """The worst point that one start leads to."""
    answer, gradient = ask_gradient(oracle, start, y)
    found = Found.of(start, answer)
    here = peak = Peak(start, found.loss, gradient)
    rule, before = _rule(ball, peak, x, steps, rho), start
    within = ball.around(x)
    for done in range(1, steps):
        after = _step(rule, within, before, here)
        answer, gradient = ask_gradient(oracle, after, y)
        visited = Found.of(after, answer)
        found = worse(found, visited)
        there = Peak(after, visited.loss, gradient)
        peak = peak.risen(there)
        back = rule.back(done, there.loss > here.loss, peak)
        before = here.x
        here = there if back is None else there.replaced(back, peak)
    last = _step(rule, within, before, here)
    return worse(found, Found.of(last, oracle(last, y, gradient=False)))


def _step(rule: Steps, within: Projection, before: Array, here: Peak) -> Array:
    """The next point: a projected step, mixed with the step from ``before`` to ``here``."""
    target = within(rule.move(here.x, here.gradient))
    # The first step repeats none.
    if before is here.x or rule.alpha == 1:
        return target
    mixed = here.x + rule.alpha * (target - here.x) + (1 - rule.alpha) * (here.x - before)
    return within(mixed)


def _rule(ball: Ball, start: Peak, x: Array, steps: int, rho: float) -> Steps:
    if isinstance(ball, L1):
        return SparseSteps(ball, start, x, steps)
    return Halving(ball, start, steps, rho)


@dataclass(frozen=True, kw_only=True)
class Apgd(Attack):
    """See ``apgd``."""

    steps: int = STEPS
    restarts: int = 1
    rho: float = RHO

    algorithm = "apgd"

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        found = apgd(
            self.oracle(batch),
            batch.x,
            batch.goal,
            ball,
            numbers=numbers,
            steps=self.steps,
            restarts=self.restarts,
            rho=self.rho,
        )
        return found.x
