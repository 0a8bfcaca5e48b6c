"""Saves in a tight loop, is killed at a random moment, and looks at what is left, again and again.

Usage: python -m tests.trainer.killed_while_saving FOLDER TIMES
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import torch

from lsa_trainer.training.checkpoint import Checkpoint, load, save

ELEMENTS = 50_000


def main(folder: str, times: int) -> None:
    """Print the step of each restart; fail where a checkpoint is lost or wrong."""
    chance = random.Random(times)  # noqa: S311 - when to kill is no secret
    step = 0
    for _ in range(times):
        saved = killed_run(folder, step, chance)
        found = load(folder)
        # The step whose save was not over may be there or not.
        assert found is not None
        assert saved <= found.step <= saved + 1, (saved, found.step)
        assert found.record == {"step": found.step}
        assert torch.equal(found.tensors["w"], torch.full((ELEMENTS,), float(found.step)))
        assert found.notes == ()
        step = found.step
        print(step)


def killed_run(folder: str, step: int, chance: random.Random) -> int:
    """Go on from a step and be killed in or after a save; the last step that was saved."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for following in range(step + 1, sys.maxsize):
            tensors = {"w": torch.full((ELEMENTS,), float(following))}
            save(folder, Checkpoint(following, tensors, {"step": following}))
            os.write(writing, b".")
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        pipe.read(1)
        start = time.perf_counter()
        done = 1 + sum(len(pipe.read(1)) for _ in range(chance.randint(1, 3)))
        # A save takes about as long as those just seen, however busy the machine is.
        time.sleep(chance.random() * (time.perf_counter() - start) / (done - 1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return step + done + len(pipe.read())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]))
