"""A fixed set of attacks, each on what the ones before could not break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from lsa_onnx.attacks.apgd import STEPS, apgd
from lsa_onnx.attacks.arrays import Array
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.balls import Ball
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Found, Goal, Oracle
from lsa_onnx.attacks.randomness import Randomness
from lsa_onnx.attacks.square import NORMS, QUERIES, square
from lsa_onnx.attacks.stages import Stage, in_turn

# Name of an objective, ``None`` for the default → the oracle.
Oracles: TypeAlias = Callable[[str | None], Oracle]


def auto(
    oracles: Oracles,
    x: Array,
    y: Goal,
    ball: Ball,
    *,
    numbers: Randomness,
    labelled: bool = True,
    steps: int = STEPS,
    restarts: int = 1,
    queries: int = QUERIES,
    channel_axis: int | None = None,
) -> Found:
    """APGD on the cross-entropy, APGD on the DLR loss, then Square, as in AutoAttack.

    Croce & Hein 2020, Sec. 6, without the targeted attacks. A sample that one attack breaks is left
    to it. Without labels: APGD on the default objective, then Square on the same.

    Args:
        oracles: The model under an objective, by the objective's name.
        x: Clean inputs, shape (n, ...).
        y: What the objectives aim at.
        ball: The threat model, linf or l2.
        numbers: For random starts and windows.
        labelled: Whether ``y`` holds labels.
        steps: Of APGD.
        restarts: Of APGD.
        queries: Of Square.
        channel_axis: See ``square``.

    Returns:
        The worst point for each sample: that of the least margin, without labels that of the highest
        loss.
    """

    def climb(objective: str | None, x: Array, y: Goal, numbers: Randomness) -> Found:
        oracle = oracles(objective)
        found = apgd(oracle, x, y, ball, numbers=numbers, steps=steps, restarts=restarts)
        return _comparable(found)

    def search(objective: str | None, x: Array, y: Goal, numbers: Randomness) -> Found:
        oracle, axis = oracles(objective), channel_axis
        found = square(oracle, x, y, ball, numbers=numbers, queries=queries, channel_axis=axis)
        return _comparable(found)

    stages: list[Stage] = [partial(climb, None), partial(search, None)]
    if labelled:
        stages = [partial(climb, "ce"), partial(climb, "dlr"), partial(search, "margin")]
    return in_turn(stages, x, y, numbers)


def _comparable(found: Found) -> Found:
    """With the negated margin for a loss: the losses of two objectives have no common scale."""
    return found if found.margin is None else found._replace(loss=-found.margin)


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """See ``auto``; an ``objective`` counts where there are no labels."""

    steps: int = STEPS
    restarts: int = 1
    queries: int = QUERIES

    algorithm = "auto"
    norms = NORMS
    cumulative = True

    def objectives(self, *, labelled: bool) -> tuple[str | None, ...]:
        """See ``Attack.objectives``; Square comes with each of them."""
        return ("ce", "dlr") if labelled else (self.objective,)

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """See ``Attack.search``."""
        found = auto(
            partial(self.oracle, batch),
            batch.x,
            batch.goal,
            ball,
            numbers=numbers,
            labelled=batch.labels is not None,
            steps=self.steps,
            restarts=self.restarts,
            queries=self.queries,
            channel_axis=batch.channel_axis,
        )
        return found.x
