"""The architectures that made the field, at their full size, scanned under noise and PGD."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lsa_onnx.rewrite.graph import consumers, producers
from tests import graphs
from tests.conformance.cases import HEAVY, LIGHT, light_cases
from tests.real.whole_scans import require_scores_of_numpy, require_sound, whole_scan
from tests.scanning.helpers import attack_of

pytestmark = pytest.mark.slow

SAMPLES = 3
# Architecture → convolutions and fully connected layers, less the last one where no other score
# follows it: the representations that the paper reads.
REPRESENTATIONS = {
    "bvlc_alexnet": 7,
    "densenet121": 120,
    "inception_v1": 57,
    "inception_v2": 69,
    "resnet50": 53,
    "shufflenet": 49,
    "squeezenet": 26,
    "vgg19": 18,
    "zfnet512": 7,
}
# It returns scores of shape (n, 1000, 1, 1).
WITHOUT_CLASSES = ("densenet121",)


def saved(name: str, folder: Path) -> Path:
    """The network with random weights, and some images of noise beside it."""
    (case,) = light_cases([name])
    ((_, x),) = case.feeds.items()
    np.savez(folder / "data.npz", x=graphs.samples(0, SAMPLES, *x.shape[1:]))
    for scale in scales(case.model.graph):
        scale.CopyFrom(numpy_helper.from_array(np.ones(scale.dims, np.float32), scale.name))
    return graphs.save(case.model, folder / "model.onnx")


def scales(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """What the network is stored with instead of scales and variances: 0.02, again and again.

    With those, nothing of the image is left after a few layers.
    """
    makers, readers = producers(graph), consumers(graph)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        names = list(node.input[1:5:3]) if node.op_type == "BatchNormalization" else []
        names += [node.input[0]] if node.op_type == "Unsqueeze" and _scales(node, readers) else []
        for name in names:
            if name in stored:
                yield stored[name]
            else:
                yield makers[name].attribute[0].t


def _scales(node: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> bool:
    return any(reader.op_type == "Mul" for reader in readers[node.output[0]])


def test_they_are_the_nine() -> None:
    assert set(REPRESENTATIONS) == {*LIGHT, *HEAVY}


@pytest.mark.parametrize("layers", ["activations", "all"])
@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_every_architecture(name: str, layers: str, tmp_path: Path) -> None:
    model = saved(name, tmp_path)
    found = whole_scan(model, tmp_path / "data.npz", layers=(layers,), steps=2, eps="8/255")
    require_sound(found)
    assert found.report.run.batch_mode == "rebatched", found.report.run.batch_note
    assert found.report.run.engine == "optimised twin"
    assert (attack_of(found.report).success is None) == (name in WITHOUT_CLASSES)
    require_scores_of_numpy(found, some=6, rel=1e-3)
    if layers == "activations":
        learnable = {node for info in found.report.layers for node in info.learnable}
        assert len(learnable) == REPRESENTATIONS[name]
    # pytest keeps what tests leave, and these would be some gigabytes.
    model.unlink()
