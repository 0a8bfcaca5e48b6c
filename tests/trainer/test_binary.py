"""Training where one score tells two classes apart: modules, files, and what either may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from lsa_onnx.differences import diff_models
from lsa_onnx.errors import DataError, GateFailed, ModelError
from lsa_trainer import fit
from lsa_trainer.hardening import harden
from lsa_trainer.module import load
from lsa_trainer.objectives.regulariser import comparison_measure
from lsa_trainer.options import HardenOptions
from lsa_trainer.trainee import OnnxTrainee, SourceTrainee, two_columns
from lsa_trainer.training.log import read_log
from tests import graphs
from tests.binary_models import FORMS, Form, logits, points, scorer
from tests.trainer import fragile
from tests.trainer.fragile import options
from tests.trainer.small_runs import FEATURES, blobs
from tests.trainer.small_runs import options as training_options
from tests.trainer.written import contents

Array = graphs.Array


# The two columns


@pytest.mark.parametrize("shape", [(3, 1), (3,), (3, 1, 1, 1)])
def test_two_columns_are_zero_and_the_score(shape: tuple[int, ...]) -> None:
    z = torch.tensor([-2.0, 0.0, 3.0]).reshape(shape).requires_grad_()
    both = two_columns("z", z, 3)
    assert both.tolist() == [[0, -2], [0, 0], [0, 3]]
    np.testing.assert_allclose(both.softmax(1)[:, 1].tolist(), z.sigmoid().flatten().tolist())
    (slope,) = torch.autograd.grad(both.log_softmax(1)[:, 1].sum(), z)
    assert slope.shape == z.shape
    # d/dz log σ(z) = σ(−z).
    np.testing.assert_allclose(slope.flatten(), (-z).sigmoid().flatten().detach(), rtol=1e-6)


def test_the_comparison_measure_of_a_score_stays() -> None:
    clean, perturbed = (torch.tensor(v)[:, None] for v in ([1.0, -4.0, 0.0], [1.5, -1.0, 2.0]))
    both = comparison_measure(two_columns("z", clean, 3), two_columns("z", perturbed, 3))
    assert both.tolist() == comparison_measure(clean, perturbed).tolist() == [0.5, 0.75, 0]


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 4), (4,), ()])
def test_more_scores_than_one_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ModelError, match=r"'z' has shape \(.* for 3 samples, .* \(n, 1\) or \(n,\)"
    ):
        two_columns("z", torch.zeros(shape), 3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_file_gives_them_under_the_name_of_its_logits(
    tmp_path: Path, form: Form, one_by_one: bool
) -> None:
    module = load(graphs.save(scorer(form), tmp_path / "m.onnx"))
    name = "z" if "probability" in form else "y"
    trainee = OnnxTrainee(
        module, (name, "relu0"), ["x"], one_by_one=one_by_one, single=name
    ).reading([name, "relu0"])
    x, _ = points(7)
    found = trainee(torch.from_numpy(x))
    assert {n: tuple(value.shape) for n, value in found.items()} == {name: (7, 2), "relu0": (7, 16)}
    assert not found[name][:, 0].any()
    np.testing.assert_allclose(found[name][:, 1].detach(), logits(x), atol=2e-5)
    assert set(trainee.reading(["relu0"])(torch.from_numpy(x))) == {"relu0"}


# Modules


class Scorer(nn.Module):
    """An MLP with one logit, shape (n, 1) or (n,)."""

    def __init__(self, flat: bool = False, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.hidden = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU())
        self.last = nn.Linear(8, 1)
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.last(self.hidden(x))
        return z.squeeze(1) if self.flat else z


def data() -> tuple[Tensor, Tensor]:
    """90 samples of two classes."""
    made = blobs(135)
    assert made.y is not None
    return made.x[made.y < 2], made.y[made.y < 2]


@pytest.mark.parametrize("flat", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_module_learns(tmp_path: Path, flat: bool) -> None:
    module, (x, y) = Scorer(flat), data()
    how = training_options(epochs=20, validate_every=10)
    trained = fit(module, x, y, layers=["hidden"], binary=True, options=how, folder=tmp_path)
    assert trained.best.robust > max(trained.before.robust, 0.9)
    assert trained.gammas.keys() == {"hidden"}
    z = module(x).detach()
    assert z.shape == ((90,) if flat else (90, 1))
    assert float(((z.flatten() > 0) == y.bool()).double().mean()) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("flat", [False, True])
def test_a_module_is_exported_as_it_is(tmp_path: Path, flat: bool) -> None:
    module, (x, y), path = Scorer(flat), data(), tmp_path / "m.onnx"
    how: dict[str, Any] = {"options": training_options(), "folder": tmp_path / "run"}
    fit(module, x, y, binary=True, export=path, **how)
    z = module(x).detach()
    (found,) = graphs.run(onnx.load(path), {"x": x.numpy()}).values()
    assert found.shape == tuple(z.shape)
    np.testing.assert_allclose(found, z, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_binary_cross_entropy(tmp_path: Path) -> None:
    """Of the first step, which all samples of training make together."""
    module, (x, y) = Scorer(), data()
    z = module(x).detach()
    how = training_options(base="standard", gamma="0", epochs=1, batch_size=999)
    fit(module, x, y, binary=True, options=how, folder=tmp_path)
    first = next(e for e in read_log(tmp_path / "log.jsonl") if e["event"] == "step")
    each = nn.functional.binary_cross_entropy_with_logits(z[:, 0], y.float(), reduction="none")
    # A fifth of the samples validates.
    assert (
        float(each.sort().values[:72].mean())
        <= first["base"]
        <= float(each.sort().values[-72:].mean())
    )


def test_what_a_module_of_one_logit_may_not_be(tmp_path: Path) -> None:
    x, y = data()
    how: dict[str, Any] = {"options": training_options(), "folder": tmp_path}
    with pytest.raises(ModelError, match=r"gives shape \(2, 1\).* with binary=True one of two"):
        fit(Scorer(), x, y, **how)
    with pytest.raises(ModelError, match=r"'output' has shape \(2, 3\) for 2 samples"):
        fit(nn.Linear(FEATURES, 3), x, y, binary=True, **how)
    three = torch.arange(len(y)) % 3
    with pytest.raises(DataError, match=r"label 2 is not one of the model's 2 classes \(0\.\.1\)"):
        fit(Scorer(), x, three, binary=True, **how)


def test_a_source_keeps_its_layers_and_gives_the_same_when_read_anew() -> None:
    x, _ = data()
    trainee = SourceTrainee(Scorer(flat=True), ("output", "last"), binary=True)
    found = trainee.reading(["output", "last"])(x[:5])
    assert (tuple(found["output"].shape), tuple(found["last"].shape)) == ((5, 2), (5, 1))
    assert torch.equal(found["output"][:, 1], found["last"][:, 0])


# Files


def fooled(*, probability: bool = False, batch: int | str = "N") -> onnx.ModelProto:
    """``fragile.mlp`` for its first two classes, with what one logit leads the other by."""
    weights = fragile.mlp_weights()
    weights |= {"v": weights["v"][1:2] - weights["v"][:1], "c": weights["c"][:1]}
    nodes = list(fragile.mlp().graph.node)
    if probability:
        nodes[-1].output[0] = "z"
        nodes.append(graphs.node("Sigmoid", ["z"], ["y"], name="last"))
    ends = [graphs.value("x", [batch, 6])], [graphs.value("y", [batch, 1])]
    return graphs.model(nodes, *ends, weights)


def two_classes(folder: Path) -> Path:
    arrays = fragile.data(180)
    chosen = arrays["y"] < 2
    return fragile.save_data(folder / "two.npz", {n: a[chosen] for n, a in arrays.items()})


def binary(folder: Path, **changes: Any) -> HardenOptions:
    return options(two_classes(folder), decision="binary", **changes)


@pytest.mark.parametrize(
    ("probability", "batch", "layer"),
    [(False, "N", "y"), pytest.param(True, 1, "r", marks=pytest.mark.slow)],
)
def test_a_file_becomes_more_robust(
    tmp_path: Path, probability: bool, batch: int | str, layer: str
) -> None:
    model = graphs.save(fooled(probability=probability, batch=batch), tmp_path / "m.onnx")
    original, target = model.read_bytes(), tmp_path / "hard.onnx"
    result = harden(model, target, binary(tmp_path, mvl=(layer,), epochs=16, validate_every=8))
    found = result.comparison
    assert (found.measure, found.labels) == ("accuracy", "given")
    assert found.clean_before.value == 1
    assert found.robust_before.value < 0.1
    assert found.gain > 0.2
    assert result.output == str(target)
    assert result.config["decision"] == "binary"
    assert model.read_bytes() == original
    difference = diff_models(model, target)
    assert difference.other == []
    assert {t.name for t in difference.changed_tensors} == set(contents(model))


@pytest.mark.slow
def test_predictions_teach_where_there_are_no_labels(tmp_path: Path) -> None:
    model = graphs.save(fooled(), tmp_path / "m.onnx")
    result = harden(model, tmp_path / "hard.onnx", binary(tmp_path, labels="none", force=True))
    assert (result.comparison.measure, result.comparison.labels) == ("accuracy", "predicted")
    assert result.comparison.clean_before.value == 1


def test_refusals_come_before_training(tmp_path: Path) -> None:
    one, target = graphs.save(fooled(), tmp_path / "one.onnx"), tmp_path / "hard.onnx"
    three = graphs.save(fragile.mlp(), tmp_path / "three.onnx")
    how = binary(tmp_path)
    with pytest.raises(DataError, match="--decision binary needs an output of one float"):
        harden(three, target, how)
    data = fragile.save_data(tmp_path / "three.npz", fragile.data(30))
    with pytest.raises(DataError, match="label 2 is not one of the model's 2 classes"):
        harden(one, target, options(data, decision="binary"))
    turned = fragile.data(180)
    turned = {n: a[turned["y"] < 2] for n, a in turned.items()}
    turned["y"][:12] = 1 - turned["y"][:12]
    data = fragile.save_data(tmp_path / "turned.npz", turned)
    with pytest.raises(GateFailed, match=r"accuracy 0\.9000 on 120 samples"):
        harden(one, target, options(data, decision="binary", expect_accuracy=0.95))
    assert not target.exists()


def test_a_classifier_may_be_fitted_as_numbers(tmp_path: Path) -> None:
    model, x = graphs.save(fragile.mlp(), tmp_path / "m.onnx"), fragile.data(60)["x"]
    targets = graphs.run(fragile.mlp(), {"x": x})["y"]
    data = fragile.save_data(tmp_path / "x.npz", {"x": x, "y": targets})
    how = options(data, decision="none", epochs=1, max_clean_drop=0.9, force=True)
    found = harden(model, tmp_path / "hard.onnx", how).comparison
    assert (found.measure, found.labels) == ("fit", "given")
    np.testing.assert_allclose(found.clean_before.value, 1)
