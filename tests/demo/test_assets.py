from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from lsa_onnx.demo.assets import ATTRIBUTION, digits_data, digits_model

Images = tuple[NDArray[Any], NDArray[Any]]


@pytest.fixture(scope="module")
def data() -> Images:
    with np.load(digits_data()) as arrays:
        return arrays["x"], arrays["y"]


def test_images_are_bytes_of_every_class(data: Images) -> None:
    x, y = data
    assert (x.shape, str(x.dtype)) == ((500, 8, 8), "uint8")
    assert (y.shape, str(y.dtype)) == ((500,), "int64")
    assert (x.min(), x.max()) == (0, 255)
    assert np.bincount(y).min() >= 40
    assert len(np.bincount(y)) == 10


def test_model_is_small_named_and_valid() -> None:
    model = onnx.load(digits_model())
    onnx.checker.check_model(model, full_check=True)
    assert digits_model().stat().st_size < 120_000
    nodes = [node.name for node in model.graph.node]
    assert [name for name in nodes if name.startswith(("conv", "fc")) and "_" not in name] == [
        "conv1",
        "conv2",
        "conv3",
        "fc1",
        "fc2",
    ]
    assert len(set(nodes)) == len(nodes)


def test_accuracy_is_the_one_the_readme_states(data: Images) -> None:
    x, y = data
    session = onnxruntime.InferenceSession(digits_model(), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": x[:, np.newaxis].astype(np.float32) / 255})[0]
    accuracy = np.mean(np.argmax(logits, axis=1) == y)
    readme = (digits_model().parent / "README.md").read_text(encoding="utf-8")
    stated = re.search(r"\*\*([\d.]+) %\*\* of the 500 held-out", readme)
    assert stated is not None
    assert 100 * accuracy == pytest.approx(float(stated.group(1)), abs=0.05)
    assert accuracy >= 0.95


def test_origin_and_licence_travel_with_the_images() -> None:
    readme = (digits_data().parent / "README.md").read_text(encoding="utf-8")
    for word in ("Optical Recognition of Handwritten Digits", "CC BY 4.0"):
        assert word in ATTRIBUTION
        assert word in readme


def test_paths_do_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert digits_model().is_file()
    assert digits_data().is_file()
