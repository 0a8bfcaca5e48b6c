"""Two processes that torchrun starts, each with half of a batch, train as one process with all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.report import read_hardening
from lsa_trainer.training.log import read_log
from tests.trainer.several_processes import hardened, train
from tests.trainer.written import contents

ROOT = Path(__file__).resolve().parents[2]
LONG = {"epochs": 4, "crop": 1, "flip": True, "ema": 0.5, "lr": 0.01}


def torchrun(*arguments: str) -> None:
    """Run the script in two processes."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "trainer")])
    # Standalone: it looks for a free port itself.
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ran = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.trainer.several_processes", *arguments],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def trained(folder: Path, changes: dict[str, Any]) -> list[Any]:
    """Train in two processes; what each of them saw."""
    torchrun(str(folder), json.dumps(changes))
    return [json.loads((folder / f"process-{rank}.json").read_text()) for rank in (0, 1)]


def curve(folder: Path, key: str, event: str = "step") -> list[float]:
    return [each[key] for each in read_log(folder / "log.jsonl") if each["event"] == event]


def assert_alike(tmp_path: Path, changes: dict[str, Any]) -> None:
    first, second = trained(tmp_path / "two", changes)
    train(tmp_path / "one", changes)
    assert (first["told"], second["told"]) == (3 * changes["epochs"], 0)
    assert first["weights"] == second["weights"]
    for key in ("loss", "base", "regulariser", "robust", "lr", "eps_scale"):
        one, two = (curve(tmp_path / name, key) for name in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-4, abs=1e-6), key
    for key in ("clean", "one_step", "robust"):
        one, two = (curve(tmp_path / name, key, "validation") for name in ("one", "two"))
        assert two == one, key


@pytest.mark.slow
def test_two_processes_descend_as_one(tmp_path: Path) -> None:
    assert_alike(tmp_path, {**LONG, "gamma": "auto"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"base": "at-pgd", "gamma": "0.5"},
        {"base": "at-trades", "gamma": "auto", "optimizer": "sgd"},
        {"base": "standard", "gamma": "0.5"},
    ],
    ids=lambda changes: changes["base"],
)
def test_other_objectives_too(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_alike(tmp_path, {**LONG, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["clean", "all"])
def test_running_statistics_are_shared(policy: str, tmp_path: Path) -> None:
    """Statistics of half a batch are others, so the curves may differ; the processes may not."""
    changes = {**LONG, "gamma": "0.5", "batch_norm": policy}
    first, second = trained(tmp_path / "two", changes)
    assert first["weights"] == second["weights"]
    assert first["weights"]["1.num_batches_tracked"] > 0


@pytest.mark.slow
def test_a_file_is_hardened_by_two(model: Path, samples: Path, tmp_path: Path) -> None:
    torchrun(str(tmp_path))
    one, two = hardened(tmp_path, "one.onnx"), read_hardening(tmp_path / "two.onnx.run/result.json")
    assert (two.comparison, two.objection) == (one.comparison, one.objection)
    assert two.output == str(tmp_path / "two.onnx")
    files = [contents(tmp_path / f"{name}.onnx") for name in ("one", "two")]
    for name, array in files[0].items():
        np.testing.assert_allclose(files[1][name], array, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_what_the_first_fails_at_ends_both(model: Path, samples: Path, tmp_path: Path) -> None:
    torchrun(str(tmp_path), "failing")
    first, second = (json.loads((tmp_path / f"ends-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    expected = ("eps 2 is larger", "--max-memory 1.0 KiB is too little", "this is a folder")
    for text, words in zip(first, expected, strict=True):
        assert text.startswith("DataError: ")
        assert words in text
