"""Trains once in peace, and once with a kill at random moments; fails where that makes a difference.

Usage: python -m tests.trainer.killed_run FOLDER OPTIONS KILLS
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lsa_trainer.listener import TrainingListener
from lsa_trainer.training import checkpoint
from lsa_trainer.training.log import read_log
from tests.trainer.small_runs import IMAGES, cnn_with_dropout, job, material, options, run


class Telling(TrainingListener):
    """Writes a byte for each step."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        os.write(self.pipe, b".")


def main(folder: Path, changes: Mapping[str, Any], kills: int) -> None:
    """Print how many steps each killed run did."""
    whole, halved = folder / "whole", folder / "killed"
    assert os.waitpid(started(whole, changes)[0], 0)[1] == 0
    chance = random.Random(kills)  # noqa: S311 - when to kill is no secret
    print(*(killed(halved, changes, chance) for _ in range(kills)))
    saved = checkpoint.load(halved)
    assert saved is not None
    assert saved.step < len(steps_of(whole)), "killed too late"
    assert os.waitpid(started(halved, changes)[0], 0)[1] == 0
    require_equal(whole, halved)


def started(folder: Path, changes: Mapping[str, Any]) -> tuple[int, int]:
    """A process that trains to the end, and a pipe that tells of its steps."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    module = cnn_with_dropout()
    of = job(module, ["2"], channel_axis=1, statistics=dict(module.named_buffers()))
    run(of, folder, options(**changes), material(IMAGES), Telling(writing))
    os._exit(0)


def killed(folder: Path, changes: Mapping[str, Any], chance: random.Random) -> int:
    """Go on for some steps and be killed, in a step, in a save or in a validation."""
    child, reading = started(folder, changes)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        done = sum(len(pipe.read(1)) for _ in range(chance.randint(1, 6)))
        # A step takes a few milliseconds, and so does a save.
        time.sleep(chance.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return done + len(pipe.read())


def steps_of(folder: Path) -> list[int]:
    return [e["step"] for e in read_log(folder / "log.jsonl") if e["event"] == "step"]


def require_equal(whole: Path, halved: Path) -> None:
    """Weights, averages, the best ones and the optimizer's memory, bit for bit; and the logs."""
    one, two = checkpoint.load(whole), checkpoint.load(halved)
    assert one is not None
    assert two is not None
    assert one.step == two.step
    assert one.record == two.record
    assert one.tensors.keys() == two.tensors.keys()
    assert [n for n in one.tensors if not torch.equal(one.tensors[n], two.tensors[n])] == []
    assert steps_of(halved) == list(range(1, one.step + 1))
    assert read_log(whole / "log.jsonl") == read_log(halved / "log.jsonl")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
