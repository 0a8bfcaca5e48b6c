"""Robust accuracy by attack and strength, on models whose weak samples are known."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from lsa_onnx.errors import DataError, GateFailed, LsaError, ModelError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.report import Evaluation, dumps, load_schema
from lsa_onnx.report.document import Accuracy
from lsa_onnx.rewrite.differentiate import NotDifferentiable
from lsa_onnx.scanning import Listener
from tests import graphs
from tests.scanning.helpers import (
    AWAY,
    at_distance,
    classes_of,
    saved,
    separated,
    separated_labels,
    stored,
)

EPS = ("0", "0.04", "0.12", "0.22", "0.33", "0.45")


def labelled(folder: Path) -> Path:
    return stored(folder, x=at_distance(), y=separated_labels())


def evaluated(
    model: Path, data: Path | None = None, listener: Listener | None = None, **given: Any
) -> Evaluation:
    options = {"steps": 3, "eps_list": EPS, "device": "cpu", **given}
    return evaluate(model, EvaluationOptions(data=data, **options), listener)


def left(eps: float) -> int:
    """Samples right under an attack of that strength: the last is wrong to begin with."""
    return int((np.abs(AWAY[:-1]) >= eps).sum())


@pytest.mark.parametrize("attacks", [("pgd",), ("fgsm", "pgd", "apgd"), ("auto", "apgd-dlr")])
@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_accuracy_falls_in_steps_at_the_distances_of_the_samples(
    tmp_path: Path, attacks: tuple[str, ...], batch: int | str
) -> None:
    model, data = saved(tmp_path, separated(batch)), labelled(tmp_path)
    found = evaluated(model, data, attacks=attacks, batch=4)
    assert [(r.attack, r.eps_text) for r in found.results] == list(itertools.product(attacks, EPS))
    for record in found.results:
        expected = left(record.eps)
        assert (record.correct, record.broken, record.n) == (expected, 8 - expected, 9)
        assert record.robust_accuracy == expected / 9
        assert record.clean_accuracy == 8 / 9
        assert record.success_rate == (8 - expected) / 8
        low, high = record.interval
        assert low - 1e-9 <= record.robust_accuracy <= high + 1e-9
        assert low < high
        assert record.white_box
    assert [left(float(eps)) for eps in EPS] == [8, 8, 6, 4, 2, 0]
    assert (found.labels, found.clean, found.clean_accuracy) == (
        "given",
        Accuracy(8 / 9, 9, found.clean.interval),
        8 / 9,
    )


def test_at_eps_0_nothing_moves_and_the_clean_run_counts(tmp_path: Path) -> None:
    found = evaluated(
        saved(tmp_path, separated()), labelled(tmp_path), attacks=("square",), eps_list=("0",)
    )
    (record,) = found.results
    assert (record.correct, record.broken, record.success_rate) == (8, 0, 0.0)
    assert record.robust_accuracy == found.clean_accuracy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("0.22", "0", "0.12"), ["0", "0.12", "0.22"]),
        (("0.12", "12%", "0.12", " 0.120 "), ["0.12"]),
        (("8/255", "0.0313725490196", "0"), ["0", "8/255"]),
    ],
)
def test_strengths_come_once_in_growing_order_as_they_were_written(
    tmp_path: Path, given: tuple[str, ...], expected: list[str]
) -> None:
    found = evaluated(saved(tmp_path, separated()), labelled(tmp_path), eps_list=given)
    assert [record.eps_text for record in found.results] == expected
    eps = [record.eps for record in found.results]
    assert eps == sorted(set(eps))


def test_an_attack_that_was_named_twice_comes_once(tmp_path: Path) -> None:
    found = evaluated(
        saved(tmp_path, separated()), labelled(tmp_path), attacks=("pgd", "fgsm", "pgd")
    )
    assert [r.attack for r in found.results] == ["pgd"] * 6 + ["fgsm"] * 6


def test_the_document_follows_its_schema(tmp_path: Path) -> None:
    found = evaluated(
        saved(tmp_path, separated()), labelled(tmp_path), attacks=("fgsm", "square"), norm="l2"
    )
    text = dumps(found)
    document = json.loads(text)
    jsonschema.Draft202012Validator(load_schema("evaluation")).validate(document)
    # Shares are rounded in the file, the counts beside them are exact.
    again = Evaluation.from_dict(document)
    assert [r.correct for r in again.results] == [r.correct for r in found.results]
    shares = re.findall(r'"robust_accuracy": ([^,\n]+)', text)
    assert len(shares) == 12
    assert all(re.fullmatch(r"[01]\.\d{1,6}", share) for share in shares)
    assert {record["norm"] for record in document["results"]} == {"l2"}
    assert [record["white_box"] for record in document["results"]] == [True] * 6 + [False] * 6


def test_without_labels_predictions_must_not_change(tmp_path: Path) -> None:
    model, data = saved(tmp_path, separated()), stored(tmp_path, x=at_distance())
    found = evaluated(model, data, eps_list=("0", "0.12"))
    assert (found.labels, found.clean_accuracy) == ("predicted", 1.0)
    # Now the last sample, at 0.02, counts as well.
    assert [record.correct for record in found.results] == [9, 6]
    assert "predicted-labels" in {warning.code for warning in found.warnings}
    ignored = evaluated(model, labelled(tmp_path), eps_list=("0", "0.12"), labels="none")
    assert [record.correct for record in ignored.results] == [9, 6]


@pytest.mark.parametrize("decision", ["max", "min"])
def test_models_of_costs(tmp_path: Path, decision: str) -> None:
    scale = 1 if decision == "max" else -1
    found = evaluated(
        saved(tmp_path, separated(scale=scale)),
        labelled(tmp_path),
        decision=decision,
        attacks=("pgd", "auto"),
    )
    assert [record.correct for record in found.results] == 2 * [8, 8, 6, 4, 2, 0]


def test_norms_have_distances_of_their_own(tmp_path: Path) -> None:
    found = evaluated(
        saved(tmp_path, separated()),
        labelled(tmp_path),
        norm="l2",
        # A sample at linf distance a is at 4 a / √6 in l2.
        eps_list=("0.16", "0.17", "0.32", "0.34"),
    )
    assert [record.correct for record in found.results] == [7, 6, 5, 4]


def test_a_model_that_is_wrong_throughout_has_no_success_rate(tmp_path: Path) -> None:
    wrong = (AWAY < 0).astype(np.int64)
    data = stored(tmp_path, x=at_distance(), y=wrong)
    found = evaluated(saved(tmp_path, separated()), data, eps_list=("0.1",))
    (record,) = found.results
    assert (record.success_rate, record.success_interval, record.correct) == (None, None, 0)
    jsonschema.Draft202012Validator(load_schema("evaluation")).validate(found.to_dict())
    assert "accuracy-near-chance" in {warning.code for warning in found.warnings}


def test_the_best_class_alone_is_enough_to_be_attacked(tmp_path: Path) -> None:
    proto = separated()
    proto.graph.node[0].output[0] = "z"
    proto.graph.node.append(graphs.node("ArgMax", ["z"], ["y"], axis=1, keepdims=0, name="best"))
    proto.graph.output[0].CopyFrom(graphs.value("y", ["N"], "int64"))
    found = evaluated(saved(tmp_path, proto), labelled(tmp_path), attacks=("pgd", "auto"))
    assert [record.correct for record in found.results] == 2 * [8, 8, 6, 4, 2, 0]


class Recorder(Listener):
    """Writes down what it is told in words."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def clean_accuracy(self, accuracy: Accuracy) -> None:
        self.said.append(f"{accuracy.value:.2f}")

    def begin(self, stage: str, total: int) -> None:
        self.said.append(f"{stage}: {total}")


