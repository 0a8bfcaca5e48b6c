"""What a scan refuses, in which words, and what it says before it starts scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError, GateFailed, LsaError, ModelError
from lsa_onnx.report.document import Accuracy
from lsa_onnx.scanning import Listener, ScanOptions, scan
from tests import graphs
from tests.scanning.helpers import classes_of, saved, scanned, stored

SHAPE = (3, 5, 7)


class Recorder(Listener):
    """Writes down everything it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def message(self, text: str) -> None:
        self.calls.append(("message", text))

    def clean_accuracy(self, accuracy: Accuracy) -> None:
        self.calls.append(("accuracy", accuracy.value))

    def begin(self, stage: str, total: int) -> None:
        self.calls.append(("begin", stage, total))

    def advance(self, samples: int) -> None:
        self.calls.append(("advance", samples))

    def end(self) -> None:
        self.calls.append(("end",))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(tmp_path, graphs.conv_net())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = graphs.samples(0, 10, *SHAPE)
    labels = classes_of(graphs.conv_net(), {"x": x})
    labels[:4] = (labels[:4] + 1) % 6
    return stored(tmp_path, x=x, y=labels)


def options(data: Path | None, **more: Any) -> ScanOptions:
    return ScanOptions(data=data, device="cpu", **more)


def test_the_accuracy_is_told_before_anything_is_scored(model: Path, data: Path) -> None:
    recorder = Recorder()
    scan(model, options(data, perturbations=("salt", "pepper"), batch=4), recorder)
    steps = [("advance", 4), ("advance", 4), ("advance", 2)]
    assert recorder.calls == [
        ("begin", "clean", 10),
        *steps,
        ("accuracy", 0.6),
        ("begin", "salt", 10),
        *steps,
        ("begin", "pepper", 10),
        *steps,
        ("end",),
    ]


def test_synthetic_inputs_are_announced_before_anything_is_scored(model: Path) -> None:
    recorder = Recorder()
    scan(model, options(None, samples=3, perturbations=("salt",)), recorder)
    (told,) = [index for index, call in enumerate(recorder.calls) if call[0] == "message"]
    assert "SYNTHETIC" in recorder.calls[told][1]
    assert told < recorder.calls.index(("begin", "salt", 3))


@pytest.mark.parametrize("expected", [0.0, 0.5, 0.6])
def test_a_met_accuracy_gate_lets_the_scan_go_on(model: Path, data: Path, expected: float) -> None:
    assert scanned(model, data, expect_accuracy=expected).perturbations


def test_a_missed_accuracy_gate_stops_before_scoring(model: Path, data: Path) -> None:
    recorder = Recorder()
    with pytest.raises(GateFailed, match=r"accuracy 0\.6000 on 10 .* below the expected 0\.61;"):
        scan(model, options(data, expect_accuracy=0.61), recorder)
    stages = [call[1] for call in recorder.calls if call[0] == "begin"]
    assert (stages, recorder.calls[-1]) == (["clean"], ("accuracy", 0.6))


