"""What goes where: results to stdout, messages and progress to stderr."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lsa_onnx.report.document import Accuracy
from lsa_onnx.report.text import accuracy as accuracy_text
from lsa_onnx.report.text import visible
from lsa_onnx.scanning import Listener

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from lsa_onnx.gates import Gates
    from lsa_onnx.report.conditions import Conditions


_log = logging.getLogger(__name__)


class _Results(Console):
    """Leaves a broken pipe to the entry point: rich would exit with code 1, a failed gate here."""

    def on_broken_pipe(self) -> NoReturn:
        """Let the entry point end quietly."""
        raise BrokenPipeError


def results() -> Console:
    """The console of results; width 100 where it is no terminal, so that pipes get stable lines."""
    return _Results(width=None if sys.stdout.isatty() else 100, soft_wrap=False)


class _Rate(ProgressColumn):
    """Samples per second."""

    def render(self, task: Task) -> Text:
        """The rate, blank until it is known."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


@dataclass
class _Stage:
    """A stage of ``total`` samples, or steps of training: when it began, and when it last advanced."""

    name: str
    total: int
    began: float
    last: float

    def log(self) -> None:
        """Tell how long it took."""
        _log.info("%s: %s in %.2f s", self.name, f"{self.total:,}", self.last - self.began)


@final
class TerminalListener(Listener):
    """Shows messages, the clean accuracy and a progress bar on stderr."""

    def __init__(self, quiet: bool = False, gates: Gates | None = None) -> None:
        """Start with nothing shown.

        Args:
            quiet: Show nothing at all.
            gates: What the run must be able to answer.
        """
        self._gates = gates
        self.classes: NDArray[np.int64] | None = None
        self._console = Console(stderr=True, quiet=quiet)
        # A bar moves the cursor, which is nothing for a file, whoever asks for colours.
        shown = self._console.file.isatty() and not self._console.is_dumb_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not shown,
        )
        self._task: TaskID | None = None
        self._stage: _Stage | None = None

    def __enter__(self) -> TerminalListener:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def planned(self, conditions: Conditions) -> None:
        """Refuse gates that cannot be judged."""
        if self._gates is not None:
            self._gates.require_possible(conditions)

    def predicted(self, classes: NDArray[np.int64]) -> None:
        """Keep them, for a comparison with another model."""
        self.classes = classes

    def message(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(visible(text)), soft_wrap=True)

    def clean_accuracy(self, accuracy: Accuracy) -> None:
        """Print the accuracy."""
        self.message(f"clean accuracy {accuracy_text(accuracy)}")

    def begin(self, stage: str, total: int) -> None:
        """Replace the bar."""
        self.end()
        self._task = self._progress.add_task(stage, total=total)
        now = time.perf_counter()
        self._stage = _Stage(stage, total, now, now)

    def advance(self, samples: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, samples)
        if self._stage is not None:
            self._stage.last = time.perf_counter()

    def end(self) -> None:
        """Remove the bar."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        if self._stage is not None:
            self._stage.log()
            self._stage = None
