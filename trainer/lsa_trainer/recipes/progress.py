"""What is told of a recipe that runs: a line for each row, and the bars of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lsa_onnx.errors import LsaError
from lsa_trainer.listener import TrainingListener
from lsa_trainer.recipes.results import RowResult


class Bars(TrainingListener):
    """Passes the progress of a step on, and not its messages: a hundred rows say the same."""

    def __init__(self, listener: TrainingListener) -> None:
        self._listener = listener

    def begin(self, stage: str, total: int) -> None:
        """Pass it on."""
        self._listener.begin(stage, total)

    def advance(self, samples: int) -> None:
        """Pass it on."""
        self._listener.advance(samples)

    def end(self) -> None:
        """Pass it on."""
        self._listener.end()

    def training(self, total: int, done: int) -> None:
        """Pass it on."""
        self._listener.training(total, done)

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._listener.stepped(step, values)

    def training_ended(self) -> None:
        """Pass it on."""
        self._listener.training_ended()


class Rows:
    """Tells what becomes of each of ``total`` rows.

    Attributes:
        listener: What is told.
        bars: For the steps of a row.
    """

    def __init__(self, listener: TrainingListener, total: int) -> None:
        self.listener, self.bars = listener, Bars(listener)
        self._total, self._count = total, 0

    def done(self, result: RowResult, made: bool) -> None:
        """A row is there: its R&G scores, and how long it took unless it was there before."""
        scores = ", ".join(f"{name} {found.r_and_g:.1f}" for name, found in result.attacks.items())
        evaluating = sum(found.seconds for found in result.attacks.values())
        took = f"{result.training_seconds:.0f} s training, {evaluating:.0f} s evaluation"
        self._say(result.row, result.seed, f"R&G {scores} ({took if made else 'kept'})")

    def changed(self, path: Path) -> None:
        """What was kept is of other options than are asked for now."""
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        self.listener.message(f"{where} was made with other options; it is made again")

    def failed(self, row: str, seed: int, error: LsaError) -> None:
        """A row failed; the others go on."""
        self._say(row, seed, f"failed: {error}")

    def elsewhere(self, row: str, seed: int) -> None:
        """Another process has it."""
        self._say(row, seed, "another process is at work on it")

    def left_out(self, count: int) -> None:
        """Some results in the folder are of the recipe as it was before."""
        self.listener.message(
            f"{count} kept result{'s are' if count > 1 else ' is'} of other rows, options or attacks than the recipe "
            "has now, and not shown"
        )

    def _say(self, row: str, seed: int, text: str) -> None:
        self._count += 1
        self.listener.message(f"[{self._count}/{self._total}] {row}, seed {seed}: {text}")
