"""What goes where: results to stdout, messages and progress to stderr."""

from __future__ import annotations

import sys
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
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None

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

    def advance(self, samples: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.advance(self._task, samples)

    def end(self) -> None:
        """Remove the bar."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
