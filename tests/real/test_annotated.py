"""Models of strangers with the scores of their scan in the metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from lsa_onnx.annotated import PREFIX, write_annotated
from lsa_onnx.differences import diff_models
from lsa_onnx.report.formats import FORMATS, render
from lsa_onnx.scanning import ScanOptions, scan

pytestmark = pytest.mark.real

SHAPES = {
    "mnist-cntk": (1, 1, 28, 28),
    "cifar10-tf-nhwc-small": (1, 32, 32, 3),
    "cifar10-vit-pgd": (1, 3, 32, 32),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_copy_computes_the_same(name: str, shared: Path, tmp_path: Path) -> None:
    path, target = shared / "models" / f"{name}.onnx", tmp_path / "scored.onnx"
    report = scan(path, ScanOptions(perturbations=("gaussian",), samples=4, device="cpu"))
    write_annotated(path, target, report)
    found = diff_models(path, target)
    assert (found.other, found.changed_tensors) == ([], ())
    assert {key.removeprefix(PREFIX) for key in found.metadata.added} >= {
        "verdict",
        "mvl",
        "layers",
    }
    assert onnx.load(target).ir_version == report.model.ir_version
    x = np.random.default_rng(0).random(SHAPES[name], dtype=np.float32)
    before, after = (
        ort.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in (path, target)
    )
    feed = {before.get_inputs()[0].name: x}
    for expected, got in zip(before.run(None, feed), after.run(None, feed), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert all(render(each, report) for each in FORMATS)
