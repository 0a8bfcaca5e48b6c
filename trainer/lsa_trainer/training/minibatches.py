"""The minibatch of a step: its samples, augmented, and their perturbed versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lsa_trainer.objectives import StepSpec, TrainingAttack
from lsa_trainer.options import TrainingOptions
from lsa_trainer.training.augmentation import Augmentation
from lsa_trainer.training.data import Batches, TrainingSet
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.randomness import TorchRandomness, counter_uniform, derived
from lsa_trainer.training.schedules import EpsSchedule

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_ATTACK_STREAM = 41
_SHARE_STREAM = 43


@dataclass(frozen=True)
class Material:
    """The samples of a run, on the device.

    Attributes:
        training: To train on.
        targets: Of those: labels, or what each output should be.
        validation: To choose among checkpoints by.
        validation_targets: Of those.
    """

    training: TrainingSet
    targets: tuple[Tensor, ...]
    validation: TrainingSet
    validation_targets: tuple[Tensor, ...]


class Minibatch(NamedTuple):
    """What a step works on.

    Attributes:
        part: Samples, x augmented.
        targets: Their targets, one tensor for each output.
        x_adv: Their perturbed versions, shape of x; ``None`` where the objective needs none.
        eps_scale: The share of ε that they had; at most, where each has its own.
    """

    part: TrainingSet
    targets: list[Tensor]
    x_adv: Tensor | None
    eps_scale: float


class Minibatches:
    """Makes the minibatch of any step, a function of the step and of the model's weights alone."""

    def __init__(
        self,
        material: Material,
        opponent: Opponent,
        attack: TrainingAttack | None,
        options: TrainingOptions,
        fabric: Fabric,
    ) -> None:
        """Set up.

        Args:
            material: The samples.
            opponent: The model as attacks ask it.
            attack: Makes x̂; ``None`` where nothing needs one.
            options: Seed, batch size, schedule of ε, augmentation.
            fabric: Tells which part of a batch is this process's.

        Raises:
            DataError: The options do not fit the data.
        """
        job = opponent.job
        self._material, self._opponent, self._attack = material, opponent, attack
        self._fabric, self._options = fabric, options
        rank, world = fabric.global_rank, fabric.world_size
        count = len(material.training)
        self._batches = Batches(count, options.batch_size, options.seed, rank, world)
        self.total = options.epochs * self._batches.per_epoch
        growth = round(options.eps_warmup * self.total)
        self._eps = EpsSchedule(options.eps_schedule, growth)  # type: ignore[arg-type]
        self._augment = Augmentation(
            options.seed, options.crop, options.flip, job.channel_axis, job.low
        )

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._batches.per_epoch

    @property
    def eps(self) -> EpsSchedule:
        """The share of ε by step."""
        return self._eps

    def at(
        self, step: int, spec: StepSpec | None = None, *, eps_scale: float | None = None
    ) -> Minibatch:
        """The minibatch of a step.

        Args:
            step: Counted from 0.
            spec: What the step minimises, for attacks that climb it or its layers.
            eps_scale: The share of ε that x̂ is made with; ``None`` for the step's.
        """
        scale = self._eps(step) if eps_scale is None else eps_scale
        index, epoch = self._batches.batch_at(step), self._batches.epoch_of(step)
        index = index.to(self._material.training.x.device)
        part = self._augmented(self._material.training.rows(index), index, epoch)
        targets = [t[index] for t in self._material.targets]
        if self._attack is None:
            return Minibatch(part, targets, None, scale)
        seed = derived(self._options.seed, _ATTACK_STREAM, epoch)
        numbers = TorchRandomness(seed, _ATTACK_STREAM, index)
        with self._fabric.autocast():
            x_adv = self._opponent.attacked(
                self._attack, part, targets, numbers, scale, self._shares(step, index), spec
            )
        return Minibatch(part, targets, x_adv, scale)

    def _shares(self, step: int, index: Tensor) -> Tensor | None:
        """The share of the step's ε that each sample has, where that is drawn."""
        if self._eps.kind != "random":
            return None
        seed = derived(self._options.seed, _SHARE_STREAM, step)
        return counter_uniform(seed, _SHARE_STREAM, index, ())

    def _augmented(self, part: TrainingSet, index: Tensor, epoch: int) -> TrainingSet:
        x = self._augment(part.x, index, epoch)
        if self._options.channels_last and x.ndim == 4 and self._opponent.job.channel_axis == 1:
            x = x.contiguous(memory_format=torch.channels_last)
        return TrainingSet(x, part.y, part.extra)
