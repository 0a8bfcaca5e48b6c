"""Several attempts at the same samples, each at what the ones before could not break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lsa_onnx.attacks.arrays import Array, namespace
from lsa_onnx.attacks.oracle import Found, Goal, goal_rows, worse
from lsa_onnx.attacks.randomness import Randomness
from lsa_onnx.errors import DataError

# (x, y, numbers) of some samples → the worst points found for them.
Stage: TypeAlias = Callable[[Array, Goal, Randomness], Found]


def in_turn(stages: Sequence[Stage], x: Array, y: Goal, numbers: Randomness) -> Found:
    """The worst of all stages for each sample; one that is broken is not attacked again.

    Args:
        stages: At least one.
        x: Clean inputs, shape (n, ...).
        y: What the objective aims at.
        numbers: Of these samples.

    Raises:
        DataError: There is no stage.
    """
    if not stages:
        raise DataError("0 restarts are not usable; give 1 or more")
    found = stages[0](x, y, numbers)
    for stage in stages[1:]:
        left = found.unbroken
        if not namespace(left).any(left):
            break
        part = stage(x[left], goal_rows(y, left), numbers.rows(left))
        found = found.replaced(left, worse(found.rows(left), part))
    return found
