"""What attacks are given: objectives by name, labels, and a look at the gradients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lsa_onnx.attacks import Pgd
from lsa_onnx.errors import DataError, ModelError
from tests import graphs
from tests.scanning.adversaries import opened
from tests.scanning.helpers import (
    AWAY,
    at_distance,
    saved,
    scanned,
    separated,
    separated_labels,
    stored,
)

if TYPE_CHECKING:
    import onnx


def three_scores() -> onnx.ModelProto:
    return graphs.typed_net("float32")


@pytest.mark.parametrize("name", ["ce", "margin", "dlr", "kl", "output"])
def test_a_classifier_serves_every_objective(tmp_path: Path, name: str) -> None:
    adversary = opened(saved(tmp_path, three_scores()), samples=4)
    objective = adversary.objective(name)
    assert objective.kind == name
    assert [item.tensor for item in objective.tensors] == ["y"]
    assert adversary.objective(None).kind == adversary.default == "ce"


def test_with_two_classes_the_margin_stands_for_dlr(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, separated()), samples=4)
    assert adversary.classes == 2
    assert adversary.objective("dlr") == adversary.objective("margin")


def best_class(count: int) -> onnx.ModelProto:
    """Returns the best of ``count`` classes and not their scores."""
    weights = {"w": graphs.weight(0, 5, count)}
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["z"]),
        graphs.node("ArgMax", ["z"], ["y"], axis=1, keepdims=0),
    ]
    inputs, outputs = [graphs.value("x", ["N", 5])], [graphs.value("y", ["N"], "int64")]
    return graphs.model(nodes, inputs, outputs, weights)


@pytest.mark.parametrize(("count", "kind"), [(2, "margin"), (4, "dlr")])
def test_scores_that_are_not_returned_are_counted(tmp_path: Path, count: int, kind: str) -> None:
    adversary = opened(saved(tmp_path, best_class(count)), samples=4)
    assert adversary.classes == count
    objective = adversary.objective("dlr")
    assert (objective.kind, objective.tensors[0].tensor) == (kind, "z")


def test_labels_beyond_scores_that_are_not_returned_are_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, x=graphs.samples(0, 3, 5), y=np.array([0, 3, 4]))
    with pytest.raises(DataError, match=r"label 4 is not one of the model's 4 classes"):
        scanned(saved(tmp_path, best_class(4)), data)


def test_an_unknown_objective_names_those_there_are(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, three_scores()), samples=4)
    with pytest.raises(DataError, match=r"unknown objective 'loss'; accepted are ce, margin, dlr,"):
        adversary.objective("loss")
    with pytest.raises(DataError, match=r"unknown objective 'layer:'; .* layer:TENSOR"):
        adversary.objective("layer:")


@pytest.mark.parametrize("name", ["ce", "margin", "dlr", "kl"])
def test_a_regressor_serves_no_objective_of_classes(tmp_path: Path, name: str) -> None:
    adversary = opened(saved(tmp_path, graphs.elu_mlp()), samples=4)
    assert (adversary.labels, adversary.default) == ("none", "output")
    assert adversary.objective(None).kind == "output"
    with pytest.raises(
        ModelError, match=rf"objective '{name}' needs class scores.*--objective out"
    ):
        adversary.objective(name)


def test_a_model_without_floats_serves_none(tmp_path: Path) -> None:
    nodes = [
        graphs.node("Relu", ["x"], ["r"]),
        graphs.node("NonZero", ["r"], ["y"]),
    ]
    outputs = [graphs.value("y", [2, None], "int64")]
    proto = graphs.model(nodes, [graphs.value("x", [1, 5])], outputs)
    adversary = opened(saved(tmp_path, proto), samples=4)
    with pytest.raises(ModelError, match=r"objective 'output' needs an output of floats"):
        adversary.objective(None)


def test_a_layer_must_be_scored(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, graphs.conv_net()), samples=4)
    assert adversary.objective("layer:relu").tensors[0].tensor == "relu"
    with pytest.raises(
        DataError, match=r"'layer:conv' aims at a tensor that is not scored, .*--la"
    ):
        adversary.objective("layer:conv")
    wide = opened(tmp_path / "model.onnx", samples=4, layers=("all",))
    assert wide.objective("layer:conv").kind == "layer"


def test_given_labels_are_those_of_each_batch(tmp_path: Path) -> None:
    labels = separated_labels()
    adversary = opened(saved(tmp_path, separated()), stored(tmp_path, x=at_distance(), y=labels))
    dataset = adversary.subject.dataset
    feeds, _ = adversary.subject.feeds(3, 8)
    batch = adversary.batch(Pgd(eps=0.1), 3, feeds)
    assert adversary.labels == "given"
    assert batch.labels is not None
    assert batch.labels.tolist() == labels[dataset.selection[3:8]].tolist()
    assert batch.goal["labels"] is batch.labels
    assert (batch.start, batch.low, batch.high) == (3, 0.0, 1.0)


def test_predictions_stand_in_for_labels(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, separated()), stored(tmp_path, x=at_distance()))
    feeds, _ = adversary.subject.feeds(0, 4)
    batch = adversary.batch(Pgd(eps=0.1), 0, feeds)
    assert adversary.labels == "predicted"
    assert batch.labels is not None
    predicted = (AWAY > 0)[adversary.subject.dataset.selection[:4]]
    assert batch.labels.tolist() == predicted.astype(int).tolist()


def test_a_regressor_aims_away_from_its_clean_outputs(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, graphs.elu_mlp()), samples=6)
    feeds, _ = adversary.subject.feeds(0, 6)
    batch = adversary.batch(Pgd(eps=0.1), 0, feeds)
    assert batch.labels is None
    clean = graphs.run(graphs.elu_mlp(), feeds)["y"]
    np.testing.assert_allclose(batch.goal["reference"], clean, rtol=1e-5)


def test_only_confident_samples_are_saturated(tmp_path: Path) -> None:
    """1 − p_y = exp(−100 · 4 a) is below half the rounding unit of 1 from a = 0.0416 on."""
    proto = separated(scale=100)
    adversary = opened(saved(tmp_path, proto), stored(tmp_path, x=at_distance()))
    feeds, _ = adversary.subject.feeds(0, len(AWAY))
    found = adversary.diagnose(attack := Pgd(eps=0.1), adversary.batch(attack, 0, feeds))
    assert found.saturated is not None
    assert found.flat is not None
    away = np.abs(AWAY)[adversary.subject.dataset.selection]
    assert found.saturated.tolist() == (away > 0.0416).tolist()
    assert not found.flat.any()


def test_behind_a_closed_relu_the_gradient_is_flat(tmp_path: Path) -> None:
    proto = separated()
    proto.graph.node[0].output[0] = "z"
    proto.graph.node.append(graphs.node("Relu", ["z"], ["y"], name="closed"))
    adversary = opened(saved(tmp_path, proto), stored(tmp_path, x=at_distance()))
    feeds, _ = adversary.subject.feeds(0, len(AWAY))
    found = adversary.diagnose(attack := Pgd(eps=0.1), adversary.batch(attack, 0, feeds))
    assert found.flat is not None
    assert found.flat.tolist() == (AWAY < 0)[adversary.subject.dataset.selection].tolist()


def test_a_minimum_by_definition_is_not_called_flat(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, separated()), samples=4)
    feeds, _ = adversary.subject.feeds(0, 4)
    attack = Pgd(eps=0.1, objective="output")
    found = adversary.diagnose(attack, adversary.batch(attack, 0, feeds))
    assert (found.saturated, found.flat) == (None, None)
