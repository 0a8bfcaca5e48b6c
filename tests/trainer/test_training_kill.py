"""``kill -9`` while a checkpoint is written."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

TIMES = 20
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_killed_run_loses_no_more_than_the_save_it_was_at(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "trainer")])
    ran = subprocess.run(
        [sys.executable, "-m", "tests.trainer.killed_while_saving", str(tmp_path), str(TIMES)],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    steps = [int(line) for line in ran.stdout.split()]
    assert len(steps) == TIMES
    # Each run saved twice at least before it was killed.
    assert all(b >= a + 2 for a, b in pairwise(steps))
