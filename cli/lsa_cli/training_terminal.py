"""Progress of a training run on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lsa_cli.terminal import TerminalListener
from lsa_onnx.report.text import figure, share
from lsa_trainer.listener import TrainingListener

if TYPE_CHECKING:
    from types import TracebackType

    from lsa_trainer.training.validation import Scores

# Lines that ``verbose`` adds over a run.
_LINES = 10


class TrainingTerminal(TerminalListener, TrainingListener):  # type: ignore[misc] # adds, overrides little
    """Shows a bar of steps with the loss and the live accuracy, and a line for each validation."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet)
        self._verbose = verbose
        self._total, self._step = 0, 0
        self._said: set[str] = set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind in (KeyboardInterrupt, SystemExit) and self._total:
            self.message(
                f"stopped at step {self._step:,} of {self._total:,}; "
                "the same command goes on from the last checkpoint"
            )

    def message(self, text: str) -> None:
        """Print one line, once: each scan and evaluation of a run says the same of the machine."""
        if text not in self._said:
            self._said.add(text)
            super().message(text)

    def training(self, total: int, done: int) -> None:
        """Start the bar."""
        self._total, self._step = total, done
        self.begin("training", total)
        self.advance(done)

    def objective(self, gammas: Mapping[str, float]) -> None:
        """Tell γ."""
        for name, gamma in gammas.items():
            self.message(f"  γ {figure(gamma)}  {name}")

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """Move the bar; with ``verbose`` tell each tenth of the run in a line of its own."""
        self._step = step
        told = _losses(values)
        if self._task is not None:
            self._progress.update(self._task, description=f"training  {told}")
        self.advance(1)
        if self._verbose and step % max(self._total // _LINES, 1) == 0:
            self.message(f"step {step:,} of {self._total:,}: {told}, lr {figure(values['lr'])}")

    def validated(self, step: int, scores: Scores) -> None:
        """Tell the scores: accuracies as shares, fits as figures."""
        shown = figure if scores.measure == "fit" else share
        found = ((scores.clean, "clean"), (scores.one_step, "one step"), (scores.robust, "robust"))
        told = ", ".join(f"{name} {shown(value)}" for value, name in found)
        when = f"step {step:,}" if step else "before training"
        self.message(f"{when}: {told} (validation)")

    def training_ended(self) -> None:
        """Remove the bar."""
        self.end()
        self._total = 0


def _losses(values: Mapping[str, Any]) -> str:
    """The loss, the layer-wise term in it, and the share of perturbed samples that are right."""
    told = [f"loss {figure(values['loss'])}"]
    if "regulariser" in values:
        told.append(f"LR {figure(values['regulariser'])}")
    if "robust" in values:
        told.append(f"robust {share(values['robust'])}")
    return ", ".join(told)
