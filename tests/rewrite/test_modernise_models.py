"""``modernise`` on models that strangers made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from lsa_onnx.rewrite.graph import opset, true_inputs
from tests import graphs
from tests.rewrite.modernised import assert_same

pytestmark = pytest.mark.real

MODELS = [
    "acasxu-1-1",
    "cgan-32",
    "cifar10-conv-kw",
    "cifar10-resnet-2b",
    "cifar10-resnet-4b",
    "cifar10-tf-nhwc-small",
    "cifar10-vit-pgd",
    "collins-rul-small",
    "mnist-cntk",
    "mnist-mlp-256x2",
    "mnist-mlp-256x4",
    "mnist-relu-9x200",
    "pensieve-small-parallel",
    "ultraface-rfb-320",
]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_stay(name: str, shared: Path) -> None:
    proto = onnx.load(shared / "models" / f"{name}.onnx")
    assert opset(proto) < 18
    feeds = {}
    for seed, value in enumerate(true_inputs(proto.graph)):
        dims = [d.dim_value or 3 for d in value.type.tensor_type.shape.dim]
        feeds[value.name] = graphs.samples(seed, *dims)
    raised = assert_same(proto, feeds, rel=1e-5)
    assert len(graphs.run(raised, feeds)) == len(proto.graph.output)
    assert all(np.isfinite(array).all() for array in graphs.run(raised, feeds).values())
