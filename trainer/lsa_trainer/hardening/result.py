"""What a hardening run reports, as typed records that become JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsa_onnx.files import write_atomically

RESULT_VERSION = "1.0"


@dataclass(frozen=True)
class Share:
    """A score of n samples with its 95 % interval; for accuracies that of Wilson, else ``None``."""

    value: float
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """The model before and after, on samples that training never saw.

    Attributes:
        measure: "accuracy", or "fit" (1 − loss over the variance of the targets) without classes.
        labels: Whether labels came with the data, or are the original model's clean predictions.
        attack: What robust scores were measured with.
        eps: Its strength, as it was asked for.
        clean_before: On clean inputs, before.
        clean_after: Likewise, after.
        robust_before: Under the attack, before.
        robust_after: Likewise, after.
    """

    measure: str
    labels: str
    attack: str
    eps: str
    clean_before: Share
    clean_after: Share
    robust_before: Share
    robust_after: Share

    @property
    def gain(self) -> float:
        """What robust accuracy gained."""
        return self.robust_after.value - self.robust_before.value

    @property
    def drop(self) -> float:
        """What clean accuracy lost."""
        return self.clean_before.value - self.clean_after.value

    def objection(self, max_clean_drop: float) -> str | None:
        """Why the new model is not better, ``None`` if it is."""
        if self.gain <= 0:
            return (
                f"robust {self.measure} under {self.attack} at eps {self.eps} went from "
                f"{self.robust_before.value:.1%} to {self.robust_after.value:.1%}"
            )
        if self.drop > max_clean_drop:
            return (
                f"clean {self.measure} fell from {self.clean_before.value:.1%} to "
                f"{self.clean_after.value:.1%}, by more than --max-clean-drop {max_clean_drop:g}"
            )
        return None


@dataclass(frozen=True)
class Hardened:
    """A whole run.

    Attributes:
        model: The file that was hardened.
        model_sha256: Its digest.
        output: The file that was written; ``None`` where it was not better.
        objection: Why it is not better, ``None`` if it is.
        layers: What was regularised, with γ.
        layers_from: Where that list came from.
        trainable: Numbers that were trained.
        weights: Numbers that the file holds as weights.
        best_step: Step of the chosen weights.
        steps: Steps that were done.
        comparison: Before and after.
        changes: Layer-wise: tensor → relative change of its weights.
        history: What validations found.
        notes: What else there is to know.
        config: Every option.
        seconds: Duration.
    """

    model: str
    model_sha256: str
    output: str | None
    objection: str | None
    layers: dict[str, float]
    layers_from: str
    trainable: int
    weights: int
    best_step: int
    steps: int
    comparison: Comparison
    changes: dict[str, float]
    history: list[dict[str, Any]]
    notes: list[str]
    config: Mapping[str, Any]
    seconds: float
    kind: str = "hardening"
    schema_version: str = RESULT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)

    def write(self, path: Path) -> None:
        """Write them as a JSON file.

        Raises:
            DataError: The file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        write_atomically(path, text.encode("ascii") + b"\n")
