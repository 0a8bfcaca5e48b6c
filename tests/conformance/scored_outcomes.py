"""What can become of a case when all of its tensors are to be scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Fate(str, Enum):
    """What became of a case."""

    SCORED = "scored"
    EXPLAINED = "explained"
    RANDOM = "random"
    NO_INPUT = "nothing to perturb"
    NO_ARRAY = "no numpy type"
    REFUSED = "refused"
    NOT_RUN = "not run by ONNX Runtime"
    UNACCOUNTED = "unaccounted"
    CHANGED = "changed"
    ERROR = "error"


DEFECTS = frozenset({Fate.UNACCOUNTED, Fate.CHANGED, Fate.ERROR})


@dataclass(frozen=True)
class Account:
    """What became of a case, and of its tensors.

    Attributes:
        name: Its name.
        group: Its group.
        fate: The outcome.
        reason: Why, where the outcome has a reason; what is wrong for a defect.
        exposed: How many tensors are exposed, and scored where there is something to perturb.
        not_scored: Reason, without names → how many tensors are not.
        exact: Whether the outputs keep every bit under optimisation too, ``None`` where that was not
            looked at.
    """

    name: str
    group: str
    fate: Fate
    reason: str = ""
    exposed: int = 0
    not_scored: Mapping[str, int] = field(default_factory=dict)
    exact: bool | None = None
