"""A run put together from a model, samples and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lsa_trainer.objectives import ClassLoss, Criterion, StepSpec
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import Job
from lsa_trainer.training.alarms import Best, EarlyStop, OverfittingAlarm
from lsa_trainer.training.averaging import Average
from lsa_trainer.training.checkpoint import Checkpoint
from lsa_trainer.training.minibatches import Material, Minibatches
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.schedules import GammaSchedule, Schedule
from lsa_trainer.training.setup import (
    attack_for,
    attack_to_validate_with,
    criterion_for,
    optimizer_for,
    specification,
)
from lsa_trainer.training.state import State
from lsa_trainer.training.stepper import Stepper
from lsa_trainer.training.validation import Validator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Samples on which the scale of the logits is measured.
_FIRST = 256


@dataclass(frozen=True)
class Parts:
    """What a run is made of; only ``state`` changes.

    Attributes:
        minibatches: Of every step.
        criterion: What outputs are held to.
        specify: γ by layer → what a step minimises.
        stepper: Does the steps.
        validator: Scores the model.
        state: Before the first step.
    """

    minibatches: Minibatches
    criterion: Criterion
    specify: Callable[[Mapping[str, float]], StepSpec]
    stepper: Stepper
    validator: Validator
    state: State


def assemble(
    job: Job,
    material: Material,
    options: TrainingOptions,
    fabric: Fabric,
    found: Checkpoint | None,
) -> Parts:
    """Put a run together.

    Args:
        job: The model.
        material: The samples.
        options: How.
        fabric: The processes.
        found: The checkpoint that the run goes on from, ``None`` for a new one.

    Raises:
        DataError: Options do not fit the data.
    """
    answers = job.trainee.reading(job.outputs)
    criterion = _criterion(options, job, material, answers, found)
    opponent = Opponent(job, answers, criterion)
    minibatches = Minibatches(material, opponent, attack_for(options, job), options, fabric)
    net, optimizer = _shared(job, options, fabric)
    alone = _layers_alone(job, options, net)
    kind, total = options.gamma_schedule, minibatches.total
    schedules = (
        _schedule(options, total),
        GammaSchedule(kind, total, minibatches.eps),  # type: ignore[arg-type]
    )
    return Parts(
        minibatches=minibatches,
        criterion=criterion,
        specify=partial(
            specification,
            options,
            job,
            criterion,
            exact_batching=_shares_a_pass(job, material, options),
        ),
        stepper=Stepper(job, net, alone, minibatches, *schedules, options, fabric),
        validator=Validator(
            opponent,
            material.validation,
            material.validation_targets,
            attack_to_validate_with(options, job),
            options.validation_steps,
            options.seed,
        ),
        state=_fresh_state(job, options, optimizer, fabric),
    )


def _shares_a_pass(job: Job, material: Material, options: TrainingOptions) -> bool:
    """Whether x and x̂ may go through the model as one batch.

    That needs samples that do not see each other, and nothing beside x.
    """
    alone = getattr(job.trainee, "one_by_one", False)
    return options.batch_norm == "frozen" and not material.training.extra and not alone


def _first(answers: Any, material: Material) -> Tensor:
    """The first output for some training samples."""
    device = material.training.x.device
    index = torch.arange(min(_FIRST, len(material.training)), device=device)
    part = material.training.rows(index)
    answers.eval()
    with torch.no_grad():
        values = answers(part.x, *part.extra.values())
    first: Tensor = next(iter(values.values()))
    return first


def _schedule(options: TrainingOptions, total: int) -> Schedule:
    warmup = min(round(options.warmup * total), total - 1)
    return Schedule(options.schedule, total, warmup=warmup)  # type: ignore[arg-type]


def _criterion(
    options: TrainingOptions, job: Job, material: Material, answers: Any, found: Checkpoint | None
) -> Criterion:
    """What outputs are held to: as it was before the first step, wherever the run goes on from."""
    criterion = criterion_for(options, job, material.targets, _first(answers, material))
    if found is None or not isinstance(criterion, ClassLoss):
        return criterion
    return replace(criterion, temperature=found.record["fixed"]["temperature"])


def _shared(job: Job, options: TrainingOptions, fabric: Fabric) -> tuple[Any, Any]:
    """The module and its optimizer as the processes share them."""
    module: Any = job.trainee.reading([*job.outputs, *job.layers])
    if options.compile:
        module = torch.compile(module)
    optimizer = optimizer_for(list(job.parameters.values()), options)
    net, optimizer = fabric.setup(module, optimizer, move_to_device=False)
    return net, optimizer


def _layers_alone(job: Job, options: TrainingOptions, net: Any) -> Any:
    """The module up to the regularised layers; all of it where clean passes update statistics."""
    if not job.layers or options.batch_norm != "frozen":
        return net
    module = job.trainee.reading(job.layers)
    return torch.compile(module) if options.compile else module


def _fresh_state(job: Job, options: TrainingOptions, optimizer: Any, fabric: Fabric) -> State:
    weights = {**job.parameters, **job.statistics}
    return State(
        job=job,
        optimizer=optimizer,
        precision=fabric.strategy.precision,
        average=Average(weights, options.ema) if options.ema else None,
        best=Best(1.0, options.max_clean_drop),
        stop=EarlyStop(options.patience or 0),
        alarm=OverfittingAlarm(),
        best_weights={},
    )
