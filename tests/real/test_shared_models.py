"""The scanner on models and data that strangers made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from lsa_onnx.attacks import Batch, Noise
from lsa_onnx.inputs import parse_floats, parse_range
from lsa_onnx.instrumented import write_exposed
from lsa_onnx.report import Report
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scanning import ScanOptions, open_subject, scan

pytestmark = pytest.mark.real

MNIST, CIFAR = "data/mnist.npz", "data/cifar10-images.tar.gz"
RESNET = {"mean": parse_floats("0.485,0.456,0.406"), "std": parse_floats("0.225,0.225,0.225")}
VIT = {
    "mean": parse_floats("0.4914,0.4822,0.4465"),
    "std": parse_floats("0.2023,0.1994,0.2010"),
}
# Model → (data, what the values mean, clean accuracy published with the model).
WITH_DATA: dict[str, tuple[str, dict[str, Any], float]] = {
    "mnist-cntk": (MNIST, {"range": parse_range("0,255")}, 0.99),
    "mnist-mlp-256x2": (MNIST, {}, 0.981),
    "mnist-mlp-256x4": (MNIST, {}, 0.976),
    "mnist-relu-9x200": (MNIST, {}, 0.96),
    "cifar10-resnet-2b": (CIFAR, RESNET, 0.67),
    "cifar10-resnet-4b": (CIFAR, RESNET, 0.763),
    "cifar10-conv-kw": (CIFAR, RESNET, 0.566),
    "cifar10-tf-nhwc-small": (CIFAR, {"layout": "NHWC"}, 0.626),
    "cifar10-vit-pgd": (CIFAR, VIT, 0.583),
}
WITHOUT_DATA = [
    "acasxu-1-1",
    "cgan-32",
    "collins-rul-small",
    "pensieve-small-parallel",
    "ultraface-rfb-320",
]
# Its 4,420 boxes take as long as the other thirteen together.
SLOW = {"ultraface-rfb-320"}
EACH = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in [*WITH_DATA, *WITHOUT_DATA]
]
# The observed tensors, and so the fusions, differ between scanning some and exposing some others.
CM_TOLERANCE = 1e-5


def options(name: str, files: Mapping[str, Path], **more: Any) -> ScanOptions:
    data, spec, _ = WITH_DATA.get(name, (None, {}, None))
    return ScanOptions(data=files[data] if data else None, device="cpu", **spec, **more)


def assert_explained(report: Report) -> None:
    """Every score is finite, or its layer says why not."""
    assert report.layers
    for result in report.perturbations:
        for score in result.layers:
            if score.status in ("ok", "constant"):
                assert score.relative_error.mean is not None
                assert np.isfinite(score.relative_error.mean)
            else:
                assert score.reason


@pytest.mark.parametrize("name", EACH)
def test_every_model_is_scanned(name: str, shared: Path, images: dict[str, Path]) -> None:
    report = scan(shared / "models" / f"{name}.onnx", options(name, images, samples=8, steps=2))
    assert_explained(report)
    assert report.run.engine == "optimised twin"
    assert report.data.synthetic == (name in WITHOUT_DATA)
    assert report.observer.max_relative_difference < 1e-5
    assert report.observer.label_flips in (0, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_DATA)
def test_clean_accuracy_is_the_published_one(name: str, shared: Path) -> None:
    files = {MNIST: shared / MNIST, CIFAR: shared / CIFAR}
    chosen = options(name, files, samples=2000, perturbations=("gaussian",))
    report = scan(shared / "models" / f"{name}.onnx", chosen)
    assert report.accuracy is not None
    assert report.accuracy.n == 2000
    assert report.accuracy.value == pytest.approx(WITH_DATA[name][2], abs=0.02)


@pytest.mark.parametrize("selection", ["activations", "all"])
@pytest.mark.parametrize("name", EACH)
def test_scores_equal_numpy_on_the_exposed_model(
    name: str, selection: str, shared: Path, images: dict[str, Path], tmp_path: Path
) -> None:
    model = shared / "models" / f"{name}.onnx"
    chosen = options(name, images, samples=4, layers=(selection,), perturbations=("gaussian",))
    report = scan(model, chosen)
    exposed = tmp_path / "exposed.onnx"
    names = write_exposed(model, exposed, (selection,), resolve_device("cpu"))
    onnx.checker.check_model(exposed, full_check=True)
    expected = _relative_errors(exposed, model, chosen, names)
    (result,) = report.perturbations
    assert [score.tensor for score in result.layers] == names
    for score, errors in zip(result.layers, expected, strict=True):
        defined = errors[np.isfinite(errors)]
        figures = score.relative_error
        assert figures.n == len(defined)
        if figures.n:
            got = [figures.mean, figures.minimum, figures.maximum, figures.median]
            wanted = [defined.mean(), defined.min(), defined.max(), np.median(defined)]
            assert got == pytest.approx(wanted, rel=CM_TOLERANCE, abs=1e-12), score.tensor


def _relative_errors(
    exposed: Path, model: Path, chosen: ScanOptions, names: list[str]
) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """CM per tensor and sample, by plain numpy on plain ONNX Runtime outputs, one sample a run."""
    subject = open_subject(str(model), chosen)
    feeds, _ = subject.feeds(0, 4)
    x = feeds[subject.input.name]
    noisy = Noise("gaussian", 0.1, 0)(Batch(x, None, 0, subject.spec.low, subject.spec.high))
    session = ort.InferenceSession(exposed, providers=["CPUExecutionProvider"])
    key = subject.input.name

    def run(values: np.ndarray[Any, np.dtype[Any]]) -> list[Any]:
        fed = subject.as_deployed({key: values[None]})[key]
        return session.run(names, {key: subject.layout.feed(fed)})  # type: ignore[no-any-return]

    rows = []
    for clean, moved in zip(x, noisy, strict=True):
        pairs = [
            (a.astype(np.float64), b.astype(np.float64))
            for a, b in zip(run(clean), run(moved), strict=True)
        ]
        norms = [(np.linalg.norm(a - b), np.linalg.norm(a)) for a, b in pairs]
        rows.append([d / n if n > 0 else np.nan for d, n in norms])
    return list(np.asarray(rows, np.float64).T)


def test_exposing_leaves_the_outputs_alone(shared: Path, tmp_path: Path) -> None:
    for model in sorted((shared / "models").glob("*.onnx")):
        exposed = tmp_path / "exposed.onnx"
        write_exposed(model, exposed, ("all",), resolve_device("cpu"))
        plain, observed = _session(model), _session(exposed)
        feeds = {
            value.name: np.random.default_rng(0)
            .random([d if isinstance(d, int) else 3 for d in value.shape])
            .astype(np.float32)
            for value in plain.get_inputs()
        }
        names = [value.name for value in plain.get_outputs()]
        for first, second in zip(plain.run(names, feeds), observed.run(names, feeds), strict=True):
            assert np.array_equal(first, second), model.name


def _session(path: Path) -> ort.InferenceSession:
    """Without optimisation: the same kernels run whatever is observed."""
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
