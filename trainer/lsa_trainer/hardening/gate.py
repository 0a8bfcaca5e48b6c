"""The gate of ``--expect-accuracy``: passed before training, whether or not a scan came first."""

from __future__ import annotations

import torch

from lsa_onnx.accounts.shares import require_accuracy, share_of
from lsa_onnx.report.document import Accuracy
from lsa_trainer.hardening.prepare import Prepared
from lsa_trainer.hardening.trainable import answers_of
from lsa_trainer.options import HardenOptions
from lsa_trainer.trainee import Job
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.opponent import predicted

# Samples per pass.
_BATCH = 256


def require_expected(prepared: Prepared, options: HardenOptions) -> None:
    """Refuse to train a model that gets less of all samples right than was expected.

    Raises:
        DataError: There are no labels or no classes to tell by.
        GateFailed: It does.
    """
    if options.expect_accuracy is not None:
        require_accuracy(_accuracy(prepared), options.expect_accuracy)


def _accuracy(prepared: Prepared) -> Accuracy | None:
    """On the samples of every part; ``None`` where the model's own answers are the labels."""
    if not prepared.job.classes or prepared.taught:
        return None
    material = prepared.material
    parts = (
        (material.training, material.targets[0]),
        (material.validation, material.validation_targets[0]),
        (prepared.verification, prepared.verification_targets[0]),
    )
    hits = sum(_hits(prepared.job, data, labels) for data, labels in parts)
    return share_of(hits, sum(len(data) for data, _ in parts))


def _hits(job: Job, data: TrainingSet, labels: torch.Tensor) -> int:
    """How many samples the model, as its weights are now, gets right; it is left in evaluation mode."""
    answers, name = job.trainee.reading(job.outputs), job.outputs[0]
    found = 0
    for start in range(0, len(data), _BATCH):
        index = torch.arange(start, min(start + _BATCH, len(data)), device=data.x.device)
        logits = answers_of(answers, data.rows(index))[name]
        found += int((predicted(logits, job.lowest_wins) == labels[index]).sum())
    return found
