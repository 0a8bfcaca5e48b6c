"""How good a model is now: accuracy on clean inputs, under one step, and under many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lsa_trainer.objectives import Criterion, TorchOracle, TrainingAttack
from lsa_trainer.trainee import Job, Trainee
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.randomness import TorchRandomness, derived

_STREAM = 40
# Samples per pass.
_BATCH = 256


@dataclass(frozen=True)
class Scores:
    """Scores of a model on the validation samples, 1 at best.

    For classes they are accuracies. For other outputs they are 1 − the loss, whose unit is the variance
    of the targets: what a regression calls R².

    Attributes:
        clean: On clean inputs.
        one_step: Under one gradient step of ε.
        robust: Under many steps.
    """

    clean: float
    one_step: float
    robust: float

    def to_record(self) -> dict[str, float]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Validator:
    """Scores models on the same samples with the same attack, whatever the step.

    Attributes:
        job: What is trained.
        data: The samples.
        targets: What the outputs should be: labels, or a tensor per output.
        attack: The training attack; many steps are taken in place of its own.
        steps: That many.
        criterion: Loss of models without classes.
        seed: Of the random starts.
    """

    job: Job
    data: TrainingSet
    targets: Sequence[Tensor]
    attack: TrainingAttack
    steps: int
    criterion: Criterion
    seed: int

    def __call__(self, answers: Trainee) -> Scores:
        """Score a model that returns the job's outputs; it is left in evaluation mode."""
        answers.eval()
        one = replace(self.attack, kind="fgsm", steps=1, step_size=None, objective=None)
        many = replace(one, kind="pgd", steps=self.steps)
        return Scores(
            clean=self._score(answers, None),
            one_step=self._score(answers, self._aimed(one)),
            robust=self._score(answers, self._aimed(many)),
        )

    def _aimed(self, attack: TrainingAttack) -> TrainingAttack:
        return attack if self.job.classes else replace(attack, objective="output")

    def _score(self, answers: Trainee, attack: TrainingAttack | None) -> float:
        total = 0.0
        for start in range(0, len(self.data), _BATCH):
            index = torch.arange(start, min(start + _BATCH, len(self.data)))
            part = self.data.rows(index)
            targets = [t[index.to(t.device)] for t in self.targets]
            held = tuple(part.extra.values())
            x = part.x if attack is None else self._attacked(answers, attack, part, targets, index)
            with torch.no_grad():
                values = answers(x, *held)
            outputs = [values[name] for name in self.job.outputs]
            total += self._points(outputs, targets) * len(index)
        return total / len(self.data)

    def _attacked(
        self,
        answers: Trainee,
        attack: TrainingAttack,
        part: TrainingSet,
        targets: Sequence[Tensor],
        index: Tensor,
    ) -> Tensor:
        oracle, goal = oracle_for(self.job, answers, attack, part, targets)
        numbers = TorchRandomness(derived(self.seed, _STREAM), _STREAM, index.to(part.x.device))
        return attack(oracle, part.x, goal, numbers)

    def _points(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        if not self.job.classes:
            return 1.0 - float(self.criterion.fit(outputs, targets))
        return float((predicted(outputs[0], self.job.lowest_wins) == targets[0]).double().mean())


def predicted(logits: Tensor, lowest_wins: bool) -> Tensor:
    """The class of each sample, shape (n,), of logits (n, classes, 1, ...)."""
    rows = logits.detach().reshape(len(logits), -1)
    return rows.argmin(1) if lowest_wins else rows.argmax(1)


def oracle_for(
    job: Job,
    answers: Trainee,
    attack: TrainingAttack,
    part: TrainingSet,
    targets: Sequence[Tensor],
) -> tuple[TorchOracle, dict[str, Any]]:
    """The model as ``attack`` asks it, and what the attack aims at, for the samples of ``part``."""
    held = tuple(part.extra.values())
    names = job.outputs if not job.classes else job.outputs[:1]

    def outputs(x: Tensor) -> Any:
        values = answers(x, *held)
        return values[names[0]] if job.classes else [values[name] for name in names]

    oracle = TorchOracle(outputs, attack.aim, lowest_wins=job.lowest_wins)
    if attack.aim in ("kl", "output"):
        return oracle, oracle.references(part.x)
    return oracle, {"labels": targets[0]}
