"""What a hardening found: a model before and after, what was done to it, as typed records.

``Hardening.to_dict`` gives JSON-ready values like ``Report.to_dict``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from lsa_onnx.report.conveniences import Readable
from lsa_onnx.report.decode import decode_document, with_lists
from lsa_onnx.report.sections import FileDigest

HARDENING_VERSION = "1.0"


@dataclass(frozen=True)
class Share:
    """A score of ``n`` samples, 1 at best.

    ``interval`` is the 95 % Wilson interval of an accuracy, ``None`` for a fit, which is no share
    of samples and may be below 0.
    """

    value: float
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """The model before and after, on samples that training never saw.

    ``measure`` is "accuracy", or "fit" (1 − loss over the variance of the targets) for a model
    without classes. With ``labels`` "predicted" the original model's clean predictions stand for
    labels. Robust scores are those under ``attack``; ``eps`` is how its strength in ``norm`` was
    asked for ("8/255").
    """

    measure: Literal["accuracy", "fit"]
    labels: Literal["given", "predicted"]
    attack: str
    eps: str
    norm: str
    clean_before: Share
    clean_after: Share
    robust_before: Share
    robust_after: Share

    @property
    def gain(self) -> float:
        """What the robust score gained."""
        return self.robust_after.value - self.robust_before.value

    @property
    def drop(self) -> float:
        """What the clean score lost."""
        return self.clean_before.value - self.clean_after.value

    def objection(self, max_clean_drop: float) -> str | None:
        """Why the new model is not better, ``None`` if it is."""
        if self.gain <= 0:
            return (
                f"robust {self.measure} under {self.attack} at eps {self.eps} went from "
                f"{self._told(self.robust_before)} to {self._told(self.robust_after)}"
            )
        if self.drop > max_clean_drop:
            return (
                f"clean {self.measure} fell from {self._told(self.clean_before)} to "
                f"{self._told(self.clean_after)}, by more than --max-clean-drop {max_clean_drop:g}"
            )
        return None

    def _told(self, score: Share) -> str:
        return f"{score.value:.1%}" if self.measure == "accuracy" else f"{score.value:.3f}"


@dataclass(frozen=True)
class Validation:
    """Scores on the validation samples after ``step`` training steps; step 0 is the original.

    ``one_step`` and ``robust`` are under one and under many gradient steps of the training attack's
    eps. They choose the step whose weights are compared; the verdict is passed on other samples.
    """

    step: int
    clean: float
    one_step: float
    robust: float


@dataclass(frozen=True)
class Hardening(Readable):
    """A whole hardening of ``model``.

    ``output`` is the file that was written, ``None`` where none was; ``files`` lists it and its
    files of external weights as they were when they were written; ``objection`` says why the new
    weights are not better, ``None`` if they are: a file that was written all the same was forced.
    ``max_clean_drop`` is how much clean score might go. ``layers`` maps each regularised tensor to
    its γ, ``layers_from`` says where that list came from. ``trainable`` of ``weights`` numbers
    trained; those of step ``best_step`` of ``steps`` were chosen. ``changes`` maps each trained
    tensor to ‖W′ − W‖ / ‖W‖ (over 1 where W is 0). ``config`` holds every option, ``folder`` the
    checkpoints and the log.
    """

    tool_version: str
    created: str
    model: str
    model_sha256: str
    output: str | None
    files: list[FileDigest]
    objection: str | None
    max_clean_drop: float
    layers: dict[str, float]
    layers_from: str
    trainable: int
    weights: int
    best_step: int
    steps: int
    comparison: Comparison
    changes: dict[str, float]
    history: list[Validation]
    notes: list[str]
    config: dict[str, Any]
    folder: str
    command: list[str]
    seconds: float
    schema_version: str = HARDENING_VERSION
    kind: Literal["hardening"] = "hardening"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, fields in the order of this class, arrays as lists."""
        return {name: with_lists(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: object) -> Hardening:
        """Rebuild a hardening from what ``json.loads`` gave for it.

        Raises:
            DataError: It is another document, of another schema version, has a missing or unknown
                field, or a value of the wrong type.
        """
        return decode_document(cls, values, "hardening", HARDENING_VERSION)
