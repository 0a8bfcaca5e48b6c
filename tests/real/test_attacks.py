"""Attacks on models that strangers made: what must be found, and what must be doubted."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.inputs import parse_floats, parse_range
from lsa_onnx.report import Report
from lsa_onnx.report.document import AttackOutcome, PerturbationResult
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.scanning import ScanOptions, open_subject, scan

pytestmark = pytest.mark.real

MNIST, CIFAR = "data/mnist.npz", "data/cifar10-images.tar.gz"
PIXELS = {"range": parse_range("0,255")}
RESNET = {"mean": parse_floats("0.485,0.456,0.406"), "std": parse_floats("0.225,0.225,0.225")}
VIT = {"mean": parse_floats("0.4914,0.4822,0.4465"), "std": parse_floats("0.2023,0.1994,0.2010")}
CIFAR_MODELS: dict[str, dict[str, Any]] = {
    "cifar10-resnet-4b": RESNET,
    "cifar10-conv-kw": RESNET,
    "cifar10-vit-pgd": VIT,
    "cifar10-tf-nhwc-small": {"layout": "NHWC"},
}
# Model → how its outputs are read; none of them comes with labels.
WITHOUT_LABELS: dict[str, dict[str, Any]] = {
    "acasxu-1-1": {"decision": "min"},
    "cgan-32": {},
    "collins-rul-small": {},
    "pensieve-small-parallel": {},
    "ultraface-rfb-320": {},
}


def scanned(shared: Path, name: str, data: Path | None = None, **options: Any) -> Report:
    given = {"data": data, "device": "cpu", **options}
    return scan(shared / "models" / f"{name}.onnx", ScanOptions(**given))


def evaluated(shared: Path, name: str, data: str, **options: Any) -> Evaluation:
    given = {"data": shared / data, "device": "cpu", **options}
    return evaluate(shared / "models" / f"{name}.onnx", EvaluationOptions(**given))


def attack_of(result: PerturbationResult) -> AttackOutcome:
    assert result.attack is not None
    return result.attack


def test_saturated_logits_do_not_pass_for_robustness(shared: Path) -> None:
    """Published with no defence; a cross-entropy PGD would report 98 % at 30 % of the range."""
    found = evaluated(
        shared, "mnist-cntk", MNIST, samples=200, eps_list=("0", "10%", "30%"), **PIXELS
    )
    clean, small, large = found.results
    assert [record.eps for record in found.results] == [0, 25.5, 76.5]
    assert clean.robust_accuracy >= 0.97
    # 36 % of all images; 200 of them may stray by two standard deviations.
    assert small.robust_accuracy <= 0.42
    assert large.robust_accuracy <= 0.01
    assert {"vanishing-gradient", "large-eps"} <= {warning.code for warning in found.warnings}


@pytest.mark.slow
def test_saturated_logits_on_a_thousand_images(shared: Path) -> None:
    found = evaluated(
        shared, "mnist-cntk", MNIST, samples=1000, eps_list=("0", "10%", "30%"), **PIXELS
    )
    _, small, large = found.results
    assert small.parameters["steps"] == 20
    assert (small.robust_accuracy <= 0.36, large.robust_accuracy <= 0.01) == (True, True)
    assert "vanishing-gradient" in {warning.code for warning in found.warnings}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "ultraface-rfb-320" else name
        for name in WITHOUT_LABELS
    ],
)
def test_models_without_labels_are_attacked_through_their_gradient(shared: Path, name: str) -> None:
    report = scanned(
        shared,
        name,
        samples=3,
        perturbations=("fgsm", "pgd"),
        eps="5%",
        steps=4,
        objective="output",
        layers=("all",),
        **WITHOUT_LABELS[name],
    )
    for result in report.perturbations:
        attack = attack_of(result)
        assert attack.white_box
        assert attack.robust_accuracy is None
        assert attack.objective == "output"
        assert moved(report, result) > moved_by_noise(report, attack)
    assert not {"no-gradient", "straight-through"} & {warning.code for warning in report.warnings}


def outputs(report: Report) -> set[str]:
    return {value.name for value in report.model.outputs}


def moved(report: Report, result: PerturbationResult) -> float:
    """Σ over outputs of the squared mean relative change."""
    means = [s.relative_error.mean for s in result.layers if s.tensor in outputs(report)]
    return squares(means)


def moved_by_noise(report: Report, attack: AttackOutcome) -> float:
    assert attack.baseline is not None
    pairs = zip(report.layers, attack.baseline.layers, strict=True)
    return squares([mean for info, mean in pairs if info.tensor in outputs(report)])


def squares(means: list[float | None]) -> float:
    assert means
    return float(np.sum(np.square([mean for mean in means if mean is not None])))


def test_a_model_of_costs_is_broken_wherever_a_corner_of_the_ball_breaks_it(shared: Path) -> None:
    """Five inputs: all 32 corners can be tried. Gradients alone miss some, and random signs most."""
    found = scanned(
        shared,
        "acasxu-1-1",
        samples=48,
        perturbations=("auto",),
        eps="20%",
        decision="min",
        steps=20,
    )
    (result,) = found.perturbations
    attack = attack_of(result)
    assert (attack.labels, attack.white_box) == ("predicted", True)
    assert attack.success is not None
    assert attack.baseline is not None
    assert attack.baseline.flips is not None
    broken = broken_by_corners(shared / "models" / "acasxu-1-1.onnx", 48, 0.2)
    assert 0.2 < broken <= attack.success.value == result.flips
    assert attack.baseline.flips < broken


def broken_by_corners(model: Path, samples: int, eps: float) -> float:
    """Share of the scan's samples whose lowest score is another one in some corner."""
    subject = open_subject(str(model), ScanOptions(samples=samples))
    x, _ = subject.dataset.batch(0, samples)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])

    def lowest(value: np.ndarray[Any, np.dtype[Any]]) -> int:
        return int(session.run(None, {subject.input.name: value.reshape(1, 1, 1, 5)})[0].argmin())

    corners = [np.array(signs, np.float32) for signs in itertools.product((-eps, eps), repeat=5)]
    rows = x.reshape(samples, 5)
    found = [any(lowest(np.clip(r + c, 0, 1)) != lowest(r) for c in corners) for r in rows]
    return float(np.mean(found))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name != "cifar10-tf-nhwc-small" else name
        for name in CIFAR_MODELS
    ],
)
def test_more_effort_leaves_less(shared: Path, images: dict[str, Path], name: str) -> None:
    report = scanned(
        shared,
        name,
        images[CIFAR],
        samples=40,
        perturbations=("fgsm", "pgd"),
        eps="2/255",
        steps=8,
        **CIFAR_MODELS[name],
    )
    fgsm, pgd = (attack_of(result) for result in report.perturbations)
    assert fgsm.robust_accuracy is not None
    assert pgd.robust_accuracy is not None
    assert pgd.baseline is not None
    assert pgd.baseline.accuracy is not None
    assert report.accuracy is not None
    noise = pgd.baseline.accuracy.value
    assert pgd.robust_accuracy.value <= fgsm.robust_accuracy.value < noise
    assert noise <= report.accuracy.value + 1 / 40
    assert not {"weaker-than-noise", "iterative-weaker", "zero-gradient"} & {
        warning.code for warning in report.warnings
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10-resnet-4b", "cifar10-conv-kw", "cifar10-vit-pgd"])
def test_the_order_of_attacks_by_effort(shared: Path, name: str) -> None:
    common: dict[str, Any] = {
        "samples": 100, "eps_list": ("0", "2/255", "8/255"), **CIFAR_MODELS[name],
    }  # fmt: skip
    fgsm = evaluated(shared, name, CIFAR, attacks=("fgsm",), **common)
    pgd = evaluated(shared, name, CIFAR, attacks=("pgd",), steps=50, restarts=2, **common)
    auto = evaluated(shared, name, CIFAR, attacks=("auto",), steps=40, **common)
    for weak, middle, strong in zip(fgsm.results, pgd.results, auto.results, strict=True):
        assert strong.robust_accuracy <= middle.robust_accuracy <= weak.robust_accuracy