def test_it_says_what_it_does(tmp_path: Path) -> None:
    model, recorder = saved(tmp_path, separated()), Recorder()
    evaluated(model, labelled(tmp_path), recorder, eps_list=("0", "8/255"))
    assert recorder.said == ["clean: 9", "0.89", "pgd gradients: 9", "pgd eps 8/255: 9"]
    recorder = Recorder()
    evaluated(model, stored(tmp_path, x=at_distance()), recorder, eps_list=("0",))
    assert "no labels: the model's own clean predictions" in recorder.said[1]


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"attacks": ("pgdd",)}, DataError, "unknown perturbation 'pgdd'; did you mean 'pgd'?"),
        ({"attacks": ("salt",)}, DataError, "--attack 'salt' is a noise, not an attack; `lsa-onnx"),
        ({"attacks": ("pgd=0.1",)}, DataError, "'pgd=0.1' names an eps of its own; give --attack"),
        ({"attacks": ("square",), "norm": "l1"}, DataError, "'square' does not work in the l1"),
        ({"norm": "l0"}, DataError, "unknown norm 'l0'; "),
        ({"eps_list": ("0", "-1/255")}, DataError, "eps '-1/255' is negative"),
        ({"eps_list": ("0", "1.2")}, DataError, "eps 1.2 is larger than the range's width 1"),
        ({"eps_list": ("8/0",)}, DataError, "eps '8/0' divides by 0"),
        ({"objective": "loss"}, DataError, "unknown objective 'loss'; accepted are ce,"),
        ({"objective": "layer:y"}, DataError, "`lsa-onnx scan` scores those that --layers names"),
        ({"expect_accuracy": 0.95}, GateFailed, "0.8889 on 9 samples is below the expected 0.95"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tmp_path: Path, given: dict[str, Any], kind: type[LsaError], said: str
) -> None:
    recorder = Recorder()
    with pytest.raises(kind) as caught:
        evaluated(saved(tmp_path, separated()), labelled(tmp_path), recorder, **given)
    assert said in str(caught.value)
    assert not [text for text in recorder.said if text.startswith("pgd")]


