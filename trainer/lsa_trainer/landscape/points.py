"""What the training objective is made of, with the weights as they are: J, the accuracy, CM by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lsa_trainer.objectives import StepSpec, TrainingAttack, losses
from lsa_trainer.trainee import Job, Trainee
from lsa_trainer.training.balancing import wanted
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.opponent import Opponent, predicted
from lsa_trainer.training.randomness import TorchRandomness, derived

_STREAM = 49
_CHANNELS_FIRST = 1
_IMAGE_AXES = 4


@dataclass(frozen=True)
class Reading:
    """The objective at one point, means over samples.

    Attributes:
        loss: J.
        accuracy: The share of samples that are right at x̂; ``None`` without classes.
        cms: Layer → CM_l.
    """

    loss: float
    accuracy: float | None
    cms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """Samples that go through the model together.

    Attributes:
        part: The samples.
        targets: What each output should be, or the labels.
        index: Their places among all samples, shape (n,), int64.
    """

    part: TrainingSet
    targets: list[Tensor]
    index: Tensor


@dataclass(frozen=True)
class Observer:
    """Reads the objective off a model; x̂ is made anew each time, from the same random starts.

    Attributes:
        job: The model.
        opponent: It, as attacks ask it.
        attack: Makes x̂.
        spec: What is read: J, and CM of the layers that it regularises.
        pieces: The samples.
        seed: Of the starts.
    """

    job: Job
    opponent: Opponent
    attack: TrainingAttack
    spec: StepSpec
    pieces: Sequence[Piece]
    seed: int

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(len(piece.part) for piece in self.pieces)

    def read(self) -> Reading:
        """J, the accuracy and CM by layer, with the weights as they are."""
        rows = torch.tensor([self._row(piece) for piece in self.pieces], dtype=torch.float64)
        loss, hits, *cms = (rows.sum(0) / self.samples).tolist()
        accuracy = hits if self.job.classes else None
        return Reading(loss, accuracy, dict(zip(self.layers, cms, strict=True)))

    def perturbed(self) -> list[Tensor]:
        """x̂ of every piece, for the weights as they are."""
        return [self._perturbed(piece) for piece in self.pieces]

    def base(self, piece: Piece, x_adv: Tensor) -> Tensor:
        """J of a piece at given x̂, shape (), to be differentiated."""
        held = tuple(piece.part.extra.values())
        alone = StepSpec(base=self.spec.base, outputs=self.spec.outputs)
        given = (piece.part.x, x_adv, wanted(self.job, piece.targets), alone)
        total: Tensor = losses(lambda x: self.opponent.answers(x, *held), *given).total
        return total

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Whose CM is read."""
        return () if self.spec.regulariser is None else tuple(self.spec.regulariser.gammas)

    # To make a view of a model takes longer than to run a small one.
    @cached_property
    def _net(self) -> Trainee:
        return self.job.trainee.reading([*self.job.outputs, *self.layers])

    @cached_property
    def _layers_alone(self) -> Trainee:
        return self.job.trainee.reading(self.layers)

    def _row(self, piece: Piece) -> list[float]:
        """J, hits and CMs, each summed over the samples of a piece."""
        x_adv, held = self._perturbed(piece), tuple(piece.part.extra.values())
        with torch.no_grad():
            found = losses(
                lambda x: self._net(x, *held),
                piece.part.x,
                x_adv,
                wanted(self.job, piece.targets),
                self.spec,
                lambda x: self._layers_alone(x, *held),
            )
        answers = found.clean if found.adversarial is None else found.adversarial
        means = [found.base, *(found.cms[name] for name in self.layers)]
        loss, *cms = (float(mean) * len(piece.part) for mean in means)
        return [loss, self._hits(answers, piece), *cms]

    def _hits(self, answers: Tensor | None, piece: Piece) -> float:
        """How many samples are right; one whose scores are NaN is not."""
        if answers is None or not self.job.classes:
            return 0.0
        known = ~answers.reshape(len(answers), -1).isnan().any(1)
        right = predicted(answers, self.job.lowest_wins) == piece.targets[0]
        return float((right & known).sum())

    def _perturbed(self, piece: Piece) -> Tensor:
        numbers = TorchRandomness(derived(self.seed, _STREAM), _STREAM, piece.index)
        return self.opponent.attacked(self.attack, piece.part, piece.targets, numbers)


def pieces_of(
    data: TrainingSet, targets: Sequence[Tensor], size: int, channel_axis: int | None
) -> Iterator[Piece]:
    """Samples in pieces of at most ``size``; images in the memory format in which weights are kept."""
    for index in torch.arange(len(data), device=data.x.device).split(size):
        part = data.rows(index)
        if part.x.ndim == _IMAGE_AXES and channel_axis == _CHANNELS_FIRST:
            x = part.x.contiguous(memory_format=torch.channels_last)
            part = TrainingSet(x, part.y, part.extra)
        yield Piece(part, [t[index] for t in targets], index)
