"""Robust accuracy of models with one score for two classes, whose weak samples are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.report import Evaluation
from tests import graphs
from tests.scanning.helpers import AWAY, at_distance, saved, separated, separated_labels, stored

if TYPE_CHECKING:
    import onnx

EPS = ("0", "0.04", "0.12", "0.22", "0.33", "0.45")
# Of 8 samples that are right: those that are further away than each eps.
LEFT = [int((np.abs(AWAY[:-1]) >= float(eps)).sum()) for eps in EPS]


def halved(batch: int | str = "N", *, probability: bool = False) -> onnx.ModelProto:
    """``separated`` with the second logit alone, which is what the difference of both is."""
    w = np.array([[1], [-1], [2]], np.float32)
    nodes = [graphs.node("Gemm", ["x", "w", "b"], ["z"])]
    nodes.append(graphs.node("Sigmoid" if probability else "Identity", ["z"], ["y"]))
    inputs, outputs = [graphs.value("x", [batch, 3])], [graphs.value("y", [batch, 1])]
    return graphs.model(nodes, inputs, outputs, {"w": w, "b": np.array([-1], np.float32)})


def evaluated(model: Path, folder: Path, **given: Any) -> Evaluation:
    options: dict[str, Any] = {"steps": 3, "eps_list": EPS, "device": "cpu", "decision": "binary"}
    options["data"] = stored(folder, x=at_distance(), y=separated_labels())
    return evaluate(model, EvaluationOptions(**{**options, **given}))


@pytest.mark.parametrize(("batch", "probability"), [("N", False), (1, True), (4, True)])
def test_accuracy_falls_at_the_distances_of_the_samples(
    tmp_path: Path, batch: int | str, probability: bool
) -> None:
    model = saved(tmp_path, halved(batch, probability=probability))
    found = evaluated(model, tmp_path, attacks=("pgd", "apgd-dlr"), batch=4)
    assert [record.correct for record in found.results] == 2 * LEFT
    assert found.model.logits_found.endswith("0.5" if probability else "0")


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["square", "auto"])
def test_one_score_and_the_same_as_two_give_the_same(tmp_path: Path, attack: str) -> None:
    one, two = saved(tmp_path, halved(), "one.onnx"), saved(tmp_path, separated(), "two.onnx")
    how: dict[str, Any] = {"attacks": (attack,), "steps": 50, "eps_list": ("0.12", "0.45")}
    found = [
        evaluated(model, tmp_path, decision=decision, **how)
        for model, decision in ((one, "binary"), (two, "max"))
    ]
    counts = [[record.correct for record in each.results] for each in found]
    assert counts[0] == counts[1]
    assert counts[0][-1] == 0


def test_a_third_class_is_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, "other.npz", x=at_distance(), y=np.arange(9) % 3)
    with pytest.raises(DataError, match=r"label 2 is not one of the model's 2 classes"):
        evaluated(saved(tmp_path, halved()), tmp_path, data=data)


def test_models_without_classes_are_refused(tmp_path: Path) -> None:
    one, two = saved(tmp_path, halved(), "one.onnx"), saved(tmp_path, separated(), "two.onnx")
    with pytest.raises(ModelError, match=r"predicts no classes, .*give --decision binary"):
        evaluated(one, tmp_path, decision="max")
    with pytest.raises(
        DataError, match=r"--decision none reads no class, .*; leave it out; `lsa-onnx scan`"
    ):
        evaluated(two, tmp_path, decision="none")
    with pytest.raises(DataError, match="--decision binary needs an output of one float"):
        evaluated(two, tmp_path)
