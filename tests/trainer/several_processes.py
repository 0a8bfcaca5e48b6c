"""A small run in as many processes as torchrun started.

Usage: python -m torch.distributed.run --nproc_per_node 2 -m tests.trainer.several_processes FOLDER OPTIONS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.trainer.small_runs import Recorder, cnn, job, material, options, run

IMAGES = (2, 5, 7)


def train(folder: Path, changes: Mapping[str, Any]) -> tuple[Recorder, nn.Module]:
    """Train; what was told, and the module."""
    module, seen = cnn(), Recorder()
    how = options(**changes)
    kept = {} if how.batch_norm == "frozen" else dict(module.named_buffers())
    run(job(module, ["2"], statistics=kept, channel_axis=1), folder, how, material(IMAGES), seen)
    return seen, module


def main(folder: Path, changes: Mapping[str, Any]) -> None:
    """Train, and leave what each process saw."""
    torch.set_num_threads(1)
    seen, module = train(folder, changes)
    found = {
        "told": len(seen.steps),
        "weights": {n: t.double().sum().item() for n, t in module.state_dict().items()},
    }
    rank = torch.distributed.get_rank()
    (folder / f"process-{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
