"""Which passes use and move running statistics: the policy says it, and attacks never do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_trainer.module import load
from lsa_trainer.trainee import Job, OnnxTrainee
from tests import graphs
from tests.trainer.small_runs import (
    IMAGES,
    cnn,
    job,
    material,
    options,
    run,
)


@pytest.mark.usefixtures("rising")
class TestBatchNorm:
    def trained(self, tmp_path: Path, **changes: Any) -> tuple[nn.Module, dict[str, Tensor]]:
        """One step with all samples in one batch; running statistics by name."""
        module = cnn()
        statistics = dict(module.named_buffers())
        how = options(**{"epochs": 1, "batch_size": 48, "lr": 1e-9, **changes})
        kept = {} if how.batch_norm == "frozen" else statistics
        layers = [] if how.gamma == "0" else ["2"]
        run(job(module, layers, statistics=kept), tmp_path, how, material(IMAGES))
        return module, {name.removeprefix("1."): t for name, t in statistics.items()}

    def test_frozen_statistics_stay(self, tmp_path: Path) -> None:
        _, found = self.trained(tmp_path, batch_norm="frozen")
        assert not found["running_mean"].any()
        assert found["num_batches_tracked"] == 0

    def test_clean_passes_move_them_once_and_attacks_never(self, tmp_path: Path) -> None:
        module, found = self.trained(tmp_path, batch_norm="clean", steps=7)
        with torch.no_grad():
            mean = module[0](material(IMAGES).training.x).mean((0, 2, 3))
        torch.testing.assert_close(found["running_mean"], 0.1 * mean)
        assert found["num_batches_tracked"] == 1

    def test_all_passes_move_them(self, tmp_path: Path) -> None:
        _, found = self.trained(tmp_path, batch_norm="all", steps=7)
        assert found["num_batches_tracked"] == 2

    def test_without_a_clean_pass_nothing_moves_them(self, tmp_path: Path) -> None:
        _, found = self.trained(tmp_path, batch_norm="clean", gamma="0")
        assert found["num_batches_tracked"] == 0
        _, found = self.trained(tmp_path / "all", batch_norm="all", gamma="0")
        assert found["num_batches_tracked"] == 1

    @pytest.mark.parametrize(("policy", "moves"), [("frozen", 0), ("clean", 1), ("all", 2)])
    def test_of_a_file(self, policy: str, moves: int, tmp_path: Path) -> None:
        of, statistics, mean = onnx_batch_norm(tmp_path / "m.onnx", policy)
        how = options(epochs=1, batch_size=48, lr=1e-9, batch_norm=policy, eps="1e-9")
        run(of, tmp_path, how, material(IMAGES))
        kept = 0.9**moves
        torch.testing.assert_close(statistics["mean"], kept * torch.ones(4) + (1 - kept) * mean)


def onnx_batch_norm(path: Path, policy: str) -> tuple[Job, dict[str, Tensor], Tensor]:
    """Conv, BatchNormalization, ReLU, Gemm; its statistics, and the mean over the training samples."""
    one, zero = torch.ones(4).numpy(), torch.zeros(4).numpy()
    made = {"w": graphs.weight(0, 4, 2, 1, 1), "v": graphs.weight(1, 3, 140)}
    made |= {"scale": one, "bias": zero, "mean": one, "var": one * 2}
    nodes = [
        graphs.node("Conv", ["x", "w"], ["c"]),
        graphs.node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        graphs.node("Relu", ["n"], ["r"]),
        graphs.node("Flatten", ["r"], ["f"]),
        graphs.node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    ends = graphs.value("x", ["N", *IMAGES]), graphs.value("y", ["N", 3])
    module = load(graphs.save(graphs.model(nodes, [ends[0]], [ends[1]], made), path))
    kept = {n: t for n, t in module.statistics().items() if policy != "frozen"}
    of = Job(
        trainee=OnnxTrainee(module, ["y", "r"], ["x"]),
        outputs=("y",),
        layers={"r": 0},
        parameters={w.name: module.weight(w.name) for w in module.trained()},
        statistics=kept,
    )
    with torch.no_grad():
        (c,) = module.reading(["c"])(material(IMAGES).training.x).values()
    return of, module.statistics(), c.mean((0, 2, 3))
