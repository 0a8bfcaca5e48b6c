"""The model under training as attacks ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsa_trainer.objectives import ClassLoss, Criterion, OutputLoss, TorchOracle, TrainingAttack
from lsa_trainer.trainee import Job, Trainee
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.randomness import TorchRandomness

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Opponent:
    """Attacks inputs of a model, as its weights are when it is called.

    Attributes:
        job: What is trained.
        answers: The model; it returns the job's outputs and is left in evaluation mode.
        criterion: What outputs are held to.
    """

    job: Job
    answers: Trainee
    criterion: Criterion

    def attacked(
        self,
        attack: TrainingAttack,
        part: TrainingSet,
        targets: Sequence[Tensor],
        numbers: TorchRandomness,
        eps_scale: float = 1.0,
    ) -> Tensor:
        """Perturbed inputs for the samples of ``part``, shape of its x.

        Args:
            attack: How.
            part: The samples.
            targets: Labels, or what each output should be.
            numbers: For random starts.
            eps_scale: Of ε.
        """
        self.answers.eval()
        oracle = TorchOracle(
            self._seen_by(attack, tuple(part.extra.values())),
            attack.aim,
            # What ``_logits`` gives for the divergence is turned the right way already.
            lowest_wins=self.job.lowest_wins and attack.aim != "kl",
        )
        goal = self._goal(attack, oracle, part.x, targets)
        return attack(oracle, part.x, goal, numbers, eps_scale)

    def _goal(
        self, attack: TrainingAttack, oracle: TorchOracle, x: Tensor, targets: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """What ``attack`` leads away from: what the loss holds outputs to or, with TRADES, those for x."""
        if attack.kind == "trades":
            return oracle.references(x)
        if isinstance(self.criterion, OutputLoss):
            return {"reference": self.criterion.rows(targets)}
        return {"labels": targets[0]}

    def _seen_by(self, attack: TrainingAttack, held: tuple[Tensor, ...]) -> Any:
        """The function of x that ``attack`` climbs."""
        criterion, names = self.criterion, self.job.outputs

        def outputs(x: Tensor) -> list[Tensor]:
            values = self.answers(x, *held)
            return [values[name] for name in names]

        if isinstance(criterion, OutputLoss):
            return lambda x: criterion.rows(outputs(x))
        if attack.aim == "kl" and isinstance(criterion, ClassLoss):
            # Saturated logits have no divergence to climb; the loss divides them too.
            return lambda x: criterion.logits(outputs(x))
        return lambda x: outputs(x)[0]


def predicted(logits: Tensor, lowest_wins: bool) -> Tensor:
    """The class of each sample, shape (n,), of logits (n, classes, 1, ...)."""
    rows = logits.detach().reshape(len(logits), -1)
    return rows.argmin(1) if lowest_wins else rows.argmax(1)
