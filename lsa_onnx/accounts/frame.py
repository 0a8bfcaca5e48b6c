"""All that a report needs beside what was measured of each sample."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.decode import decode_record, with_lists
from lsa_onnx.report.document import (
    DataSection,
    InputSection,
    LayerInfo,
    ModelSection,
    NotScored,
    ReportWarning,
    RunSection,
)

Labels = Literal["given", "predicted", "none"]


@dataclass(frozen=True)
class AttackFacts:
    """What an attack was.

    Attributes:
        norm: In which ``eps`` is measured.
        eps: In units of the declared range.
        objective: What it maximised.
        labels: Where the labels came from that it fought.
        white_box: Whether it knew the model's gradient.
        noise: What random noise of the same norm is called.
    """

    norm: Literal["linf", "l2", "l1"]
    eps: float
    objective: str
    labels: Labels
    white_box: bool
    noise: str


@dataclass(frozen=True)
class Applied:
    """A perturbation; ``attack`` is ``None`` for what is none."""

    name: str
    kind: Literal["noise", "attack", "pairs"]
    parameters: dict[str, Any]
    attack: AttackFacts | None


@dataclass(frozen=True)
class Frame:
    """What a scan settles about model, data and run.

    Attributes:
        tool_version: Of lsa-onnx.
        created: Date and time in UTC, ISO 8601.
        model: As in the report.
        input: Likewise.
        data: Likewise, of all samples, also for a shard.
        run: Likewise.
        layers: What is scored, in order.
        sizes: Elements per sample of each layer.
        not_scored: As in the report.
        applied: The perturbations, in order.
        step: Samples that are entered at a time: sums depend on it in their last bits.
        eta: Cut-off η of Algorithm 1.
        top_k: List the k layers with the largest mean CM instead.
        classes: Number of classes, where it is known.
        logit: The output that is read as one logit per sample, if any.
        doubts: What was doubtful before anything was scored.
        batch_note: Why the model ran sample by sample, if so.
        compared: Samples whose clean outputs were compared with those of the untouched model.
        repeatable: Whether two runs of the untouched model agreed.
        expect_accuracy: The gate on clean accuracy, if any.
    """

    tool_version: str
    created: str
    model: ModelSection
    input: InputSection
    data: DataSection
    run: RunSection
    layers: list[LayerInfo]
    sizes: list[int]
    not_scored: list[NotScored]
    applied: list[Applied]
    step: int
    eta: float
    top_k: int | None
    classes: int | None
    logit: str | None
    doubts: list[ReportWarning]
    batch_note: str | None
    compared: int
    repeatable: bool
    expect_accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Frame:
        """The inverse of ``to_dict``.

        Raises:
            Misfit: The values are not those of a frame.
        """
        return decode_record(cls, values, "frame")
