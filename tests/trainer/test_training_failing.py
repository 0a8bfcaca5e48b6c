"""What cannot be trained ends in one line, and costs nothing that was saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_onnx.errors import DataError, DeviceError
from lsa_trainer.training import checkpoint
from lsa_trainer.training.log import read_log
from lsa_trainer.training.stepper import TrainingFailed
from tests.trainer.small_runs import (
    CLASSES,
    FEATURES,
    IMAGES,
    Recorder,
    cnn,
    job,
    material,
    mlp,
    options,
    run,
)


class Unsteady(nn.Module):
    """Answers are finite, gradients at 0 are not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y + (y * 0).abs().sqrt()


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (mlp, {"optimizer": "sgd", "lr": 1e30}, r"the loss is (nan|inf) at step 2 \(J .*; CM 1 "),
        (Unsteady, {"gamma": "0"}, "the norm of the gradient is nan at step 1; "),
    ],
)
def test_what_is_not_finite_ends_the_run_and_costs_nothing(
    make: Callable[[], nn.Module], how: dict[str, Any], message: str, clip: float, tmp_path: Path
) -> None:
    module = make()
    layers = ["1"] if "gamma" not in how else []
    if clip and not layers:
        how = {**how, "ema": 0.5}
    given = options(**how, clip=clip if not layers else 0.0, warmup=0.0, checkpoint_every=1)
    with pytest.raises(TrainingFailed, match=message) as caught:
        run(job(module, layers), tmp_path, given)
    assert "\n" not in str(caught.value)
    assert "with a smaller lr or gamma" in str(caught.value)
    kept = checkpoint.load(tmp_path)
    assert kept is not None
    assert kept.step == len([e for e in read_log(tmp_path / "log.jsonl") if e["event"] == "step"])
    assert all(t.isfinite().all() for n, t in kept.tensors.items() if n.startswith("weights."))


class Detached(nn.Module):
    """A weight that the answers do not depend on."""

    def __init__(self, rounded: bool) -> None:
        super().__init__()
        self.inner, self.rounded = mlp(), rounded

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y.round() + x[:, :CLASSES] if self.rounded else y.detach() + x[:, :CLASSES]


@pytest.mark.parametrize("rounded", [False, True])
def test_what_no_gradient_reaches_is_refused(rounded: bool, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no gradient reaches any weight"):
        run(job(Detached(rounded)), tmp_path, options())


def test_weights_that_no_gradient_reaches_are_named(tmp_path: Path) -> None:
    module, seen = mlp(), Recorder()
    lonely = nn.Parameter(torch.ones(2))
    of = job(module, parameters={**dict(module.named_parameters()), "lonely": lonely})
    run(of, tmp_path, options(), listener=seen)
    assert "no gradient reaches lonely in the first step" in seen.said


@pytest.mark.parametrize("shape", [(FEATURES,), IMAGES])
def test_crops_need_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    axis = None if len(shape) == 1 else 1
    module = mlp() if axis is None else cnn(norm=False)
    crop = 1 if axis is None else 5
    with pytest.raises(DataError, match="need images" if axis is None else "5×7 pixels"):
        run(job(module, channel_axis=axis), tmp_path, options(crop=crop), material(shape))


def test_a_log_for_tensorboard_needs_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(DataError, match=r"lsa-onnx\[tensorboard\]"):
        run(job(mlp()), tmp_path, options(tensorboard=True))


def test_half_precision_needs_a_gpu(tmp_path: Path) -> None:
    how = options(precision="16-mixed")
    with pytest.raises(DeviceError, match=r"'16-mixed' needs a CUDA device.* bf16-mixed"):
        run(job(mlp(), ["1"]), tmp_path, how)
