"""Runs a case through the command line itself, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.fuzz.case import FOLDER, Case
from tests.fuzz.judging import judged
from tests.fuzz.outcomes import Outcome, Ran
from tests.fuzz.watch import changes, lay_decoy

_ROOT = Path(__file__).resolve().parents[2]


def run_again(case: Case, limit_s: float) -> Ran:
    """What a user would see of ``case``, the check of the model included.

    Args:
        case: What to run.
        limit_s: Seconds that it may take.
    """
    with tempfile.TemporaryDirectory(prefix="lsa-onnx-fuzz-") as name:
        root = Path(name)
        for folder in (FOLDER, "tmp"):
            (root / folder).mkdir()
        case.write(root / FOLDER)
        lay_decoy(root)
        start = time.perf_counter()
        verdict = _judged(root, case, limit_s)
        return replace(verdict, command=case.arguments[0], seconds=time.perf_counter() - start)


def _judged(root: Path, case: Case, limit_s: float) -> Ran:
    with subprocess.Popen(
        _command(case),
        cwd=root / FOLDER,
        env=_environment(root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            told = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            # With what it started.
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            return Ran(Outcome.HANG, f"no end within {limit_s:g} s", "hang")
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return Ran(Outcome.CRASH, name, name)
    out, err = (each.decode("utf-8", "backslashreplace") for each in told)
    return judged(root, case, process.returncode, out, err, list(changes(root, case)))


def _command(case: Case) -> list[str]:
    if case.arguments[0] == "read":
        return [sys.executable, "-m", "tests.fuzz.reading", *case.arguments[1:]]
    return [sys.executable, "-m", "lsa_cli", *case.arguments]


def _environment(root: Path) -> dict[str, str]:
    path = os.pathsep.join(str(_ROOT / name) for name in (".", "cli", "trainer"))
    return os.environ | {"PYTHONPATH": path, "TMPDIR": str(root / "tmp"), "COLUMNS": "100"}
