"""Scans of models with one score for two classes, and of classifiers that count as having none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.attacks import Pgd
from lsa_onnx.attacks.oracle import Goal
from lsa_onnx.errors import DataError, GateFailed, ModelError
from lsa_onnx.scanning import ScanOptions
from tests import graphs
from tests.binary_models import Form, logits, points, scorer
from tests.scanning.adversaries import opened
from tests.scanning.helpers import attack_of, result, saved, scanned, separated, stored

ATTACKED: dict[str, Any] = {"perturbations": ("gaussian", "pgd"), "eps": "0.05", "steps": 5}


def labelled(folder: Path, count: int = 23) -> Path:
    x, y = points(count)
    return stored(folder, x=x, y=y)


@pytest.mark.parametrize(
    ("form", "batch"),
    [("logit", "N"), ("flat logit", 4), ("probability", 1), ("flat probability", "N")],
)
def test_accuracy_and_attacks(tmp_path: Path, form: Form, batch: int | str) -> None:
    model, (x, y) = saved(tmp_path, scorer(form, batch)), points(23)
    report = scanned(
        model,
        labelled(tmp_path),
        decision="binary",
        batch=5,
        save_adversarial=tmp_path / "adversarial.npz",
        **ATTACKED,
    )
    assert report.accuracy is not None
    right = (logits(x) > 0) == y
    assert (report.accuracy.value, report.accuracy.n) == (right.mean(), 23)
    assert report.model.logits == ("z" if "probability" in form else "y")
    outcome = attack_of(report)
    assert (outcome.objective, outcome.labels, outcome.vanished) == ("ce", "given", 0)
    with np.load(tmp_path / "adversarial.npz") as kept:
        x_adv = np.empty_like(x)
        x_adv[kept["index"]] = kept["x_adv"]
    np.testing.assert_allclose(np.abs(x_adv - x).max(), 0.05, rtol=1e-5)
    still = (logits(x_adv) > 0) == y
    assert outcome.robust_accuracy is not None
    assert outcome.robust_accuracy.value == (right & still).mean()
    assert outcome.success is not None
    assert outcome.success.value > 0.2
    assert outcome.success.value == (right & ~still).sum() / right.sum()
    assert result(report, "gaussian").accuracy is not None


@pytest.mark.parametrize("form", ["flat logit", "probability"])
def test_the_gradient_is_that_of_the_logit(tmp_path: Path, form: Form) -> None:
    adversary = opened(saved(tmp_path, scorer(form)), labelled(tmp_path), decision="binary")
    assert adversary.classes == 2
    x, y = points(23)
    sign = np.where(y == 1, -1.0, 1.0)
    oracle = adversary.source.oracle(adversary.objective("ce"))
    goal: Goal = {"labels": y}
    answer = oracle(x, goal)
    np.testing.assert_allclose(answer.loss, sign * logits(x), atol=2e-5)
    step = 1e-6
    for axis in range(2):
        moved = np.eye(2)[axis] * step
        slope = (logits(x + moved) - logits(x - moved)) / (2 * step)
        assert answer.gradient is not None
        np.testing.assert_allclose(answer.gradient[:, axis], sign * slope, rtol=1e-4, atol=1e-5)


def test_dlr_is_the_margin_and_kl_has_its_reference(tmp_path: Path) -> None:
    adversary = opened(saved(tmp_path, scorer()), labelled(tmp_path), decision="binary")
    assert adversary.objective("dlr") == adversary.objective("margin")
    batch = adversary.batch(Pgd(eps=0.05, objective="kl"), 0, {"x": points(23)[0]})
    found = adversary.source.oracle(adversary.objective("kl"))(batch.x, batch.goal)
    # Nothing moved.
    np.testing.assert_allclose(found.loss, 0, atol=1e-6)


@pytest.mark.parametrize("form", ["logit", pytest.param("probability", marks=pytest.mark.slow)])
def test_saturated_scores_keep_their_gradient(tmp_path: Path, form: Form) -> None:
    """Logits in the thousands, whose Sigmoid is 0 or 1: attacks see the same signs as with small ones."""
    data = labelled(tmp_path)
    plain = scanned(saved(tmp_path, scorer(form)), data, decision="binary", **ATTACKED)
    sure = scanned(saved(tmp_path, scorer(form, scale=10_000)), data, decision="binary", **ATTACKED)
    small, large = attack_of(plain), attack_of(sure)
    assert small.robust_accuracy is not None
    assert small.robust_accuracy == large.robust_accuracy
    assert (small.vanished, (large.vanished or 0) > 0.5) == (0, True)
    assert "vanishing-gradient" in {warning.code for warning in sure.warnings}


def test_a_label_of_a_third_class_is_refused(tmp_path: Path) -> None:
    x, y = points(12)
    y[7] = 2
    data = stored(tmp_path, x=x, y=y)
    pattern = r"^label 2 is not one of the model's 2 classes \(0\.\.1\)"
    with pytest.raises(DataError, match=pattern) as caught:
        scanned(saved(tmp_path, scorer()), data, decision="binary", **ATTACKED)
    assert "\n" not in str(caught.value)


def test_expected_accuracy_is_a_gate(tmp_path: Path) -> None:
    model, data = saved(tmp_path, scorer()), labelled(tmp_path, 20)
    with pytest.raises(GateFailed, match=r"0\.9000 on 20 samples is below the expected 0\.95"):
        scanned(model, data, decision="binary", expect_accuracy=0.95, **ATTACKED)
    with pytest.raises(DataError, match="--decision binary where one score"):
        scanned(model, data, expect_accuracy=0.95, **ATTACKED)


def several(shape: graphs.Shape) -> onnx.ModelProto:
    """Three scores per sample, declared as ``shape``."""
    nodes = [graphs.node("Gemm", ["x", "w"], ["y"])]
    inputs, outputs = [graphs.value("x", ["N", 2])], [graphs.value("y", shape)]
    return graphs.model(nodes, inputs, outputs, {"w": graphs.weight(0, 2, 3)})


def test_a_model_of_more_scores_is_refused(tmp_path: Path) -> None:
    declared, open_ = (saved(tmp_path, several(["N", size]), f"{size}.onnx") for size in (3, "k"))
    with pytest.raises(DataError, match=r"needs an output of one float .*'y' \['N', 3\] float32"):
        scanned(declared, labelled(tmp_path), decision="binary", **ATTACKED)
    # What is not declared shows in the first run.
    pattern = (
        r"--decision binary: output 'y' has shape \(\d+, 3\) for \d+ samples, .* --decision max"
    )
    with pytest.raises(DataError, match=pattern):
        scanned(open_, labelled(tmp_path), decision="binary", **ATTACKED)


def test_a_probability_without_a_sigmoid_is_doubted(tmp_path: Path) -> None:
    """1 / (1 + exp(−z)), written out: read as a logit it says class 1 of everything."""
    proto = scorer()
    proto.graph.node.pop()
    proto.graph.node.extend(
        [
            graphs.node("Neg", ["z"], ["negative"]),
            graphs.node("Exp", ["negative"], ["odds"]),
            graphs.node("Add", ["odds", "one"], ["all"]),
            graphs.node("Reciprocal", ["all"], ["y"]),
        ]
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.float32), "one"))
    data, how = labelled(tmp_path), {"decision": "binary", **ATTACKED}
    found = scanned(saved(tmp_path, proto), data, **how)
    (doubt,) = [warning for warning in found.warnings if warning.code == "one-class-only"]
    assert "All 23 clean samples are read as class 1" in doubt.message
    sound = scanned(saved(tmp_path, scorer("probability")), data, **how)
    assert "one-class-only" not in {warning.code for warning in sound.warnings}


def test_a_classifier_may_count_as_having_no_classes(tmp_path: Path) -> None:
    """What look like two classes are numbers, so labels are targets of any kind and shape."""
    targets = graphs.samples(3, 30, 2)
    data = stored(tmp_path, x=graphs.samples(2, 30, 3), y=targets)
    report = scanned(saved(tmp_path, separated()), data, decision="none", **ATTACKED)
    assert (report.accuracy, report.model.logits) == (None, None)
    assert report.model.logits_found == "none is read: --decision none"
    assert (attack_of(report).objective, attack_of(report).labels) == ("output", "none")
    with pytest.raises(DataError, match="labels have shape 30x2"):
        scanned(saved(tmp_path, separated()), data, **ATTACKED)


def test_one_score_without_a_word_is_a_regressor_and_the_user_is_told(tmp_path: Path) -> None:
    model, advice = (
        saved(tmp_path, scorer()),
        "if 'y' is the score of two classes, give --decision binary",
    )
    report = scanned(model, labelled(tmp_path), **ATTACKED)
    assert report.model.logits_found == f"no output with one score per class; {advice}"
    assert attack_of(report).objective == "output"
    with pytest.raises(ModelError, match=f"has none; {advice}; use --objective output"):
        scanned(model, labelled(tmp_path), objective="margin", **ATTACKED)


def test_a_decision_that_does_not_exist() -> None:
    with pytest.raises(DataError, match="'mean' is not known; give one of max, min, binary, none"):
        ScanOptions(decision="mean")  # type: ignore[arg-type]
