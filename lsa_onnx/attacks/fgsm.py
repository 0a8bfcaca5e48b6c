"""The fast gradient sign method and its versions in other norms."""

from __future__ import annotations

from dataclasses import dataclass

from lsa_onnx.attacks.arrays import Array
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import Ball
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Goal, Oracle, ask_gradient
from lsa_onnx.attacks.randomness import Randomness

# Share of the way to a random point of the ball.
_NEARBY = 0.1


def fgsm(
    oracle: Oracle, x: Array, y: Goal, ball: Ball, *, numbers: Randomness | None = None
) -> Array:
    """One step of length eps along the gradient (Goodfellow et al. 2015).

    Args:
        oracle: The model and the objective.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        ball: The threat model.
        numbers: For objectives that measure how far the answer moves from that at ``x``: their gradient
            there is zero but for rounding, so that at a random point nearby is taken. ``None`` for all
            other objectives.

    Returns:
        Perturbed inputs, shape and type of ``x``. Where the gradient is zero, ``x``.
    """
    point = x
    if numbers is not None:
        point = ball.project(x + _NEARBY * (ball.random_start(x, numbers) - x), x)
    _, gradient = ask_gradient(oracle, point, y)
    return ball.project(x + ball.eps * ball.ascent(gradient, x), x)


@dataclass(frozen=True, kw_only=True)
class Fgsm(Attack):
    """See ``fgsm``."""

    algorithm = "fgsm"

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        chosen = numbers if self.aims_away_from_x(batch) else None
        return fgsm(self.oracle(batch), batch.x, batch.goal, ball, numbers=chosen)
