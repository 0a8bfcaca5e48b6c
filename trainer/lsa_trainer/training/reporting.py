"""What a step or a validation leaves behind: lines in the log, news for whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lsa_trainer.listener import TrainingListener
from lsa_trainer.objectives import Losses
from lsa_trainer.trainee import Job
from lsa_trainer.training.log import RunLog, TensorBoard
from lsa_trainer.training.minibatches import Minibatch
from lsa_trainer.training.opponent import predicted
from lsa_trainer.training.validation import Scores


class _Log(Protocol):
    def write(self, step: int, event: str, values: Mapping[str, Any]) -> None: ...


class Reporter:
    """Writes the logs of a run, in the one process that does, and tells the listener."""

    def __init__(
        self,
        folder: Path,
        listener: TrainingListener,
        *,
        resumed: int,
        tensorboard: bool,
        silent: bool,
    ) -> None:
        """Open the logs.

        Args:
            folder: Of the run.
            listener: Told of everything.
            resumed: Step from which the run goes on, 0 for a new one.
            tensorboard: Write for TensorBoard as well.
            silent: Another process reports.

        Raises:
            DataError: A log cannot be written, or TensorBoard is not installed.
        """
        self._listener, self._silent = listener, silent
        self._logs: list[_Log] = []
        if silent:
            return
        at = resumed or None
        self._logs.append(RunLog(folder / "log.jsonl", at))
        if tensorboard:
            self._logs.append(TensorBoard(folder / "tensorboard", at))

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

    def stepped(self, step: int, job: Job, found: Losses, batch: Minibatch, lr: float) -> None:
        """A step is done."""
        if self._silent:
            return
        values = _values(job, found, batch, lr)
        self._write(step, "step", values)
        self._listener.stepped(step, values)

    def end(self) -> None:
        """The last step is done."""
        if not self._silent:
            self._listener.training_ended()

    def _write(self, step: int, event: str, values: Mapping[str, Any]) -> None:
        for log in self._logs:
            log.write(step, event, values)


def _values(job: Job, found: Losses, batch: Minibatch, lr: float) -> dict[str, Any]:
    values: dict[str, Any] = {
        "loss": float(found.total.detach()),
        "base": float(found.base),
        "lr": lr,
        "eps_scale": batch.eps_scale,
    }
    if found.regulariser is not None:
        values["regulariser"] = float(found.regulariser)
        values["cm"] = {name: float(cm) for name, cm in found.cms.items()}
    if job.classes and found.adversarial is not None:
        right = predicted(found.adversarial, job.lowest_wins) == batch.targets[0]
        values["robust"] = float(right.double().mean())
    return values
