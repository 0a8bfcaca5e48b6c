"""What an attack did, added up batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Attack, Batch
from lsa_onnx.report.document import Accuracy, AttackOutcome, Baseline
from lsa_onnx.scanning.adversary import Adversary, Diagnosis, Labels
from lsa_onnx.scanning.clean import CleanRun, all_classes, share_of

Array = NDArray[Any]


class Ledger:
    """Predictions of the untouched model under one attack, and what was found out about gradients."""

    def __init__(self, attack: Attack, adversary: Adversary, clean: CleanRun) -> None:
        """Start with nothing.

        Args:
            attack: The attack.
            adversary: What it is given of the model.
            clean: What the untouched model says of the clean samples.
        """
        self._attack = attack
        self._adversary = adversary
        self._clean = clean
        self._classes: list[NDArray[np.int64] | None] = []
        self._diagnoses: list[Diagnosis] = []

    def add(self, batch: Batch, predicted: NDArray[np.int64] | None) -> None:
        """Take in a batch.

        Args:
            batch: What the attack was given.
            predicted: What the untouched model says of what the attack made, shape (n,).
        """
        self._classes.append(predicted)
        if self._attack.needs_gradient:
            self._diagnoses.append(self._adversary.diagnose(self._attack, batch))

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """Predicted class of each perturbed sample so far, shape (n,)."""
        return all_classes(self._classes)

    @property
    def saturated(self) -> float | None:
        """Share of samples whose cross-entropy has no gradient left in single precision."""
        return _share([diagnosis.saturated for diagnosis in self._diagnoses])

    @property
    def flat(self) -> float | None:
        """Share of samples whose gradient is 0, whatever the objective's scale."""
        return _share([diagnosis.flat for diagnosis in self._diagnoses])

    def outcome(self, baseline: Baseline | None) -> AttackOutcome:
        """What the report says of the attack, all samples added."""
        attack, kind = self._attack, self._adversary.labels
        success, robust = _verdicts(self.classes, self._clean.classes, self._labels, kind)
        vanished = [share for share in (self.saturated, self.flat) if share is not None]
        return AttackOutcome(
            norm=attack.norm,
            eps=attack.eps,
            objective=attack.objective or self._adversary.default,
            labels=kind,
            success=success,
            robust_accuracy=robust,
            vanished=max(vanished, default=None),
            white_box=attack.needs_gradient,
            baseline=baseline,
        )

    @property
    def _labels(self) -> NDArray[np.int64] | None:
        given = self._adversary.subject.dataset.labels
        return given if given is not None else self._clean.classes


def _verdicts(
    predicted: Array | None, clean: Array | None, labels: Array | None, kind: Labels
) -> tuple[Accuracy | None, Accuracy | None]:
    """Success over initially right samples, and robust accuracy over all labelled ones."""
    if predicted is None or clean is None or labels is None:
        return None, None
    right = clean == labels
    broken = right & (predicted != labels)
    success = share_of(int(broken.sum()), int(right.sum())) if right.any() else None
    robust = share_of(int((right & ~broken).sum()), len(labels)) if kind == "given" else None
    return success, robust


def _share(parts: Sequence[NDArray[np.bool_] | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return float(np.concatenate(known).mean()) if known else None
