"""FGSM from a random start."""

from __future__ import annotations

from dataclasses import dataclass

from lsa_onnx.attacks.arrays import Array
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import Ball
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Goal, Oracle, ask_gradient
from lsa_onnx.attacks.randomness import Randomness

STEP_SHARE = 1.25


def fast(
    oracle: Oracle,
    x: Array,
    y: Goal,
    ball: Ball,
    *,
    numbers: Randomness,
    step_share: float = STEP_SHARE,
) -> Array:
    """One step of ``step_share`` · eps from a random point of the ball (Wong et al. 2020).

    Args:
        oracle: The model and the objective.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        ball: The threat model.
        numbers: For the random start.
        step_share: Length of the step, a share of eps.

    Returns:
        Perturbed inputs, shape and type of ``x``.
    """
    start = ball.random_start(x, numbers)
    _, gradient = ask_gradient(oracle, start, y)
    return ball.project(start + step_share * ball.eps * ball.ascent(gradient, start), x)


@dataclass(frozen=True, kw_only=True)
class Fast(Attack):
    """See ``fast``; ``step_share`` is a share of eps."""

    step_share: float = STEP_SHARE

    algorithm = "fast"

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        oracle, share = self.oracle(batch), self.step_share
        return fast(oracle, batch.x, batch.goal, ball, numbers=numbers, step_share=share)
