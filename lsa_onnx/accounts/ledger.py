"""What an attack did, added up batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.frame import AttackFacts, Labels
from lsa_onnx.accounts.records import Classes, Clean, Flags
from lsa_onnx.accounts.shares import all_classes, share_of
from lsa_onnx.report.document import Accuracy, AttackOutcome, Baseline

Array = NDArray[Any]


class Ledger:
    """Predictions of the untouched model under one attack, and what was found out about gradients."""

    def __init__(self) -> None:
        self._classes: list[Classes | None] = []
        self._saturated: list[Flags | None] = []
        self._flat: list[Flags | None] = []

    def add(self, classes: Classes | None, saturated: Flags | None, flat: Flags | None) -> None:
        """Take in a batch.

        Args:
            classes: What the untouched model says of what the attack made, shape (n,).
            saturated: Whether the cross-entropy has no gradient left in single precision, shape (n,).
            flat: Whether the gradient is 0, shape (n,).
        """
        self._classes.append(classes)
        self._saturated.append(saturated)
        self._flat.append(flat)

    @property
    def classes(self) -> Classes | None:
        """Predicted class of each perturbed sample so far, shape (n,)."""
        return all_classes(self._classes)

    @property
    def saturated(self) -> float | None:
        """Share of samples whose cross-entropy has no gradient left in single precision."""
        return _share(self._saturated)

    @property
    def flat(self) -> float | None:
        """Share of samples whose gradient is 0, whatever the objective's scale."""
        return _share(self._flat)

    def outcome(self, facts: AttackFacts, clean: Clean, baseline: Baseline | None) -> AttackOutcome:
        """What the report says of the attack, all samples added."""
        success, robust = _verdicts(self.classes, clean, facts.labels)
        vanished = [share for share in (self.saturated, self.flat) if share is not None]
        return AttackOutcome(
            norm=facts.norm,
            eps=facts.eps,
            objective=facts.objective,
            labels=facts.labels,
            success=success,
            robust_accuracy=robust,
            vanished=max(vanished, default=None),
            white_box=facts.white_box,
            baseline=baseline,
        )


def _verdicts(
    predicted: Array | None, clean: Clean, kind: Labels
) -> tuple[Accuracy | None, Accuracy | None]:
    """Success over initially right samples, and robust accuracy over all labelled ones."""
    labels = clean.labels if clean.labels is not None else clean.classes
    if predicted is None or clean.classes is None or labels is None:
        return None, None
    right = clean.classes == labels
    broken = right & (predicted != labels)
    success = share_of(int(broken.sum()), int(right.sum())) if right.any() else None
    robust = share_of(int((right & ~broken).sum()), len(labels)) if kind == "given" else None
    return success, robust


def _share(parts: Sequence[Flags | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return float(np.concatenate(known).mean()) if known else None
