"""``kill -9`` at any moment: the run goes on, and ends with the very weights of one that nobody killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_trainer.training import checkpoint
from tests.trainer.small_runs import Recorder, job, mlp, options, run

ROOT = Path(__file__).resolve().parents[2]
ADAMW = {
    "ema": 0.9, "crop": 1, "flip": True, "batch_norm": "clean", "gamma": "auto:0.3", "inner": "ce+cm",
    "gamma_schedule": "rising", "eps_schedule": "random", "clean_weight": 0.3, "lr_power": 2,
}  # fmt: skip
SGD = {**ADAMW, "optimizer": "sgd", "batch_norm": "all", "schedule": "one-cycle", "ema": 0.0}

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


def assert_survives(folder: Path, changes: dict[str, Any], kills: int, epochs: int) -> None:
    changes = {**changes, "epochs": epochs, "checkpoint_every": 2}
    path = os.pathsep.join([str(ROOT), str(ROOT / "trainer")])
    given = [str(folder), json.dumps(changes), str(kills)]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.trainer.killed_run", *given],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    steps = [int(word) for word in ran.stdout.split()]
    assert len(steps) == kills
    assert all(steps)


@needs_kill
@pytest.mark.slow
def test_a_kill_changes_nothing(tmp_path: Path) -> None:
    assert_survives(tmp_path, ADAMW, 1, 6)


@needs_kill
@pytest.mark.slow
@pytest.mark.parametrize("changes", [ADAMW, SGD], ids=["adamw", "sgd"])
def test_fifty_kills_change_nothing(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_survives(tmp_path, changes, 50, 150)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_another_seed_ends_elsewhere(optimizer: str, tmp_path: Path) -> None:
    """Equal tensors above mean something: other steps would give others."""
    found = []
    for seed in (0, 1):
        how = options(seed=seed, optimizer=optimizer)
        run(job(mlp(dropout=0.3), ["1"]), tmp_path / str(seed), how)
        found.append(checkpoint.load(tmp_path / str(seed)))
    one, two = (each.tensors["weights.0.weight"] for each in found if each is not None)
    assert not torch.equal(one, two)


class Interrupted(Recorder):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def stepped(self, step: int, values: Any) -> None:
        if step == self.at:
            raise KeyboardInterrupt


def interrupted(folder: Path, at: int, **changes: Any) -> Any:
    how = options(epochs=4, checkpoint_every=1, **changes)
    with pytest.raises(KeyboardInterrupt):
        run(job(mlp(), ["1"]), folder, how, listener=Interrupted(at))
    return how


@pytest.mark.parametrize("changes", [{"lr": 0.1}, {"ema": 0.5}, {"optimizer": "sgd"}, {"seed": 3}])
def test_other_options_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    interrupted(tmp_path, 7)
    before = {
        path.name: path.read_bytes() for path in tmp_path.glob("*") if path.suffix != ".jsonl"
    }
    with pytest.raises(DataError, match=r"go on with the same options, or start anew") as caught:
        run(job(mlp(), ["1"]), tmp_path, options(epochs=4, checkpoint_every=1, **changes))
    assert "\n" not in str(caught.value)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def assert_same_end(one: Path, two: Path) -> None:
    ends = [checkpoint.load(folder) for folder in (one, two)]
    tensors = [end.tensors for end in ends if end is not None]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())


def newest(folder: Path) -> Path:
    return max(folder.glob("step-*.safetensors"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    how = interrupted(tmp_path / "damaged", 7)
    whole = run(job(mlp(), ["1"]), tmp_path / "whole", how)
    path = newest(tmp_path / "damaged")
    assert path.name == "step-000006.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    seen = Recorder()
    found = run(job(mlp(), ["1"]), tmp_path / "damaged", how, listener=seen)
    assert seen.said[:2] == [
        "resumed from the checkpoint of step 5: step-000006.safetensors is not what was written",
        "resumed at step 5 of 12",
    ]
    assert found.history == whole.history
    assert_same_end(tmp_path / "damaged", tmp_path / "whole")


def test_without_an_intact_one_nothing_is_trained(tmp_path: Path) -> None:
    how = interrupted(tmp_path, 7)
    for path in tmp_path.glob("step-*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"no checkpoint in .* can be used: .*--fresh") as caught:
        run(job(mlp(), ["1"]), tmp_path, how)
    assert "\n" not in str(caught.value)


def test_a_disk_that_fills_up_costs_the_steps_since_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = options(epochs=4, checkpoint_every=1)
    whole = run(job(mlp(), ["1"]), tmp_path / "whole", how)
    calls = 0

    def full(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > 11:
            raise DataError(f"cannot write {str(path)!r}: the disk is full: free some space")
        write_atomically(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(DataError, match=r"cannot write .*state\.json.*the disk is full") as caught:
        run(job(mlp(), ["1"]), tmp_path / "full", how)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    kept = checkpoint.load(tmp_path / "full")
    assert kept is not None
    assert kept.step == 4
    found = run(job(mlp(), ["1"]), tmp_path / "full", how)
    assert found.history == whole.history
    assert_same_end(tmp_path / "full", tmp_path / "whole")
