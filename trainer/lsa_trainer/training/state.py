"""All that changes in a run, as one value that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_trainer.option_checks import PUBLISHED
from lsa_trainer.trainee import Job
from lsa_trainer.training.alarms import Best, EarlyStop, OverfittingAlarm
from lsa_trainer.training.averaging import Average
from lsa_trainer.training.checkpoint import ANEW, Checkpoint, prefixed, under
from lsa_trainer.training.optimizer_state import flatten_optimizer, restore_optimizer

if TYPE_CHECKING:
    from lightning_fabric.plugins import Precision

# What a run is of says more than any option that follows from it.
_SUBJECTS = ("model", "module", "samples of the data")


@dataclass
class State:
    """A run between two steps.

    Attributes:
        job: Whose weights are trained.
        optimizer: Their optimizer.
        precision: Fabric's; the one of float16 scales the loss, and learns by how much.
        average: Of the weights; ``None`` where none is kept.
        best: Which validation was the best so far.
        stop: When to end early.
        alarm: Watches for catastrophic overfitting.
        best_weights: Those of the best validation.
        step: Steps done.
        lr_scale: What roll-backs made of the learning rate.
        history: What validations found.
        notes: What happened on the way, in words.
        fixed: What was measured before the first step and holds for the whole run (γ, temperature).
    """

    job: Job
    optimizer: torch.optim.Optimizer
    precision: Precision
    average: Average | None
    best: Best
    stop: EarlyStop
    alarm: OverfittingAlarm
    best_weights: dict[str, Tensor]
    step: int = 0
    lr_scale: float = 1.0
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fixed: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What trains and what moves with it, by name."""
        return {**self.job.parameters, **self.job.statistics}

    def keep_best(self) -> None:
        """The weights as they are now are the best."""
        self.best_weights = {name: t.detach().clone() for name, t in self.weights.items()}

    def roll_back(self, factor: float) -> None:
        """Return to the best weights, forget the optimizer's past, and go on in smaller steps."""
        write(self.weights, self.best_weights)
        self.optimizer.state.clear()
        self.lr_scale *= factor
        if self.average is not None:
            self.average = Average(self.weights, self.average.decay)

    def checkpoint(self, options: Mapping[str, Any]) -> Checkpoint:
        """The run as a checkpoint; ``options`` tell runs apart."""
        moving, moving_record = flatten_optimizer(self.optimizer)
        tensors = {
            **prefixed("weights", self.weights),
            **prefixed("best", self.best_weights),
            **prefixed("optimizer", moving),
        }
        record: dict[str, Any] = {
            "options": dict(options),
            "optimizer": moving_record,
            "precision": self.precision.state_dict(),
            "best": self.best.to_record(),
            "stop": self.stop.to_record(),
            "alarm": self.alarm.to_record(),
            "lr_scale": self.lr_scale,
            "history": self.history,
            "notes": self.notes,
            "fixed": self.fixed,
        }
        if self.average is not None:
            averaged, record["average"] = self.average.state()
            tensors |= prefixed("average", averaged)
        return Checkpoint(self.step, tensors, record)

    def resume(self, checkpoint: Checkpoint, options: Mapping[str, Any]) -> None:
        """Go on from ``checkpoint``.

        Raises:
            DataError: It is of a run with other options.
        """
        record = checkpoint.record
        require_same_options(record["options"], options)
        write(self.weights, under("weights", checkpoint.tensors))
        self.best_weights = {
            name: tensor.to(self.weights[name].device)
            for name, tensor in under("best", checkpoint.tensors).items()
        }
        restore_optimizer(
            self.optimizer, under("optimizer", checkpoint.tensors), record["optimizer"]
        )
        self.precision.load_state_dict(record["precision"])
        if self.average is not None:
            self.average.restore(under("average", checkpoint.tensors), record["average"])
        self.best = Best.from_record(record["best"])
        self.stop = EarlyStop.from_record(record["stop"])
        self.alarm = OverfittingAlarm.from_record(record["alarm"])
        self.step = checkpoint.step
        self.lr_scale = record["lr_scale"]
        self.history, self.notes = list(record["history"]), list(record["notes"])
        self.fixed = dict(record["fixed"])


def require_same_options(saved: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse to go on with a run under other options.

    Raises:
        DataError: They differ; the first difference is named, in the order of ``given``.
    """
    for name in (*_SUBJECTS, *given, *saved):
        # A checkpoint may be older than the option.
        if saved.get(name, PUBLISHED.get(name)) != given.get(name):
            raise DataError(
                f"the run in this folder has {name} = {saved.get(name)!r} and this one "
                f"{given.get(name)!r}; go on with the same options, or {ANEW}"
            )


@torch.no_grad()
def write(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give each target its value, in place.

    Raises:
        DataError: The values are those of another model.
    """
    for name, target in targets.items():
        shape = tuple(values[name].shape) if name in values else None
        if shape != tuple(target.shape):
            raise DataError(
                f"the checkpoint holds shape {shape} for {name!r}, the model has "
                f"{tuple(target.shape)}; resume with the same model or start anew with --fresh"
            )
        target.copy_(values[name])
