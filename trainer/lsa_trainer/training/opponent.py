"""The model under training as attacks ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lsa_onnx.attacks import Goal, Oracle
from lsa_onnx.errors import DataError
from lsa_trainer.objectives import (
    LAYER_AIMS,
    ClassLoss,
    Criterion,
    InnerOracle,
    OutputLoss,
    StepSpec,
    TorchOracle,
    TrainingAttack,
)
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
    _readings: dict[tuple[str, ...], Trainee] = field(default_factory=dict, repr=False)

    def attacked(
        self,
        attack: TrainingAttack,
        part: TrainingSet,
        targets: Sequence[Tensor],
        numbers: TorchRandomness,
        eps_scale: float = 1.0,
        shares: Tensor | None = None,
        spec: StepSpec | None = None,
    ) -> Tensor:
        """Perturbed inputs for the samples of ``part``, shape of its x.

        Args:
            attack: How.
            part: The samples.
            targets: Labels, or what each output should be.
            numbers: For random starts.
            eps_scale: Of ε.
            shares: Of that, for each sample, shape (n,).
            spec: What the step minimises, for attacks that climb it or its layers.

        Raises:
            DataError: The attack is to climb layers, and none is regularised.
        """
        self.answers.eval()
        asked = self._of_layers if attack.aim in LAYER_AIMS else self._of_outputs
        oracle, goal = asked(attack, part, targets, spec)
        return attack(oracle, part.x, goal, numbers, eps_scale, shares)

    def _of_layers(
        self,
        attack: TrainingAttack,
        part: TrainingSet,
        targets: Sequence[Tensor],
        spec: StepSpec | None,
    ) -> tuple[Oracle, Goal]:
        """What the step minimises, or its layers alone, as an attack asks and where it leads from."""
        if spec is None or spec.regularised is None:
            raise DataError(
                f"--inner {attack.aim!r} climbs the regularised layers, and no gamma is above 0; give a layer "
                "more weight, or --inner auto"
            )
        given = (spec.base, spec.regularised)
        base, term = given if attack.aim == "ce+cm" else (None, spec.regularised.measure())
        net = self._reading((*(() if base is None else spec.outputs), *term.gammas))
        held = tuple(part.extra.values())
        oracle = InnerOracle(lambda x: net(x, *held), term, base, spec.outputs)
        return oracle, oracle.goal(part.x, targets)

    def _reading(self, names: tuple[str, ...]) -> Trainee:
        """The model, up to these tensors: made once, for every step asks."""
        if names not in self._readings:
            self._readings[names] = self.job.trainee.reading(names)
        found = self._readings[names]
        found.eval()
        return found

    def _of_outputs(
        self,
        attack: TrainingAttack,
        part: TrainingSet,
        targets: Sequence[Tensor],
        spec: StepSpec | None,  # noqa: ARG002 - layers need it
    ) -> tuple[Oracle, Goal]:
        oracle = TorchOracle(
            self._seen_by(attack, tuple(part.extra.values())),
            attack.aim,  # type: ignore[arg-type]
            # What ``_logits`` gives for the divergence is turned the right way already.
            lowest_wins=self.job.lowest_wins and attack.aim != "kl",
        )
        return oracle, self._goal(attack, oracle, part.x, targets)

    def _goal(
        self, attack: TrainingAttack, oracle: TorchOracle, x: Tensor, targets: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """What ``attack`` leads away from: what the loss holds outputs to, or those for x."""
        if attack.leaves_clean:
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
