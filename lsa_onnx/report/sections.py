"""Records that every document shares: the model, its input, the data, an accuracy, a warning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Accuracy:
    """A share of ``n`` samples with its 95 % Wilson interval: of those whose label was predicted.

    The success of an attack has the same form.
    """

    value: float
    n: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class ValueDescription:
    """A graph input or output. ``batch`` tells what its leading dimension is."""

    name: str
    shape: list[int | str | None] | None
    dtype: str
    batch: Literal["free", "fixed", "absent"]


@dataclass(frozen=True)
class FileDigest:
    """A file, its size and the SHA-256 of its content in lower-case hexadecimal digits."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ModelSection:
    """The model under audit.

    ``logits`` is the tensor that classes are read from, if any; ``custom_ops`` are the libraries whose
    operators it was run with.
    """

    file: FileDigest
    sidecars: list[FileDigest]
    ir_version: int
    opsets: dict[str, int]
    producer: str
    nodes: int
    parameters: int
    inputs: list[ValueDescription]
    outputs: list[ValueDescription]
    logits: str | None
    logits_found: str
    custom_ops: list[FileDigest] = field(default_factory=list)


@dataclass(frozen=True)
class InputSection:
    """How inputs were prepared.

    ``range`` is the declared value range, the units in which eps and strengths are given.
    """

    name: str
    range: tuple[float, float]
    mean: list[float] | None
    std: list[float] | None
    layout: str | None
    source: Literal["default", "flags", "sidecar"]
    notes: list[str]


@dataclass(frozen=True)
class DataSection:
    """The samples that were run: ``samples`` of the ``available`` ones of ``source``."""

    source: str
    synthetic: bool
    fingerprint: str
    available: int
    samples: int
    labels: bool
    classes: list[str] | None
    notes: list[str]


@dataclass(frozen=True)
class ReportWarning:
    """What limits the figures.

    ``code`` is stable and documented (docs/warnings.md); ``message`` is one line in plain words.
    """

    code: str
    message: str


@dataclass(frozen=True)
class GateOutcome:
    """What a gate found (``--fail-on``, ``--baseline``).

    ``expression`` is as the user wrote it, ``measured`` says in words what was looked at and ``value``
    what it was, ``None`` where it is undefined. ``status`` is "known" where the gate would fail and
    failed no less in the baseline.
    """

    expression: str
    measured: str
    value: float | None
    status: Literal["passed", "failed", "known"]
    note: str | None
