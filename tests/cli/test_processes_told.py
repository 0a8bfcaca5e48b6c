"""Requests to end, and errors in one of several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command_line import Cli
from tests.cli.refusals import EARLIER

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@posix
@pytest.mark.parametrize("command", ["scan", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_a_request_to_end_leaves_no_copy_of_the_weights(here: Path, command: str) -> None:
    (here / "temporary").mkdir()
    words = [
        command,
        "model.onnx",
        "--data",
        "data.npz",
        "--attack",
        "pgd",
        "--json",
        "report.json",
    ]
    run = subprocess.Popen(
        [sys.executable, "-m", "lsa_cli", *words, "--steps", "1000000"],
        env={
            **{name: value for name, value in os.environ.items() if name != "RANK"},
            "TMPDIR": str(here / "temporary"),
        },
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while not list((here / "temporary").glob("lsa-onnx-*/weights.bin")):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        _, told = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in told
    assert list((here / "temporary").glob("lsa-onnx-*")) == []
    assert (here / "report.json").read_text("utf-8") == EARLIER


@posix
def test_the_command_takes_signals_in_the_first_process_alone(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    def seen(*_: object) -> str:
        found.append(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_onnx.scanning.books.measured", seen)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert cli("scan", "model.onnx", "--data", "data.npz", "-q").code == 130
    assert found == [False, True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["harden", "model.onnx", "--data", "missing.npz"], 2),
        (["harden", "text.onnx", "--data", "data.npz"], 3),
        (["harden", "model.onnx", "--data", "data.npz", "--epohcs", "3"], 2),
    ],
)
def test_an_error_is_told_once_on_each_machine(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    told = []
    for rank, local in (("0", "0"), ("1", "1"), ("2", "0"), ("3", "1")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", local)
        outcome = cli(*words, "-o", f"{rank}.onnx")
        assert (outcome.code, outcome.out) == (code, "")
        told.append(len(outcome.err.splitlines()))
    assert told == [1, 0, 1, 0]
