"""How good a model is now: on clean inputs, under one step, and under many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from lsa_onnx.rewrite.objectives import Kind
from lsa_trainer.objectives import OutputLoss, TrainingAttack
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
        measure: Whether they are accuracies, or fits of other outputs.
    """

    clean: float
    one_step: float
    robust: float
    measure: Literal["accuracy", "fit"] = field(default="accuracy", compare=False)

    def to_record(self) -> dict[str, float]:
        """The scores, JSON-ready."""
        return {"clean": self.clean, "one_step": self.one_step, "robust": self.robust}


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
        classes = self.opponent.job.classes
        objective: Kind | None = None if classes else "output"
        one = replace(self.attack, kind="fgsm", steps=1, step_size=None, objective=objective)
        many = replace(one, kind="pgd", steps=self.steps)
        self.opponent.answers.eval()
        clean = self._points(None)
        # x is itself within ε of x: an attack that ends at a better point has not succeeded.
        under_one, under_many = (torch.minimum(clean, self._points(a)) for a in (one, many))
        return Scores(
            clean=float(clean.mean()),
            one_step=float(under_one.mean()),
            robust=float(under_many.mean()),
            measure="accuracy" if classes else "fit",
        )

    def _points(self, attack: TrainingAttack | None) -> Tensor:
        """The score of each sample, shape (n,), float64."""
        found = []
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
            found.append(self._scored(outputs, targets))
        return torch.cat(found)

    def _scored(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        job, criterion = self.opponent.job, self.opponent.criterion
        if isinstance(criterion, OutputLoss):
            return 1.0 - criterion.distances(outputs, targets).double()
        return (predicted(outputs[0], job.lowest_wins) == targets[0]).double()
