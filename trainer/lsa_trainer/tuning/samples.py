"""The user's training samples, parted once: what trials train on, and what scores them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lsa_onnx.attacks import ATTACKS
from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.evaluation import EvaluationOptions
from lsa_trainer.folder import LABELS, OTHER_LABELS
from lsa_trainer.hardening.choosing import Chosen
from lsa_trainer.hardening.gate import require_expected
from lsa_trainer.hardening.prepare import Prepared, open_trainable, prepare
from lsa_trainer.hardening.verdict import save_held_out
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.setup import launch
from lsa_trainer.tuning.claims import SCORING, TRAINING

# A trial is scored by the search, so its own verdict may be as cheap as it gets.
_FEW = 16


@dataclass(frozen=True)
class Parts:
    """Two files of samples in units of the declared range, disjoint, with about the same share of each class.

    Attributes:
        training: What trials train on and choose their checkpoints by.
        scoring: What scores trials; no training sees them.
        labels: Name of the labels in both.
        counts: Samples of each.
        source: The SHA-256 of the model, the fingerprint of the data.
    """

    training: Path
    scoring: Path
    labels: str
    counts: tuple[int, int]
    source: Mapping[str, str]

    @classmethod
    def of(cls, prepared: Prepared, folder: Path) -> Parts:
        """Where in ``folder`` the parts go that ``part`` made."""
        subject, material = prepared.subject, prepared.material
        names = {subject.input.name, *prepared.verification.extra}
        return cls(
            training=folder / TRAINING,
            scoring=folder / SCORING,
            labels=OTHER_LABELS if LABELS in names else LABELS,
            counts=(len(material.training) + len(material.validation), len(prepared.verification)),
            source={"model": subject.model.file.sha256, "samples": subject.dataset.fingerprint},
        )

    def trial_options(self, options: HardenOptions) -> HardenOptions:
        """How a trial is trained, before the search changes anything.

        Args:
            options: Of the user, whose data these parts were made from.
        """
        return dataclasses.replace(
            options,
            **_ONCE_PARTED,
            data=self.training,
            y_key=self.labels,
            verification=_FEW,
            verify_attack=_cheap(options),
            verify_steps=1,
            force=True,
        )

    def evaluation(self, options: HardenOptions, eps_list: tuple[str, ...]) -> EvaluationOptions:
        """How a trial is scored: by the attack of the user's verdict."""
        shared = (
            "seed",
            "range",
            "mean",
            "std",
            "layout",
            "decision",
            "perturb",
            "batch",
            "device",
            "norm",
        )
        return EvaluationOptions(
            **{name: getattr(options, name) for name in (*shared, "max_memory_bytes")},
            data=self.scoring,
            y_key=self.labels,
            attacks=(options.verify_attack,),
            steps=options.steps_of_verdict,
            eps_list=eps_list,
        )


# What was said of the user's files does not hold of the parts, and no trial repeats the gates of the study.
_ONCE_PARTED: Mapping[str, Any] = {
    "labels": None,
    "x_key": None,
    "split": None,
    "resize": False,
    "samples": None,
    "hold": (),
    "report": None,
    "expect_accuracy": None,
    "reexport": False,
    "fresh": False,
    "tensorboard": False,
    "command": (),
}


def part(model: str | Path, options: HardenOptions, held_out: int) -> Prepared:
    """Hold model and data to what training needs, and set samples aside; the same options do so alike.

    Args:
        model: The file.
        options: Of the user.
        held_out: How many samples score trials, at most a fifth of all.

    Returns:
        The model with its samples: ``verification`` scores trials, all others train.

    Raises:
        LsaError: The model or the data cannot be used.
    """
    subject, module = open_trainable(model, options)
    fabric = launch(options, options.device)
    if fabric.world_size > 1:
        raise DataError(
            f"a search runs in one process, and torchrun started {fabric.world_size}; start `lsa-onnx tune` without "
            "it, several times with the same -o to share the work"
        )
    parting = dataclasses.replace(options, validation=1, verification=held_out)
    prepared = prepare(subject, module, Chosen((), "none here"), parting, fabric)
    if not prepared.job.classes:
        raise ModelError(
            f"{str(subject.model.path)!r} predicts no classes, so its trials have no robust accuracy to be scored "
            "by; `lsa-onnx harden` trains such a model, and --decision binary makes two classes of one score"
        )
    require_expected(prepared, options)
    return prepared


def write_parts(prepared: Prepared, parts: Parts) -> None:
    """Write the files of ``parts``.

    Raises:
        DataError: One cannot be written.
    """
    save_held_out(_rest(prepared), parts.training)
    save_held_out(prepared, parts.scoring)


def _rest(prepared: Prepared) -> Prepared:
    """All but the samples that score, in the place of those: they are written alike."""
    material = prepared.material
    both = (material.training, material.validation)
    extra = {name: torch.cat([part.extra[name] for part in both]) for name in both[0].extra}
    labels = torch.cat([material.targets[0], material.validation_targets[0]])
    data = TrainingSet(torch.cat([part.x for part in both]), labels, extra)
    return dataclasses.replace(prepared, verification=data, verification_targets=(labels,))


def _cheap(options: HardenOptions) -> str:
    """An attack of one step, without a gradient where the user asked for one without."""
    if not ATTACKS[options.verify_attack].needs_gradient:
        return options.verify_attack
    return "fgsm" if options.norm in ATTACKS["fgsm"].norms else "pgd"
