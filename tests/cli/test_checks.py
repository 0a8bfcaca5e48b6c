"""Every command that opens a model has it tried out first, and says how to do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lsa_cli import checks
from lsa_cli.main import CHECKED, COMMANDS
from lsa_onnx.checking import Checker
from lsa_onnx.errors import UnsafeModelError
from tests import graphs
from tests.cli.command_line import Cli
from tests.cli.hostile_cases import CASES
from tests.runtime.custom_ops import build_library, doubling_net

# What each command needs beside the model, of the folder of ``here``.
WORDS = {
    "scan": ["model.onnx", "-q"],
    "evaluate": ["model.onnx", "--data", "data.npz", "-q"],
    "landscape": ["model.onnx", "--data", "data.npz", "-q"],
    "decision-boundary": ["model.onnx", "--data", "data.npz", "-q"],
    "harden": ["model.onnx", "--data", "data.npz", "-o", "out.onnx"],
    "loop": ["model.onnx", "--data", "data.npz", "-o", "out.onnx"],
    "tune": ["model.onnx", "--data", "data.npz", "-o", "best.toml"],
    "layers": ["model.onnx"],
    "expose": ["model.onnx", "-o", "out.onnx"],
    "compare": ["model.onnx", "two.onnx", "-q"],
    "diff": ["model.onnx", "two.onnx"],
    "doctor": ["model.onnx"],
}


class Suspicious:
    """Finds something in every model, and remembers what was asked and whether it was ended."""

    made: ClassVar[list[Suspicious]] = []

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ended = False
        self.made.append(self)

    def __enter__(self) -> Suspicious:  # noqa: PYI034 - nobody derives from it
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True

    def check(self, path: object, **_: Any) -> None:
        self.asked.append(str(path))
        raise UnsafeModelError(f"{str(path)!r} is suspicious; give another one")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Suspicious]:
    """The processes that were started."""
    monkeypatch.setattr(Suspicious, "made", [])
    monkeypatch.setattr(checks, "start", Suspicious)
    return Suspicious.made


def test_every_command_that_takes_a_model_is_listed() -> None:
    assert sorted(WORDS) == sorted(CHECKED)
    # The models of the demo and of recipes are ours, and merge opens none; report does for --annotate alone.
    assert set(COMMANDS) - CHECKED == {"demo", "merge", "recipe", "report"}


@pytest.mark.parametrize("command", sorted(WORDS))
def test_a_command_stops_before_it_opens_the_model(
    cli: Cli, here: Path, made: list[Suspicious], command: str
) -> None:
    before = sorted(path.name for path in here.iterdir())
    outcome = cli(command, *WORDS[command])
    assert outcome.code == 5
    # The machine's part of the doctor's answer is no less true.
    assert outcome.out == "" or command == "doctor"
    assert outcome.line == "lsa-onnx: 'model.onnx' is suspicious; give another one"
    assert sorted(path.name for path in here.iterdir()) == before
    # It was started before the command was known to be right, and used.
    assert [(each.asked, each.ended) for each in made] == [(["model.onnx"], True)]


@pytest.mark.parametrize("command", ["scan", "layers", "expose", "diff"])
def test_a_command_that_is_told_not_to_check(
    cli: Cli, here: Path, made: list[Suspicious], command: str
) -> None:
    outcome = cli(command, *WORDS[command], "--no-check")
    assert outcome.code == (1 if command == "diff" else 0), outcome.err
    assert made == []


@pytest.mark.parametrize("words", [["scan", "--help"], ["layers", "-h"], ["scan"], ["demo", "-h"]])
def test_no_process_is_started_in_vain(cli: Cli, made: list[Suspicious], words: list[str]) -> None:
    cli(*words)
    assert made == []


def test_a_wrong_word_ends_what_was_started(cli: Cli, here: Path, made: list[Suspicious]) -> None:
    assert cli("scan", "model.onnx", "--etta", "3").code == 2
    assert [(each.asked, each.ended) for each in made] == [([], True)]


def test_without_a_model_the_doctor_checks_none(cli: Cli, made: list[Suspicious]) -> None:
    assert cli("doctor").code == 0
    assert made == []


def test_both_models_of_a_comparison_are_checked(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crash,) = (case for case in CASES if "crashes" in case.name)
    (here / "sub").mkdir()
    crash.make(here / "sub")
    monkeypatch.setattr(checks, "start", Checker)
    outcome = cli("diff", "model.onnx", "sub/model.onnx")
    assert outcome.code == 5
    assert outcome.line.startswith("lsa-onnx: 'sub/model.onnx' is not opened")


@pytest.mark.parametrize(
    "words",
    [
        ["layers", "net.onnx"],
        ["expose", "net.onnx", "-o", "out.onnx"],
        ["scan", "net.onnx", "-q", "--attack", "gaussian"],
        ["evaluate", "net.onnx", "-q", "--data", "x.npz", "--attack", "square", "--steps", "5"],
    ],
)
def test_a_model_with_custom_operators(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    library = build_library(here)
    graphs.save(doubling_net(), here / "net.onnx")
    np.savez(here / "x.npz", x=graphs.samples(0, 6, 5), y=np.arange(6) % 3)
    without = cli(*words)
    assert without.code == 3
    assert "operator 'Double' of domain 'lsa.tests'" in without.line
    assert "--custom-ops LIB" in without.line
    monkeypatch.setattr(checks, "start", Checker)
    assert cli(*words, "--custom-ops", library).code == 0


@pytest.mark.slow
def test_the_whole_program_checks_a_good_model(here: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "lsa_cli", "layers", "model.onnx"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
