"""What is trained and on what: the model as a torch module, its layers, and the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.prediction import Head
from lsa_onnx.scanning.subject import Subject, open_subject
from lsa_trainer.axes import batch_axes
from lsa_trainer.hardening.choosing import Chosen
from lsa_trainer.hardening.trainable import (
    answers_of,
    head_of,
    outputs_of,
    require_own_input,
    require_trainable,
    samples_of,
    trainee_of,
)
from lsa_trainer.inference import require_inference
from lsa_trainer.module import OnnxModule, from_model
from lsa_trainer.options import HardenOptions
from lsa_trainer.trainee import Job, OnnxTrainee
from lsa_trainer.training.data import Split, TrainingSet, split
from lsa_trainer.training.minibatches import Material
from lsa_trainer.training.opponent import predicted
from lsa_trainer.training.setup import keep_channels_last

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LEAST_SHARE = 0.9
# At most this part of the samples is held out for each purpose.
_LARGEST_PART = 0.2
_BATCH = 256


@dataclass(frozen=True)
class Prepared:
    """Everything that a run needs.

    Attributes:
        subject: The model file and its data.
        module: The model in torch, on the device.
        head: How a class is read, ``None`` without classes.
        job: What is trained.
        material: On what.
        verification: Samples for the verdict alone.
        verification_targets: Of those.
        taught: Whether the original model's own answers stand for labels.
    """

    subject: Subject
    module: OnnxModule
    head: Head | None
    job: Job
    material: Material
    verification: TrainingSet
    verification_targets: tuple[Tensor, ...]
    taught: bool

    def per_run(self, count: int) -> int:
        """How many samples a run of the file itself takes: ``count`` where its batch is free."""
        layout = self.subject.layout
        return count if layout.free else layout.leading or 1


def open_trainable(model: str | Path, options: HardenOptions) -> tuple[Subject, OnnxModule]:
    """Load the model and its data, and hold the model to what training needs.

    Raises:
        LsaError: The model or the data cannot be used, or not for training.
    """
    subject = open_subject(str(model), options)
    require_own_input(subject)
    require_inference(subject.model.proto)
    module = from_model(subject.model, promote_half=True)
    if options.batch_norm != "frozen":
        module.constants.require_movable()
    require_weights(module, allow_frozen=options.allow_frozen)
    require_trainable(subject, module, options)
    return subject, module


def require_weights(module: OnnxModule, *, allow_frozen: bool) -> None:
    """Refuse to train a model of which much would stay as it is.

    Raises:
        ModelError: No weight trains, or less than 90 % do and that was not allowed.
    """
    constants = module.constants
    frozen = [w for w in constants.weights if not w.trains]
    listed = "; ".join(f"{w.name!r} ({w.frozen})" for w in frozen[:4])
    if not constants.trainable:
        raise ModelError(f"no weight of the model can be trained: {listed or 'it has none'}")
    if constants.share < LEAST_SHARE and not allow_frozen:
        raise ModelError(
            f"only {constants.share:.0%} of the model's weights can be trained, less than "
            f"{LEAST_SHARE:.0%}; frozen are {listed}; --allow-frozen trains the rest"
        )


def prepare(
    subject: Subject, module: OnnxModule, chosen: Chosen, options: HardenOptions, fabric: Fabric
) -> Prepared:
    """Put everything on the device, set samples aside, and ask the model what it says of them.

    Raises:
        LsaError: Layers do not fit the model, or it is asked for nothing but what it does.
    """
    device = fabric.device
    module.to(device)
    if options.channels_last:
        keep_channels_last(module)
    head = head_of(subject, options)
    outputs = outputs_of(subject, module, head)
    trainee = trainee_of(subject, module, [*outputs, *chosen.layers], device, head)
    data = samples_of(subject, device)
    targets, taught = _targets(trainee.reading(outputs), data, head)
    if taught and head is None:
        _require_attack(chosen, options)
    parts = _split(data, targets, options, head)
    job = Job(
        trainee=trainee,
        outputs=tuple(outputs),
        layers=batch_axes(trainee, data, chosen.layers, "leave it out with --mvl"),
        parameters=_trained(module, trainee),
        statistics=module.statistics() if options.batch_norm != "frozen" else {},
        classes=head is not None,
        lowest_wins=head.lowest_wins if head else False,
        low=subject.spec.low,
        high=subject.spec.high,
        channel_axis=subject.channel_axis,
    )
    indices = (parts.training, parts.validation, parts.verification)
    train, held, last = (_part(data, targets, index) for index in indices)
    return Prepared(
        subject=subject,
        module=module,
        head=head,
        job=job,
        material=Material(train[0], train[1], held[0], held[1]),
        verification=last[0],
        verification_targets=last[1],
        taught=taught,
    )


def _targets(trainee: Any, data: TrainingSet, head: Head | None) -> tuple[tuple[Tensor, ...], bool]:
    """Labels, or what the model itself says; and whether that had to be asked."""
    if head is not None and data.y is not None:
        return (data.y,), False
    answers = _all_answers(trainee, data)
    first = next(iter(answers.values()))
    if head is not None:
        return (predicted(first, head.lowest_wins),), True
    if data.y is None:
        return tuple(answers.values()), True
    return (data.y.to(first.dtype).reshape(first.shape),), False


def _all_answers(trainee: Any, data: TrainingSet) -> dict[str, Tensor]:
    """The outputs for all samples, by name."""
    places = torch.arange(len(data)).split(_BATCH)
    found = [answers_of(trainee, data.rows(index)) for index in places]
    return {name: torch.cat([each[name] for each in found]) for name in found[0]}


def _require_attack(chosen: Chosen, options: HardenOptions) -> None:
    """Refuse to fit a model to its own answers where it is only asked for those.

    Raises:
        DataError: That is so.
    """
    if options.base == "standard" and not chosen.layers:
        raise DataError(
            "--base 'standard' fits a model without classes to its own answers here, which it gives already; "
            "give targets with the data, a base that attacks such as at-pgd, or layers to regularise"
        )


def _split(
    data: TrainingSet, targets: Sequence[Tensor], options: HardenOptions, head: Head | None
) -> Split:
    count = len(data)
    held = [min(n / count, _LARGEST_PART) for n in (options.validation, options.verification)]
    labels = targets[0] if head is not None else None
    return split(count, options.seed, held[0], held[1], labels)


def _part(
    data: TrainingSet, targets: Sequence[Tensor], index: Tensor
) -> tuple[TrainingSet, tuple[Tensor, ...]]:
    return data.rows(index), tuple(t[index.to(t.device)] for t in targets)


def _trained(module: OnnxModule, trainee: OnnxTrainee) -> dict[str, torch.nn.Parameter]:
    """The parameters that train and that the outputs depend on."""
    read = {id(parameter) for parameter in trainee.parameters()}
    found = {w.name: module.weight(w.name) for w in module.constants.weights if w.trains}
    return {name: p for name, p in found.items() if id(p) in read}
