"""Progress of training: a bar on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING

from rich.console import Console

from lsa_cli import terminal
from lsa_cli.training_terminal import TrainingTerminal
from lsa_trainer.training.validation import Scores

if TYPE_CHECKING:
    import pytest

STEP = {"loss": 1.25, "base": 1.0, "regulariser": 0.25, "robust": 0.5, "lr": 0.01}


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(shown: TrainingTerminal, pause: float = 0.0) -> None:
    """Four steps with a validation after the second."""
    with shown:
        shown.message("a machine without CUDA")
        shown.objective({"[bold]relu": 2.0})
        shown.training(4, 0)
        for step in range(1, 5):
            time.sleep(pause)
            shown.stepped(step, STEP)
            if step == 2:
                shown.validated(step, Scores(0.9, 0.6, 0.55))
        shown.training_ended()
        shown.message("a machine without CUDA")


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    watch(TrainingTerminal())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "a machine without CUDA",
        "  γ 2.000  [bold]relu",
        "step 2: clean 90.0 %, one step 60.0 %, robust 55.0 % (validation)",
    ]


def test_fits_are_no_shares(capsys: pytest.CaptureFixture[str]) -> None:
    shown = TrainingTerminal()
    with shown:
        shown.validated(0, Scores(0.5, -0.125, -38.02, "fit"))
    told = "before training: clean 0.500, one step -0.125, robust -38.02 (validation)"
    assert capsys.readouterr().err.splitlines() == [told]


def test_verbose_tells_of_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    watch(TrainingTerminal(verbose=True))
    lines = capsys.readouterr().err.splitlines()
    told = "loss 1.250, LR 0.250, robust 50.0 %, lr 0.010"
    assert [line for line in lines if "lr" in line] == [
        f"step {n} of 4: {told}" for n in (1, 2, 3, 4)
    ]


def test_quiet_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    watch(TrainingTerminal(quiet=True, verbose=True))
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()

    def console(**_: object) -> Console:
        return Console(file=screen, force_terminal=True, width=120)

    monkeypatch.setattr(terminal, "Console", console)
    watch(TrainingTerminal(), pause=0.15)
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue())
    assert re.search(r"training  loss 1\.250, LR 0\.250, robust 50\.0 % .* [1-4]/4", text)
    assert re.search(r"[1-9]/s", text)
    assert "step 2: clean 90.0 %, one step 60.0 %, robust 55.0 % (validation)" in text


def test_the_bar_of_a_resumed_run_starts_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()

    def console(**_: object) -> Console:
        return Console(file=screen, force_terminal=True, width=120)

    monkeypatch.setattr(terminal, "Console", console)
    shown = TrainingTerminal()
    with shown:
        shown.training(9, 7)
        time.sleep(0.25)
    assert "7/9" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue())
