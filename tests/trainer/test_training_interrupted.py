"""A run that stops anywhere goes on as if nothing had been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from lsa_onnx.errors import DataError
from lsa_trainer.training import checkpoint
from tests.trainer.small_runs import (
    Recorder,
    Stopping,
    assert_equal,
    job,
    mlp,
    options,
    run,
    scored,
    weights,
)


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [(1, 0.5, 0.5), (1, 0.6, 0.6), (1, 0.9, 0.1), (1, 0.2, 0.7), (1, 0.3, 0.75)]
    how = options(epochs=4, checkpoint_every=2, ema=0.5)
    whole, halved = mlp(dropout=0.5), mlp(dropout=0.5)
    scored(monkeypatch, scores)
    expected = run(job(whole, ["1"]), tmp_path / "whole", how)
    folder = tmp_path / "halved"
    scored(monkeypatch, scores)
    with pytest.raises(KeyboardInterrupt):
        run(job(halved, ["1"]), folder, how, listener=Stopping(stop))
    saved = checkpoint.load(folder)
    assert saved is not None
    scored(monkeypatch, scores[1 + saved.step // 3 :])
    other, seen = mlp(seed=9, dropout=0.5), Recorder()
    found = run(job(other, ["1"]), folder, how, listener=seen)
    ends = [checkpoint.load(tmp_path / name) for name in ("whole", "halved")]
    one, two = (dict(end.tensors) for end in ends if end is not None)
    assert_equal(one, two)
    assert_equal(weights(other), weights(whole))
    assert seen.said[0] == f"resumed at step {saved.step} of 12"
    assert (found.history, found.notes, found.best) == (
        expected.history,
        expected.notes,
        expected.best,
    )
    logs = [
        (tmp_path / name / "log.jsonl").read_bytes().splitlines() for name in ("whole", "halved")
    ]
    assert logs[0] == logs[1]
    steps = [json.loads(line) for line in logs[1]]
    assert [e["step"] for e in steps if e["event"] == "step"] == list(range(1, 13))
    assert [e["step"] for e in steps if e["event"] == "validation"] == [0, 3, 6, 9, 12]


def test_the_scale_of_saturated_logits_is_that_of_the_first_step(tmp_path: Path) -> None:
    """A notebook goes on with a module that has moved: what was measured before must still hold."""
    module = mlp()
    with torch.no_grad():
        module[3].weight *= 1000
    how = options(epochs=4, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        run(job(module, ["1"]), tmp_path, how, listener=Stopping(2))
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    temperature = saved.record["fixed"]["temperature"]
    assert temperature > 1
    assert run(job(mlp(), ["1"]), tmp_path, how).temperature == temperature


def test_the_scale_of_the_loss_in_float16_goes_on(tmp_path: Path) -> None:
    """A scale that starts anew overflows for some steps, which are left out: other weights."""
    how = options(epochs=4, checkpoint_every=1, precision="16-mixed")
    whole, halved, other = mlp(), mlp(), mlp(seed=9)
    run(job(whole, ["1"]), tmp_path / "whole", how, fabric=in_float16())
    folder = tmp_path / "halved"
    with pytest.raises(KeyboardInterrupt):
        run(job(halved, ["1"]), folder, how, listener=Stopping(7), fabric=in_float16())
    run(job(other, ["1"]), folder, how, fabric=in_float16())
    assert_equal(weights(other), weights(whole))
    ends = [checkpoint.load(tmp_path / name) for name in ("whole", "halved")]
    scales = [end.record["precision"]["scale"] for end in ends if end is not None]
    assert scales[0] == scales[1] != FIRST_SCALE


FIRST_SCALE = 2.0**30


def in_float16() -> Fabric:
    """As on a GPU, on the CPU: a scale that is too large at first, and that grows every other step."""
    scaler = torch.amp.GradScaler("cpu", init_scale=FIRST_SCALE, growth_interval=2)
    fabric = Fabric(
        accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler)
    )
    fabric.launch()
    return fabric


def test_a_run_is_not_gone_on_with_under_other_options(tmp_path: Path) -> None:
    run(job(mlp()), tmp_path, options())
    with pytest.raises(DataError, match=r"run in this folder has options = .*--fresh") as caught:
        run(job(mlp()), tmp_path, options(lr=0.5))
    assert "\n" not in str(caught.value)
