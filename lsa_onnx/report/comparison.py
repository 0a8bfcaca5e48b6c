"""What changed between two scans, or two evaluations, as typed records.

``Comparison.to_dict`` gives JSON-ready values like ``Report.to_dict``. The first document is called
"before", the second "after": a baseline and what is held to it, a float model and its quantised form.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.sections import Accuracy, DataSection, FileDigest, GateOutcome

COMPARISON_VERSION = "1.0"

Verdict = Literal["better", "worse", "same", "undefined"]
Matched = Literal["name", "node", "path"]


@dataclass(frozen=True)
class Compared:
    """One of the two: the file that was given, and the model that it is or tells of."""

    source: str
    model: FileDigest
    created: str
    tool_version: str


@dataclass(frozen=True)
class AccuracyChange:
    """An accuracy before and after.

    ``difference`` is after − before, −1 to 1, with its 95 % ``interval``: that of a bootstrap over the
    samples that both models met where both documents tell of each, else Newcombe's, of two shares.
    The verdict is "worse" where all of the interval is below 0, "better" where all of it is above.
    """

    before: Accuracy
    after: Accuracy
    difference: float
    interval: tuple[float, float]
    method: Literal["paired bootstrap", "Newcombe"]
    verdict: Verdict


@dataclass(frozen=True)
class Movement:
    """How far a layer moved: its mean CM with the 95 % ``interval``, the mean ‖Δφ‖, its MVL rank."""

    cm: float | None
    interval: tuple[float, float] | None
    absolute: float | None
    rank: int | None


@dataclass(frozen=True)
class LayerChange:
    """A layer before and after.

    ``number`` is its place in the report before, ``tensor`` its name there and ``other`` that in the
    report after; ``matched`` says by what they were found to be one layer. ``change`` is the mean CM
    after over that before, minus 1. The verdict is "worse" where the interval after lies above that
    before, "better" where it lies below, "same" where they overlap. ``note`` says where the CM changed
    because the clean norm did.
    """

    number: int
    tensor: str
    other: str
    matched: Matched
    before: Movement
    after: Movement
    change: float | None
    verdict: Verdict
    note: str | None


@dataclass(frozen=True)
class PerturbationChange:
    """One perturbation at one strength, in both documents.

    ``strength`` is an eps in units of the declared range, of a noise its share. ``newcomers`` are in the
    MVL list after and were not before, ``leavers`` the reverse, each by its name in its own report. An
    evaluation has accuracies alone.
    """

    name: str
    strength: float | None
    settings: dict[str, Any]
    accuracy: AccuracyChange | None
    flips_before: float | None
    flips_after: float | None
    mu_before: float | None
    mu_after: float | None
    layers: list[LayerChange]
    newcomers: list[str]
    leavers: list[str]


@dataclass(frozen=True)
class ScoreChange:
    """The R&G score of an attack, and its difference with the 95 % interval of a paired bootstrap."""

    attack: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    verdict: Verdict


@dataclass(frozen=True)
class Unmatched:
    """A layer that one of the two models has alone, and why no other was found for it."""

    side: Literal["before", "after"]
    tensor: str
    reason: str


@dataclass(frozen=True)
class Regression:
    """What is worse beyond chance: an accuracy, or a layer that came into the MVL list.

    ``perturbation`` is ``None`` for the clean accuracy, ``layer`` for an accuracy; ``told`` is a sentence.
    """

    perturbation: str | None
    layer: str | None
    told: str


@dataclass(frozen=True)
class Comparison:
    """Two documents, compared on what both hold.

    ``headline`` is the perturbation whose layers are judged: that of the report before where both ran it,
    else that of the report after; ``None`` where there is none. ``agreement`` is the share of the clean
    samples of which both models say the same, ``None`` where they were not run for this.
    """

    tool_version: str
    created: str
    of: Literal["scans", "evaluations"]
    before: Compared
    after: Compared
    data: DataSection
    range: tuple[float, float]
    agreement: Accuracy | None
    clean: AccuracyChange | None
    headline: str | None
    perturbations: list[PerturbationChange]
    scores: list[ScoreChange]
    unmatched: list[Unmatched]
    regressions: list[Regression]
    notes: list[str]
    gates: list[GateOutcome]
    command: list[str]
    schema_version: str = COMPARISON_VERSION
    kind: Literal["comparison"] = "comparison"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, fields in the order of this class, arrays as lists."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Comparison:
        """Rebuild a comparison from what ``json.loads`` gave for it.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown
                field, or a value of the wrong type.
        """
        return decode_document(cls, values, "comparison", COMPARISON_VERSION)
