"""The inner maximisation of TRADES."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lsa_onnx.attacks.arrays import Array, namespace
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import Ball
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Goal, Oracle
from lsa_onnx.attacks.pgd import ascend, default_step
from lsa_onnx.attacks.randomness import Randomness

STEPS = 10
# Standard deviation of the start, for a range of width 1.
START = 0.001


def trades(
    oracle: Oracle,
    x: Array,
    y: Goal,
    ball: Ball,
    *,
    numbers: Randomness,
    steps: int = STEPS,
    step_size: float | None = None,
) -> Array:
    """Gradient ascent from x + 0.001 · N(0, 1), as TRADES trains with (Zhang et al. 2019).

    The start is in units of the range's width.

    Args:
        oracle: The model and the objective, for TRADES the KL divergence from the clean answer.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        ball: The threat model.
        numbers: For the start.
        steps: Gradient steps.
        step_size: In units of x; ``None`` for 2.5 · eps / steps.

    Returns:
        The last point, shape and type of ``x``.
    """
    xp = namespace(x)
    normal = numbers.normal(x.shape[1:] or (1,), 0, x)
    normal = xp.astype(xp.reshape(normal, x.shape), x.dtype, copy=False)
    start = ball.project(x + START * (ball.high - ball.low) * normal, x)
    size = default_step(ball.eps, steps) if step_size is None else step_size
    *_, (last, _) = ascend(oracle, x, y, ball, start, steps, size)
    return last


@dataclass(frozen=True, kw_only=True)
class Trades(Attack):
    """See ``trades``; ``step_size`` is in units of the declared range."""

    objective: str | None = "kl"
    steps: int = STEPS
    step_size: float | None = None

    algorithm = "trades"

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        return trades(
            self.oracle(batch),
            batch.x,
            batch.goal,
            ball,
            numbers=numbers,
            steps=self.steps,
            step_size=self.step_size,
        )

    def parameters(self) -> dict[str, Any]:
        """See ``Perturbation.parameters``; the step size is the one that was taken."""
        size = default_step(self.eps, self.steps) if self.step_size is None else self.step_size
        return {**super().parameters(), "step_size": size}
