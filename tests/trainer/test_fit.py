"""AT-LR for modules whose source is at hand, as a PyTorch user calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import lsa_trainer
from lsa_onnx.errors import DataError, LsaError, ModelError
from lsa_trainer import TrainingOptions, fit
from tests import graphs
from tests.trainer.small_runs import CLASSES, FEATURES, Recorder, blobs, cnn, mlp, options, weights

COUNT = 90


def data(shape: tuple[int, ...] = (FEATURES,)) -> tuple[Tensor, Tensor]:
    made = blobs(COUNT, shape)
    assert made.y is not None
    return made.x, made.y


def test_a_module_learns_and_is_exported(tmp_path: Path) -> None:
    module, seen, (x, y) = mlp(), Recorder(), data()
    path = tmp_path / "m.onnx"
    how = options(epochs=20, validate_every=5)
    trained = fit(
        module, x, y, layers=["1"], options=how, folder=tmp_path / "run", listener=seen, export=path
    )
    assert trained.best.robust > max(trained.before.robust, 0.9)
    assert trained.gammas == {"1": 0.2}
    assert all(values["cm"].keys() == {"1"} for values in seen.steps)
    # Of 90 samples 18 validate, so 72 train, in batches of 16.
    assert trained.steps == 20 * 4
    assert not any(each.training for each in module.modules())
    assert all(p.grad is None for p in module.parameters())
    (found,) = graphs.run(onnx.load(path), {"x": x.numpy()}).values()
    np.testing.assert_allclose(found, module(x).detach(), rtol=1e-4, atol=1e-5)


def test_arrays_and_another_range(tmp_path: Path) -> None:
    x, y = data()
    one, two = mlp(), mlp()
    first = fit(one, x, y, options=options(), folder=tmp_path / "a")
    second = fit(
        two, x.numpy(), y.numpy().astype(np.uint8), options=options(), folder=tmp_path / "b"
    )
    assert first.history == second.history
    third = fit(mlp(), 2 * x - 1, y, options=options(), folder=tmp_path / "c", low=-1.0, high=1.0)
    assert third.history != first.history
    assert torch.equal(x, data()[0])


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_samples_in_another_precision(kind: torch.dtype, tmp_path: Path) -> None:
    x, y = data()
    x = x.half().float()
    expected = fit(mlp(), x, y, options=options(), folder=tmp_path / "a")
    found = fit(mlp(), x.to(kind).numpy(), y, options=options(), folder=tmp_path / "b")
    assert found.history == expected.history


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_modules_in_another_precision(kind: torch.dtype, tmp_path: Path) -> None:
    module, (x, y) = mlp().to(kind), data()
    before = weights(module)
    trained = fit(module, x, y, layers=["1"], options=options(), folder=tmp_path)
    assert trained.steps == 8
    assert {p.dtype for p in module.parameters()} == {kind}
    if trained.best_step:
        assert any(not torch.equal(p, before[n]) for n, p in module.named_parameters())


def test_the_same_call_goes_on(tmp_path: Path) -> None:
    class Stopping(Recorder):
        def stepped(self, step: int, values: Any) -> None:
            if step == 6:
                raise KeyboardInterrupt

    x, y = data((2, 5, 7))
    how = options(batch_norm="all", crop=1, ema=0.5, checkpoint_every=5, max_clean_drop=0.9)
    whole, halved = cnn(), cnn()
    expected = fit(whole, x, y, layers=["2"], options=how, folder=tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fit(halved, x, y, layers=["2"], options=how, folder=tmp_path / "b", listener=Stopping())
    seen = Recorder()
    found = fit(halved, x, y, layers=["2"], options=how, folder=tmp_path / "b", listener=seen)
    assert seen.said == ["resumed at step 5 of 8"]
    assert found.history == expected.history
    ends = weights(whole), weights(halved)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert ends[0]["1.num_batches_tracked"] > 0


def test_a_run_is_gone_on_with_under_the_same_conditions_alone(tmp_path: Path) -> None:
    x, y = data()
    fit(mlp(), x, y, options=options(epochs=1), folder=tmp_path)
    for changed, what in (
        ({"options": options(epochs=2)}, "epochs = 1 and this one 2"),
        ({"layers": ["1"]}, "layers = "),
        ({"high": 1.5}, "range = "),
        ({"x": x.flip(0)}, "samples = "),
        ({"module": nn.Linear(FEATURES, CLASSES)}, "module = "),
    ):
        given: dict[str, Any] = {"module": mlp(), "x": x, "y": y, "options": options(epochs=1)}
        with pytest.raises(DataError, match=rf"the run in this folder has {what}.*--fresh"):
            fit(**{**given, **changed}, folder=tmp_path)


class Twice(nn.Module):
    """One ReLU in two places, one in none, and a result that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Linear(FEATURES, 8), nn.ReLU()
        self.rnn = nn.RNN(8, 8, batch_first=True)
        self.last, self.idle = nn.Linear(8, CLASSES), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(self.relu(self.first(x))[:, None])
        return self.last(self.relu(states[:, 0]))