@pytest.mark.parametrize("label", [6, 255])
@pytest.mark.parametrize("declared", [True, False])
def test_a_label_that_is_no_class_is_refused(tmp_path: Path, label: int, declared: bool) -> None:
    proto = graphs.conv_net()
    if not declared:
        proto.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    recorder = Recorder()
    labels = np.array([0, 1, label, 2])
    data = stored(tmp_path, x=graphs.samples(0, 4, *SHAPE), y=labels)
    with pytest.raises(DataError, match=rf"label {label} is not one of the model's 6 classes"):
        scan(saved(tmp_path, proto), options(data), recorder)
    if declared:
        assert recorder.calls == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": 0}, "--samples 0 is not usable"),
        ({"batch": -3}, "--batch -3 is not usable"),
        ({"top_k": 0}, "--top-k 0 is not usable"),
        ({"seed": -1}, "--seed -1 is not usable"),
        ({"seed": 2**32}, "--seed 4294967296 is too large; give a number of at most 4294967295"),
        ({"eta": float("nan")}, "--eta nan is not a finite number"),
        ({"eta": float("-inf")}, "--eta -inf is not a finite number"),
        ({"expect_accuracy": 1.5}, "--expect-accuracy 1.5 is not a share"),
        ({"expect_accuracy": 0.5}, "--expect-accuracy 0.5 needs labelled data"),
        ({"labels": "y.npy"}, "--labels 'y.npy' belong to data of your own"),
        ({"perturbed": Path("adv.npz")}, "--perturbed 'adv.npz' needs the clean inputs"),
        ({"perturbations": ()}, "there is no perturbation; give one of gaussian, salt"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        ScanOptions(**given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"perturbations": ("rain",)}, DataError, "unknown perturbation 'rain'"),
        ({"layers": ("no_such_layer",)}, DataError, "--layers 'no_such_layer' matches no"),
        ({"layers": ("re:(",)}, DataError, "--layers 're:(' is not a regular expression"),
        ({"max_memory_bytes": 1024}, DataError, "--max-memory 1.0 KiB is too little"),
        ({"device": "tpu"}, DataError, "--device 'tpu' is not known"),
        ({"mean": (0.1, 0.2)}, DataError, "mean has 2 values"),
        ({"norm": "l7"}, DataError, "unknown norm 'l7'; accepted are linf, l2, l1"),
        ({"eps": "-0.1"}, DataError, "eps '-0.1' is negative"),
        ({"momentum": 1.5}, DataError, "momentum 1.5 is not a decay; give 0 to 1"),
        ({"objective": "loss"}, DataError, "unknown objective 'loss'; accepted are ce, margin"),
        ({"objective": "layer:nope"}, DataError, "'layer:nope' aims at a tensor that is not"),
        ({"perturbed": Path("none.npy")}, DataError, "none.npy"),
        (
            {"perturbations": ("salt",), "save_adversarial": Path("adv.npz")},
            DataError,
            "--save-adversarial 'adv.npz' has nothing to save",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    model: Path, data: Path, given: dict[str, Any], kind: type[LsaError], said: str
) -> None:
    recorder = Recorder()
    with pytest.raises(kind) as caught:
        scan(model, ScanOptions(**{"data": data, "device": "cpu", **given}), recorder)
    assert said in str(caught.value)
    # The error is all there is to read.
    assert {call[0] for call in recorder.calls} <= {"begin", "advance"}


def test_the_gate_needs_labels(model: Path, data: Path) -> None:
    recorder = Recorder()
    with pytest.raises(DataError, match=r"--expect-accuracy 0\.5 needs labels"):
        scan(model, options(data, labels="none", expect_accuracy=0.5), recorder)
    assert recorder.calls == []


def test_pairs_of_another_length_are_refused(tmp_path: Path, model: Path, data: Path) -> None:
    perturbed = stored(tmp_path, "adv.npz", x=graphs.samples(0, 9, *SHAPE))
    with pytest.raises(DataError, match=r"holds 9 samples, the clean data .* hold 10"):
        scanned(model, data, perturbed=perturbed)


def test_a_missing_second_input_is_named(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.two_input_net(), "two.onnx")
    with pytest.raises(DataError, match="holds nothing for 'b'; give an npz with one array per"):
        scanned(model, stored(tmp_path, a=graphs.samples(0, 4, 5)))


def test_a_model_of_integers_without_a_table_is_refused(tmp_path: Path) -> None:
    nodes = [
        graphs.node("Cast", ["ids"], ["numbers"], to=graphs.FLOAT),
        graphs.node("Relu", ["numbers"], ["y"]),
    ]
    inputs, outputs = [graphs.value("ids", ["N", 4], "int64")], [graphs.value("y", ["N", 4])]
    model = saved(tmp_path, graphs.model(nodes, inputs, outputs))
    with pytest.raises(ModelError, match=r"its inputs are 'ids' \(int64\); .* with --perturb-at"):
        scanned(model)
    with pytest.raises(ModelError, match=r"--perturb 'ids' is no float"):
        scanned(model, perturb="ids")