@pytest.mark.parametrize("given", [{"attacks": ()}, {"eps_list": ()}])
def test_nothing_to_do_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(
        DataError, match=r"nothing to evaluate; give --attack, one of fgsm, .* such"
    ):
        EvaluationOptions(**given)


def test_a_model_without_classes_is_sent_to_scan(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx' predicts no classes.*`lsa-onnx scan`") as e:
        evaluated(saved(tmp_path, graphs.elu_mlp()), samples=4)
    assert e.value.exit_code == 3


def test_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, x=at_distance(), y=separated_labels() + 1)
    with pytest.raises(DataError, match="label 2 is not one of the model's 2 classes"):
        evaluated(saved(tmp_path, separated()), data)


def test_an_attack_without_its_gradient_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.activated([graphs.node("Round", ["h"], ["a"])]))
    with pytest.raises(NotDifferentiable, match=r"ends at Round 'n_a'; use --attack square"):
        evaluated(model, samples=4, attacks=("square", "pgd"))
    found = evaluated(model, samples=4, attacks=("pgd",), straight_through=True)
    assert "straight-through" in {warning.code for warning in found.warnings}


def test_more_effort_is_reported_with_the_run(tmp_path: Path) -> None:
    x = graphs.samples(0, 6, 3, 5, 7)
    data = stored(tmp_path, x=x, y=classes_of(graphs.conv_net(), {"x": x}))
    found = evaluated(
        saved(tmp_path, graphs.conv_net()),
        data,
        eps_list=("0.05", "0.2"),
        restarts=2,
        momentum=0.5,
        seed=3,
        objective="margin",
        command=("lsa-onnx", "evaluate"),
    )
    assert (found.run.seed, found.run.restarts, found.run.batch_mode) == (3, 2, "free")
    assert found.run.command == ["lsa-onnx", "evaluate"]
    for record in found.results:
        parameters = record.parameters
        assert (parameters["steps"], parameters["restarts"], parameters["momentum"]) == (3, 2, 0.5)
        assert (parameters["objective"], parameters["seed"]) == ("margin", 3)
        assert parameters["eps"] == record.eps
    weak, strong = found.results
    assert weak.correct >= strong.correct
