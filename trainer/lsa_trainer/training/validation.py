"""How good a model is now: on clean inputs, under one step, and under many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from lsa_onnx.rewrite.objectives import Kind
from lsa_trainer.objectives import TrainingAttack
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.opponent import Opponent, predicted
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
        opponent: Attacks the model.
        data: The samples.
        targets: What the outputs should be: labels, or a tensor per output.
        attack: The training attack; many steps are taken in place of its own.
        steps: That many.
        seed: Of the random starts.
    """

    opponent: Opponent
    data: TrainingSet
    targets: Sequence[Tensor]
    attack: TrainingAttack
    steps: int
    seed: int

    def __call__(self) -> Scores:
        """Score the model as it is now; it is left in evaluation mode."""
        objective: Kind | None = None if self.opponent.job.classes else "output"
        one = replace(self.attack, kind="fgsm", steps=1, step_size=None, objective=objective)
        many = replace(one, kind="pgd", steps=self.steps)
        self.opponent.answers.eval()
        return Scores(self._score(None), self._score(one), self._score(many))

    def _score(self, attack: TrainingAttack | None) -> float:
        total = 0.0
        for start in range(0, len(self.data), _BATCH):
            index = torch.arange(
                start, min(start + _BATCH, len(self.data)), device=self.data.x.device
            )
            part, targets = self.data.rows(index), [t[index] for t in self.targets]
            x = part.x
            if attack is not None:
                numbers = TorchRandomness(derived(self.seed, _STREAM), _STREAM, index)
                x = self.opponent.attacked(attack, part, targets, numbers)
            with torch.no_grad():
                values = self.opponent.answers(x, *part.extra.values())
            outputs = [values[name] for name in self.opponent.job.outputs]
            total += self._points(outputs, targets) * len(index)
        return total / len(self.data)

    def _points(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        job = self.opponent.job
        if not job.classes:
            return 1.0 - float(self.opponent.criterion.fit(outputs, targets))
        return float((predicted(outputs[0], job.lowest_wins) == targets[0]).double().mean())
