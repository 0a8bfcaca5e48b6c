"""A small run in as many processes as torchrun started; without options, of a file in the folder.

Usage: python -m torch.distributed.run --nproc_per_node 2 -m tests.trainer.several_processes FOLDER [OPTIONS]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

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


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    else:
        hardened(Path(sys.argv[1]), "two.onnx")
    torch.distributed.destroy_process_group()
