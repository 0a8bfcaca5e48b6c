"""What can become of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Outcome(str, Enum):
    """What became of a case, or of one input of it."""

    CHECKED = "checked"
    PART = "checked in part"
    ZERO = "zero by definition"
    ESTIMATE = "straight-through estimate"
    RANDOM = "random"
    REFUSED = "refused"
    NOT_RUN = "not run by ONNX Runtime"
    NO_INPUT = "no float input"
    NO_OUTPUT = "no float output"
    NOT_SMOOTH = "not smooth"
    DISAGREES = "disagrees"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """An outcome and, where it needs one, its reason."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of a case, and of each of its float inputs."""

    name: str
    group: str
    outcome: Outcome
    reason: str = ""
    inputs: Mapping[str, Verdict] = field(default_factory=dict)
