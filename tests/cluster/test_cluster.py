"""Scans on local Ray workers: the same bits as a single process, also where a worker is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import graphs
from tests.scanning.helpers import classes_of, saved, stored

pytest.importorskip("ray", reason="needs the extra [cluster]")

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--device", "cpu", "--attack", "salt", "--attack", "pgd", "--batch", "8", "-q")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    proto = graphs.conv_net()
    x = graphs.samples(5, 37, 3, 5, 7)
    saved(tmp_path, proto)
    saved(tmp_path, graphs.conv_net(opset=13), "other.onnx")
    stored(tmp_path, x=x, y=classes_of(proto, {"x": x}))
    (tmp_path / "reports").mkdir()
    return tmp_path


def started(here: Path, *words: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(str(ROOT / part) for part in ("", "cli", "trainer"))
    return subprocess.Popen(
        [sys.executable, "-m", "lsa_cli", "scan", *words, "--data", "data.npz", *QUICK],
        cwd=here,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(run: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = run.communicate(timeout=240)
    return run.returncode, out, err


def figures(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    del found["created"]
    for own in ("seconds", "command", "threads"):
        del found["run"][own]
    return found


def whole(here: Path, model: str) -> dict[str, Any]:
    assert ended(started(here, model, "--json", "whole.json"))[0] == 0
    return figures(here / "whole.json")


@pytest.mark.slow
def test_two_workers_find_what_one_process_finds(here: Path) -> None:
    saved(here, graphs.typed_net("float32"), "five.onnx")
    words = ("--cluster", "local", "--workers", "2", "--shards", "2", "--reports", "reports")
    code, out, err = ended(started(here, "five.onnx", "model.onnx", "other.onnx", *words))
    # What works is reported, and what does not is told in one line.
    assert code == 2, err
    (line,) = err.splitlines()
    assert line.startswith("lsa-onnx: 'five.onnx': ")
    assert "samples have shape 3x5x7" in line
    shown = sorted(out.splitlines())
    assert [text.partition(":")[0] for text in shown] == ["model.onnx", "other.onnx"]
    for name in ("model", "other"):
        assert figures(here / f"reports/{name}.json") == whole(here, f"{name}.onnx")
        assert (here / f"reports/{name}.html").exists()
    assert not (here / "reports/five.json").exists()


def at_work(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of ``run`` that score a shard at this moment."""
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:1] == ["ray::scan_shard"]:
                found.append(process)
    return found


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(here: Path) -> None:
    words = ("--samples", "37", "--steps", "400", "--cluster", "local", "--work", "work")
    run = started(here, "model.onnx", "--workers", "2", "--json", "cluster.json", *words)
    deadline = time.monotonic() + 120
    killed = 0
    while run.poll() is None and killed < 2:
        assert time.monotonic() < deadline
        for process in at_work(run):
            # Some way into its work; each of the two workers once.
            time.sleep(0.3)
            process.send_signal(signal.SIGKILL)
            killed += 1
        time.sleep(0.02)
    code, _, err = ended(run)
    assert (code, err) == (0, "")
    assert killed >= 2
    assert ended(started(here, "model.onnx", "--steps", "400", "--json", "whole.json"))[0] == 0
    assert figures(here / "cluster.json") == figures(here / "whole.json")
    assert list((here / "work").rglob("*.npz")) == []
