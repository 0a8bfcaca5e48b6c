"""What a step or a validation leaves behind: lines in the log, news for whoever watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from lsa_trainer.listener import TrainingListener
from lsa_trainer.option_checks import PUBLISHED
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import Job
from lsa_trainer.training.log import RunLog, TensorBoard
from lsa_trainer.training.opponent import predicted
from lsa_trainer.training.stepper import Stepped
from lsa_trainer.training.validation import Scores

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class _Log(Protocol):
    def write(self, step: int, event: str, values: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


class Reporter:
    """Writes the logs of a run, in the one process that does, and tells the listener."""

    def __init__(
        self,
        folder: Path,
        listener: TrainingListener,
        *,
        resumed: int | None,
        tensorboard: bool,
        silent: bool,
    ) -> None:
        """Start without logs.

        Args:
            folder: Of the run.
            listener: Told of everything.
            resumed: Step from which the run goes on, ``None`` for a new one.
            tensorboard: Write for TensorBoard as well.
            silent: Another process reports.
        """
        self._folder, self._resumed, self._tensorboard = folder, resumed, tensorboard
        self._listener, self._silent = listener, silent
        self._logs: list[_Log] = []

    def open(self) -> None:
        """Open the logs, in the process that reports.

        Raises:
            DataError: One cannot be written, or TensorBoard is not installed.
        """
        if self._tensorboard:
            self._logs.append(TensorBoard(self._folder / "tensorboard", self._resumed))
        self._logs.append(RunLog(self._folder / "log.jsonl", self._resumed))

    def say(self, *texts: str) -> None:
        """Tell the user something."""
        if not self._silent:
            for text in texts:
                self._listener.message(text)

    def begin(self, total: int, done: int, gammas: Mapping[str, float]) -> None:
        """Training starts or goes on."""
        if not self._silent:
            self._listener.objective(gammas)
            self._listener.training(total, done)

    def validated(self, step: int, scores: Scores) -> None:
        """A validation is done."""
        self._write(step, "validation", scores.to_record())
        if not self._silent:
            self._listener.validated(step, scores)

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """A step is done; ``values`` are those of ``step_values``."""
        self._write(step, "step", values)
        if not self._silent:
            self._listener.stepped(step, values)

    def end(self) -> None:
        """The last step is done."""
        if not self._silent:
            self._listener.training_ended()

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs:
            log.close()

    def _write(self, step: int, event: str, values: Mapping[str, Any]) -> None:
        for log in self._logs:
            log.write(step, event, values)


def beyond_published(options: TrainingOptions) -> Iterator[str]:
    """How training differs from AT-LR as it was published, in a line if it does."""
    found = {name: getattr(options, name) for name in PUBLISHED}
    other = [f"{name} {found[name]}" for name, value in PUBLISHED.items() if found[name] != value]
    if other:
        yield f"beyond AT-LR as published: {', '.join(other)}"


def step_values(job: Job, done: Stepped, fabric: Fabric) -> dict[str, Any]:
    """What a step found, over the samples of all processes; each of them must ask."""
    found, batch = done.losses, done.batch
    known = {"loss": found.total, "base": found.base}
    if job.classes and found.adversarial is not None:
        right = predicted(found.adversarial, job.lowest_wins) == batch.targets[0]
        known["robust"] = right.double().mean()
    if found.regulariser is not None:
        known["regulariser"] = found.regulariser
    numbers = torch.stack([t.detach().double() for t in (*known.values(), *found.cms.values())])
    # Off the device, and through the processes, all at once: each time costs a wait.
    shared = numbers if fabric.world_size == 1 else fabric.all_reduce(numbers)
    plain = shared.tolist()
    values = dict(zip(known, plain, strict=False))
    values |= {"lr": done.lr, "eps_scale": batch.eps_scale}
    if found.regulariser is not None:
        values["gamma_scale"] = done.gamma_scale
        values["cm"] = dict(zip(found.cms, plain[len(known) :], strict=True))
    return values