class Summed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ["7"]}, r"no submodule '7' to regularise; accepted are 0, 1, 2, 3"),
        ({"module": Twice(), "layers": ["relu"]}, "submodule 'relu' runs several times"),
        ({"module": Twice(), "layers": ["rnn"]}, "submodule 'rnn' gives tuple, not a tensor"),
        (
            {"module": Twice(), "layers": ["idle"]},
            "submodule 'idle' does not run; regularise another",
        ),
        (
            {"layers": "relu"},
            r"layers is the text 'relu'; give a list of names, such as \['relu'\]",
        ),
        (
            {"x": torch.full((COUNT, 5), 0.5)},
            r"cannot take x of shape \(2, 5\): mat1 and mat2 shapes",
        ),
        ({"y": None}, "y is a NoneType, which makes no tensor"),
        ({"high": float("inf")}, "low 0 and high inf are no range"),
        ({"low": 1.0}, "low 1 and high 1 are no range"),
        ({"module": Summed()}, "no parameter of the module requires a gradient"),
        ({"module": nn.Sequential(mlp(), Summed())}, r"gives shape \(2,\); it must give logits"),
        ({"module": nn.RNN(FEATURES, 4)}, "gives tuple; it must give logits"),
        ({"y": torch.arange(COUNT) % 4}, r"label 3 is not one of .* 3 classes \(0\.\.2\); give y"),
        ({"y": torch.arange(COUNT) % 3 - 1}, r"label -1 is not one of the model's 3 classes"),
        ({"y": torch.zeros(COUNT)}, r"y is torch.float32 of shape \(90,\); give whole numbers"),
        ({"y": torch.zeros(7, dtype=torch.int64)}, r"shape \(7,\).* of shape \(90,\)"),
        ({"x": torch.zeros(COUNT, 6, dtype=torch.uint8)}, r"x is torch.uint8 .*scaled to 0 to 1"),
        ({"x": torch.full((COUNT, 6), 1.5)}, "x reaches from 1.5 to 1.5, outside of 0 to 1"),
        ({"x": torch.full((COUNT, 6), torch.nan)}, "x reaches from nan to nan"),
        ({"x": torch.zeros(4, 6), "y": torch.zeros(4, dtype=torch.int8)}, "4 samples are too few"),
        ({"options": TrainingOptions(crop=2)}, "need images"),
        ({"options": TrainingOptions(gamma="a=1"), "layers": ["1"]}, "gamma 'a=1'"),
        ({"device": "cuda:77"}, "cuda:77"),
        ({"device": "gpu"}, "device 'gpu' is not known; use auto, cpu, cuda or cuda:N"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    x, y = data()
    given: dict[str, Any] = {"module": mlp(), "x": x, "y": y, "options": options(epochs=1)}
    with pytest.raises(LsaError, match=message) as caught:
        fit(**{**given, **changes}, folder=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_exported_is_still_trained(tmp_path: Path) -> None:
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            return y if y.sum() > 0 else 2 * y

    module, (x, y) = Choosy(), data()
    with pytest.raises(ModelError, match="cannot export the module"):
        fit(module, x, y, options=options(epochs=1), folder=tmp_path, export=tmp_path / "m.onnx")
    again = fit(module, x, y, options=options(epochs=1), folder=tmp_path)
    assert again.steps == 4


def test_a_place_that_cannot_be_written_is_known_before_training(tmp_path: Path) -> None:
    x, y = data()
    with pytest.raises(DataError, match=r"absent/m\.onnx"):
        fit(mlp(), x, y, folder=tmp_path / "run", export=tmp_path / "absent/m.onnx")
    assert not (tmp_path / "run").exists()


def test_public_names_are_loaded_when_they_are_used() -> None:
    assert sorted(lsa_trainer.__all__) == [
        "HardenOptions",
        "OnnxModule",
        "Trained",
        "TrainingOptions",
        "TuningPlan",
        "fit",
        "harden",
        "load",
        "read_recipe",
        "run_recipe",
        "tune",
    ]
    for name in lsa_trainer.__all__:
        assert callable(getattr(lsa_trainer, name))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = lsa_trainer.absent
    code = "import sys, lsa_trainer; sys.exit('torch' in sys.modules)"
    root = Path(lsa_trainer.__file__).parents[1]
    path = {"PYTHONPATH": f"{root}:{root.parent}"}
    assert subprocess.run([sys.executable, "-c", code], env=path).returncode == 0
