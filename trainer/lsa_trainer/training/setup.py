"""What a run is set up with: processes and device, the optimizer, the objective."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor

from lsa_onnx.attacks import parse_eps
from lsa_onnx.errors import DataError, DeviceError, LsaError
from lsa_trainer.objectives import (
    BASES,
    LAYER_AIMS,
    Aim,
    Base,
    ClassLoss,
    Criterion,
    LayerRegulariser,
    OutputLoss,
    StepSpec,
    TrainingAttack,
    logit_temperature,
    variance_scale,
)
from lsa_trainer.options import DEFAULT_LR, TrainingOptions
from lsa_trainer.trainee import Job

T = TypeVar("T")

# Samples, channels, height, width.
_IMAGE_AXES = 4


def launch(options: TrainingOptions, device: str) -> Fabric:
    """This process among those that ``torchrun`` started, or alone.

    Args:
        options: For the precision.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        DataError: There is no device of this name.
        DeviceError: The device is not there, or cannot train at this precision.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = _accelerator(device, here)
    if options.precision == "16-mixed" and accelerator["accelerator"] == "cpu":
        raise DeviceError(
            "precision '16-mixed' needs a CUDA device, and training is to run on the CPU; use bf16-mixed or "
            "32-true"
        )
    fabric = Fabric(
        **accelerator,
        num_nodes=max(world // here, 1),
        strategy="ddp" if world > 1 else "auto",
        precision=options.precision,
    )
    fabric.launch()
    return fabric


def made_once(fabric: Fabric, make: Callable[[], T]) -> T:
    """What the first process makes, in every process: what it may fail at, all of them end with.

    ``make`` must not wait for other processes.

    Raises:
        LsaError: ``make`` raised it.
    """
    if not fabric.is_global_zero:
        made, failure = fabric.broadcast(None)
        if failure is not None:
            raise failure
        value: T = made
        return value
    try:
        value = make()
    except LsaError as error:
        fabric.broadcast((None, error))
        raise
    except Exception as error:
        # Its traceback is told here alone; the others would wait for what never comes.
        fabric.broadcast((None, LsaError(f"the first process failed: {type(error).__name__}")))
        raise
    fabric.broadcast((value, None))
    return value


def _accelerator(device: str, here: int) -> dict[str, Any]:
    match = re.fullmatch(r"(auto|cpu|cuda)(?::([0-9]{1,4}))?", device)
    if match is None or (match[2] and match[1] != "cuda"):
        accepted = "auto, cpu, cuda or cuda:N (N = 0, 1, ...)"
        raise DataError(f"device {device!r} is not known; use {accepted}")
    kind, number = match[1], int(match[2] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and not number < count:
        found = f"finds {count or 'no'} CUDA device{'s' if count > 1 else ''}"
        raise DeviceError(
            f"device {device!r}: torch {torch.__version__} {found}; use cpu, a device that is there, or "
            "a build of torch with CUDA"
        )
    if kind == "cpu" or not count:
        return {"accelerator": "cpu", "devices": here}
    return {"accelerator": "cuda", "devices": [number] if match[2] and here == 1 else here}


def keep_channels_last(module: torch.nn.Module) -> None:
    """Keep weights of images (four axes) in the memory format in which convolutions are fastest.

    Measured on CPUs: forward and backward in 0.85 to 0.92 of the time, by the input alone in 0.7 to 0.92.
    """

    def turned(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() != _IMAGE_AXES:
            return tensor
        return tensor.contiguous(memory_format=torch.channels_last)

    module._apply(turned)


def optimizer_for(
    parameters: Sequence[torch.nn.Parameter], options: TrainingOptions
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW."""
    lr = options.lr or DEFAULT_LR[options.optimizer]
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=lr, momentum=options.momentum, weight_decay=options.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=options.weight_decay)


def attack_for(options: TrainingOptions, job: Job) -> TrainingAttack | None:
    """The attack that makes x̂; ``None`` where nothing needs one.

    Without a base that attacks, the layer-wise term still wants a x̂: that of PGD.

    Raises:
        DataError: The model has nothing of what the attack is to climb.
    """
    kind = BASES[options.base]  # type: ignore[index]
    if kind is None and not job.layers:
        return None
    width = job.high - job.low
    one_step = kind in ("fgsm", "fast")
    return TrainingAttack(
        kind=kind or "pgd",
        eps=parse_eps(options.eps, width),
        norm=options.norm,
        steps=1 if one_step else options.steps,
        step_size=None if options.step_size is None else parse_eps(options.step_size, width),
        low=job.low,
        high=job.high,
        objective=_aim(options.inner, job),
    )


def _aim(inner: str, job: Job) -> Aim | None:
    """What the attack is told to climb; ``None`` for what is its own."""
    if inner == "auto":
        return None if job.classes else "output"
    if inner in LAYER_AIMS and not job.layers:
        raise DataError(
            f"--inner {inner!r} climbs the regularised layers, and there are none; name some with --mvl (fit: "
            "layers), or give --inner auto"
        )
    if inner not in LAYER_AIMS and not job.classes:
        raise DataError(
            f"--inner {inner!r} needs a model with classes, and this one has none; give auto, which climbs the "
            f"loss of its outputs, or {' or '.join(LAYER_AIMS)}"
        )
    return inner  # type: ignore[return-value]


def attack_to_validate_with(options: TrainingOptions, job: Job) -> TrainingAttack:
    """``attack_for``, also for a model that trains without attacks, and whatever it climbs in training."""
    options = replace(options, inner="auto")
    found = attack_for(options, job) or attack_for(replace(options, base="at-pgd"), job)
    if found is None:
        raise ValueError("at-pgd is a base that attacks")
    return found


def criterion_for(
    options: TrainingOptions, job: Job, targets: Sequence[Tensor], answers: Tensor
) -> Criterion:
    """What the outputs are held to.

    Args:
        options: For the smoothing of labels.
        job: Says whether there are classes.
        targets: Of the training samples.
        answers: What the model says of some clean samples, its first output.
    """
    if not job.classes:
        return OutputLoss(tuple(variance_scale(target) for target in targets))
    signed = -answers if job.lowest_wins else answers
    return ClassLoss(options.label_smoothing, logit_temperature(signed), job.lowest_wins)


def specification(
    options: TrainingOptions,
    job: Job,
    criterion: Criterion,
    gammas: Mapping[str, float],
    *,
    exact_batching: bool,
) -> StepSpec:
    """What a step minimises."""
    name, weights = options.base, (options.beta, options.clean_weight)
    base = Base(name, criterion, *weights)  # type: ignore[arg-type]
    how = (options.detach_clean, options.lr_power)
    term = LayerRegulariser(gammas, dict(job.layers), *how) if gammas else None
    return StepSpec(base=base, outputs=job.outputs, regulariser=term, exact_batching=exact_batching)
