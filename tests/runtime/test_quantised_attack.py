"""Attacks on models as ONNX Runtime's own quantiser writes them, success taken from the real session."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime import quantization

from benchmarks.models import mnist_b, resnet18
from lsa_onnx.report.document import Report
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import differentiate
from lsa_onnx.rewrite.objectives import Objective
from tests.graphs import Array, run, samples, save
from tests.scanning.helpers import result, scanned, stored

Quantise = Callable[..., onnx.ModelProto]

pytestmark = pytest.mark.filterwarnings("ignore")
STATIC = [(form, per_channel) for form in ("QDQ", "QOperator") for per_channel in (False, True)]


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, x: Array) -> None:
        self._batches = iter(np.array_split(x, 2))

    def get_next(self) -> Any:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


@pytest.fixture
def quantise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quantise:
    # The quantiser recommends its preprocessing in the log.
    monkeypatch.setattr(logging.root, "disabled", True)
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"

    def quantised(
        proto: onnx.ModelProto, x: Array, form: str, per_channel: bool = False, **how: Any
    ) -> onnx.ModelProto:
        save(proto, source)
        if form == "dynamic":
            quantization.quantize_dynamic(source, target, per_channel=per_channel)
        else:
            kind = quantization.QuantFormat[form]
            options = {"quant_format": kind, "per_channel": per_channel, **how}
            quantization.quantize_static(source, target, _Calibration(x), **options)
        return onnx.load(target)

    return quantised


def cosines(proto: onnx.ModelProto, other: onnx.ModelProto, x: Array) -> Array:
    """Between the gradients of both models, one per sample, for the classes that the first one says."""
    labels = run(proto, {"image": x})["logits"].argmax(axis=1)
    rows = []
    for each in (proto, other):
        made = differentiate(each, Objective("ce", (Scored("logits"),)), ["image"])
        found = run(made.model, {"image": x, made.goals["labels"]: labels}, optimised=True)
        gradient = found[made.gradients["image"]].reshape(len(x), -1).astype(np.float64)
        rows.append(gradient / np.linalg.norm(gradient, axis=1, keepdims=True))
    return np.asarray((rows[0] * rows[1]).sum(axis=1))


@pytest.mark.parametrize(("form", "per_channel"), [*STATIC, ("dynamic", False)])
def test_gradients_point_where_those_of_the_float_model_do(
    quantise: Quantise, form: str, per_channel: bool
) -> None:
    proto, x = mnist_b(image=20), samples(0, 16, 1, 20, 20)
    cosine = cosines(proto, quantise(proto, x, form, per_channel), x)
    assert np.median(cosine) > 0.95
    # Where a logit is clipped, or another class comes second, the way is another one.
    assert np.quantile(cosine, 0.1) > 0.8


def test_signed_activations(quantise: Quantise) -> None:
    proto, x = mnist_b(image=20), samples(0, 16, 1, 20, 20)
    signed = quantise(proto, x, "QDQ", activation_type=quantization.QuantType.QInt8)
    assert np.median(cosines(proto, signed, x)) > 0.95


def attacked(folder: Path, int8: onnx.ModelProto, x: Array, eps: str) -> tuple[Report, Array]:
    """The scan of an int8 model with PGD, and what its real session then says is still right."""
    path = save(int8, folder / "scanned.onnx")
    labels = run(int8, {"image": x}, optimised=True)["logits"].argmax(axis=1)
    report = scanned(
        path,
        stored(folder, x=x, y=labels),
        perturbations=("pgd",),
        eps=eps,
        steps=10,
        save_adversarial=folder / "adversarial.npz",
    )
    with np.load(folder / "adversarial.npz") as found:
        clean, made, labels = found["x"], found["x_adv"], found["y"]
    assert np.abs(made - clean).max() <= float(report.perturbations[0].parameters["eps"]) * (
        1 + 1e-5
    )
    answers = run(int8, {"image": made}, optimised=True)["logits"].argmax(axis=1)
    return report, answers == labels


def hold_success(report: Report, right: Array) -> None:
    outcome = result(report, "pgd").attack
    assert outcome is not None
    assert outcome.robust_accuracy is not None
    assert outcome.baseline is not None
    assert outcome.baseline.accuracy is not None
    assert outcome.white_box
    assert right.mean() == pytest.approx(outcome.robust_accuracy.value)
    assert outcome.robust_accuracy.value <= 0.1
    # Noise of the same norm leaves most of them alone.
    assert outcome.baseline.accuracy.value >= 0.6
    assert "straight-through" in [warning.code for warning in report.warnings]


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_attacks_succeed_on_the_real_session(quantise: Quantise, tmp_path: Path, form: str) -> None:
    x = samples(1, 24, 1, 20, 20)
    int8 = quantise(mnist_b(image=20), x, form)
    hold_success(*attacked(tmp_path, int8, x, "0.1"))


def test_scales_of_each_run_are_attacked_one_by_one(quantise: Quantise, tmp_path: Path) -> None:
    x = samples(1, 6, 1, 20, 20)
    int8 = quantise(mnist_b(image=20), x, "dynamic")
    report, _ = attacked(tmp_path, int8, x, "0.05")
    outcome = result(report, "pgd").attack
    assert outcome is not None
    assert outcome.robust_accuracy is not None
    assert outcome.robust_accuracy.value == 0
    assert "straight-through" in [warning.code for warning in report.warnings]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "per_channel"), STATIC)
def test_resnet18(quantise: Quantise, tmp_path: Path, form: str, per_channel: bool) -> None:
    proto, x = resnet18(image=32, classes=10), samples(2, 16, 3, 32, 32)
    int8 = quantise(proto, x, form, per_channel)
    assert np.median(cosines(proto, int8, x)) > 0.9
    hold_success(*attacked(tmp_path, int8, x, "8/255"))
