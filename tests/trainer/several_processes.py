"""A small run in as many processes as torchrun started; without options, of a file in the folder.

Usage: python -m torch.distributed.run --nproc_per_node 2 -m tests.trainer.several_processes FOLDER [OPTIONS]

With the word "failing" in place of options, the file is hardened in ways that only the first process sees fail.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsa_onnx.errors import LsaError
from lsa_onnx.report import Hardening
from lsa_trainer.hardening import harden
from tests.trainer import fragile
from tests.trainer.small_runs import IMAGES, Recorder, cnn, job, material, options, run


def train(folder: Path, changes: Mapping[str, Any]) -> tuple[Recorder, nn.Module]:
    """Train; what was told, and the module."""
    module, seen = cnn(), Recorder()
    how = options(**changes)
    kept = {} if how.batch_norm == "frozen" else dict(module.named_buffers())
    run(job(module, ["2"], statistics=kept, channel_axis=1), folder, how, material(IMAGES), seen)
    return seen, module


def main(folder: Path, changes: Mapping[str, Any]) -> None:
    """Train, and leave what each process saw."""
    seen, module = train(folder, changes)
    found = {
        "told": len(seen.steps),
        "weights": {n: t.double().sum().item() for n, t in module.state_dict().items()},
    }
    rank = torch.distributed.get_rank()
    (folder / f"process-{rank}.json").write_text(json.dumps(found))


def hardened(folder: Path, target: str) -> Hardening:
    """What came of the model in the folder."""
    how = fragile.options(folder / "train.npz", gamma="auto")
    return harden(folder / "model.onnx", folder / target, how)


def failing(folder: Path) -> None:
    """Leave the errors that each process ended with."""
    ends = []
    # In place of a file that the first process writes.
    (folder / "failed.onnx.run/log.jsonl").mkdir(parents=True, exist_ok=True)
    changed: list[dict[str, Any]] = [{"mvl": (), "eps": "200%"}, {"max_memory_bytes": 1024}, {}]
    for changes in changed:
        how = fragile.options(folder / "train.npz", **changes)
        try:
            harden(folder / "model.onnx", folder / "failed.onnx", how)
        except LsaError as error:
            ends.append(f"{type(error).__name__}: {error}")
    rank = torch.distributed.get_rank()
    (folder / f"ends-{rank}.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2:] == ["failing"]:
        failing(Path(sys.argv[1]))
    elif len(sys.argv) > 2:
        main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    else:
        hardened(Path(sys.argv[1]), "two.onnx")
    torch.distributed.destroy_process_group()
