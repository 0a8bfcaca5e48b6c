"""Every command of docs/gates.md runs as it stands there, and ends as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lsa_onnx.gates.expression import METRICS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gates.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_metric_is_explained() -> None:
    table = PAGE[PAGE.index("| metric |") : PAGE.index("- **Any**")]
    assert set(re.findall(r"^\| `([a-z&]+)`", table, re.MULTILINE)) == set(METRICS)
    for name, metric in METRICS.items():
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}`")]
        assert ("scan" in row) == ("report" in metric.documents)
        assert ("evaluate" in row) == ("evaluation" in metric.documents)
        assert (":" in row) == (metric.part is not None)


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path) -> None:
    assert len(BLOCKS) >= 8
    path = os.pathsep.join([str(ROOT), str(ROOT / "cli"), str(ROOT / "trainer")])
    setup = f'lsa-onnx() {{ "{sys.executable}" -m lsa_cli "$@"; }}; python() {{ "{sys.executable}" "$@"; }}\n'
    for block in BLOCKS:
        said = re.search(r"^# exit code (\d)$", block, re.MULTILINE)
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{setup}{block}"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == (int(said[1]) if said else 0), block + done.stderr
