"""What can become of a case."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path


class Outcome(str, Enum):
    """What became of a case; the last three are defects."""

    DONE = "exit 0"
    GATE = "exit 1"
    DATA = "exit 2"
    MODEL = "exit 3"
    DEVICE = "exit 4"
    UNSAFE = "exit 5"
    CONTAINED = "contained"
    DEFECT = "defect"
    CRASH = "crash"
    HANG = "hang"

    @property
    def is_defect(self) -> bool:
        """Whether something is to be mended."""
        return self in (Outcome.DEFECT, Outcome.CRASH, Outcome.HANG)


# By exit code; click's own codes are among them.
BY_CODE = (
    Outcome.DONE,
    Outcome.GATE,
    Outcome.DATA,
    Outcome.MODEL,
    Outcome.DEVICE,
    Outcome.UNSAFE,
)
MEANINGS = {
    Outcome.DONE: "it was read and the command did its work",
    Outcome.GATE: "a gate failed: two models differ, a hardening is not better",
    Outcome.DATA: "refused in one line: the data, an option or a path",
    Outcome.MODEL: "refused in one line: the model",
    Outcome.DEVICE: "refused in one line: the device",
    Outcome.UNSAFE: "refused in one line: the model file is unsafe",
    Outcome.CONTAINED: "it ended or stopped the process of the fuzzer; the command line itself ends in order",
    Outcome.DEFECT: "a traceback, another exit code, a file touched, a message that is not one clean line",
    Outcome.CRASH: "the command line itself dies of a signal",
    Outcome.HANG: "the command line itself does not end in time",
}


@dataclass(frozen=True)
class Ran:
    """What became of one command.

    Attributes:
        outcome: In a word.
        detail: The message on stderr; for a defect, what is wrong.
        cause: What cases of one cause have in common: the error and the place in the project.
        seconds: That it took.
        command: Its first word.
    """

    outcome: Outcome
    detail: str = ""
    cause: str = ""
    seconds: float = 0.0
    command: str = ""


@dataclass(frozen=True)
class Finding:
    """A case to look at again."""

    kind: str
    seed: int
    command: str
    outcome: Outcome
    cause: str
    detail: str


@dataclass(frozen=True)
class Summary:
    """A run, as it is kept and as its page tells it.

    Attributes:
        first: Number of the first case.
        cases: How many were run.
        minutes: That it took.
        machine: In words.
        versions: Package → version.
        limit_s: Seconds that a case may take.
        memory_mib: That it may take.
        outcomes: Kind → outcome → number of cases.
        commands: Kind → command → number of cases.
        whole: How many were also run by the command line itself.
        findings: Defects, and cases that the command line contained.
        again: The same cases, run once more after something was mended; none if that was not done.
    """

    first: int
    cases: int
    minutes: float
    machine: str
    versions: dict[str, str]
    limit_s: float
    memory_mib: int
    outcomes: dict[str, dict[str, int]]
    commands: dict[str, dict[str, int]]
    whole: int
    findings: list[Finding]
    again: list[Finding] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Summary:
        """What ``write`` kept."""
        held = json.loads(path.read_text(encoding="utf-8"))
        found = {
            name: [Finding(**{**each, "outcome": Outcome(each["outcome"])}) for each in held[name]]
            for name in ("findings", "again")
            if name in held
        }
        return cls(**{**held, **found})
