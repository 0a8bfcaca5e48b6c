"""One step of training: perturb, measure, descend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lsa_onnx.errors import LsaError
from lsa_trainer.objectives import Losses, StepSpec, losses
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import Job
from lsa_trainer.training.balancing import wanted
from lsa_trainer.training.checkpoint import ANEW
from lsa_trainer.training.minibatches import Minibatch, Minibatches
from lsa_trainer.training.randomness import derived
from lsa_trainer.training.schedules import GammaSchedule, Schedule
from lsa_trainer.training.state import State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_TORCH_STREAM = 42
# torch takes seeds of 63 bits.
_MASK = (1 << 63) - 1

_UNREACHED = (
    "no gradient reaches any weight: the loss does not depend on them, or only through steps such as "
    "Sign and Round; please report this model"
)


class TrainingFailed(LsaError):
    """Training cannot go on; what was saved before stays: exit code 2."""

    exit_code = 2


class Stepped(NamedTuple):
    """What a step did: its losses, its minibatch, its rates, and weights without a gradient.

    ``gamma_scale`` is what γ was multiplied with.
    """

    losses: Losses
    batch: Minibatch
    lr: float
    gamma_scale: float
    unreached: list[str]


@dataclass(frozen=True)
class Stepper:
    """Does the steps of a run (Khalooei et al. 2023, Alg. 3).

    Attributes:
        job: The model.
        net: Its module as the processes share it; it gives outputs and regularised layers.
        layers_alone: The module up to the regularised layers, sharing its weights.
        minibatches: Of the run.
        schedule: Of the learning rate.
        gamma_schedule: Of γ.
        options: Of the run.
        fabric: The processes.
    """

    job: Job
    net: Any
    layers_alone: Any
    minibatches: Minibatches
    schedule: Schedule
    gamma_schedule: GammaSchedule
    options: TrainingOptions
    fabric: Fabric

    def step(self, state: State, spec: StepSpec) -> Stepped:
        """x̂ ← Attack(F, x, y), then down J(θ, x̂, y) + LR(θ, x, x̂); ``state`` moves on.

        Args:
            state: Of the run.
            spec: What is minimised under the whole of γ.

        Raises:
            TrainingFailed: The loss or its gradient is not finite, or no gradient reaches any weight.
        """
        lr, gamma_scale = self._set_lr(state), self.gamma_schedule(state.step)
        spec = spec.scaled(gamma_scale)
        batch = self.minibatches.at(state.step, spec)
        self._seed(state.step)
        self.net.train()
        self.layers_alone.train()
        targets = wanted(self.job, batch.targets)
        passes = [self._passes(net, batch) for net in (self.net, self.layers_alone)]
        found = losses(passes[0], batch.part.x, batch.x_adv, targets, spec, passes[1])
        _require_finite(found, state.step)
        state.optimizer.zero_grad(set_to_none=True)
        if not found.total.requires_grad:
            raise TrainingFailed(_UNREACHED)
        self.fabric.backward(found.total)
        unreached = [] if state.step else self._unreached()
        self._clip(state)
        state.optimizer.step()
        self._share_statistics()
        if state.average is not None:
            state.average.update()
        state.step += 1
        return Stepped(found, batch, lr, gamma_scale, unreached)

    def _set_lr(self, state: State) -> float:
        base = state.optimizer.defaults["lr"]
        lr = float(base * self.schedule(state.step) * state.lr_scale)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _seed(self, step: int) -> None:
        """What Dropout draws follows from the step, too."""
        rank = self.fabric.global_rank
        torch.manual_seed(derived(self.options.seed, _TORCH_STREAM, step, rank) & _MASK)

    def _passes(self, net: Any, batch: Minibatch) -> Callable[[Tensor], Mapping[str, Tensor]]:
        """The module as the loss calls it; the policy says which pass uses statistics of the batch."""
        policy, held = self.options.batch_norm, tuple(batch.part.extra.values())

        def call(x: Tensor) -> Mapping[str, Tensor]:
            active = policy == "all" or (policy == "clean" and x is batch.part.x)
            with self.job.trainee.batch_statistics(active), self.fabric.autocast():
                found: Mapping[str, Tensor] = net(x, *held)
            return found

        return call

    def _unreached(self) -> list[str]:
        """Weights that no gradient reaches.

        Raises:
            TrainingFailed: It reaches none.
        """
        still = [
            name
            for name, parameter in self.job.parameters.items()
            if parameter.grad is None or not bool(parameter.grad.any())
        ]
        if len(still) == len(self.job.parameters):
            raise TrainingFailed(_UNREACHED)
        return still

    def _clip(self, state: State) -> None:
        """Bound the gradient; a step along one that is not finite would ruin every weight."""
        bound = self.options.clip or math.inf
        norm = self.fabric.clip_gradients(
            self.net, state.optimizer, max_norm=bound, error_if_nonfinite=False
        )
        # In float16 the scaler leaves out a step that overflows, and goes on with a smaller scale.
        if self.options.precision != "16-mixed" and not math.isfinite(float(norm)):
            raise TrainingFailed(_not_finite("norm of the gradient", float(norm), state.step))

    def _share_statistics(self) -> None:
        """Processes see other samples; their running statistics are averaged."""
        if self.options.batch_norm == "frozen" or self.fabric.world_size == 1:
            return
        for tensor in self.job.statistics.values():
            tensor.copy_(self.fabric.all_reduce(tensor))


def _require_finite(found: Losses, step: int) -> None:
    total = float(found.total.detach())
    if math.isfinite(total):
        return
    cms = ", ".join(f"{name} {float(cm):g}" for name, cm in found.cms.items())
    parts = f" (J {float(found.base):g}; CM {cms or 'not used'})"
    raise TrainingFailed(_not_finite("loss", total, step, parts))


def _not_finite(what: str, value: float, step: int, parts: str = "") -> str:
    return (
        f"the {what} is {value:g} at step {step + 1}{parts}; earlier checkpoints stay: {ANEW}, "
        "and with a smaller lr or gamma"
    )
