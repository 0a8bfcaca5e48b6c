from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from benchmarks.models import MODELS, main

# Sizes small enough for a unit test; the classes and channels are those of the full models.
CASES = {
    "resnet18": (64, 3, 1000, 21),
    "vgg19": (64, 3, 10, 17),
    "vit_small": (64, 3, 10, 38),
    "mnist_b": (32, 1, 10, 5),
}


@pytest.fixture(scope="module", params=sorted(CASES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> onnx.ModelProto:
    return MODELS[name](image=CASES[name][0])


def images(name: str, batch: int) -> NDArray[Any]:
    size, channels = CASES[name][:2]
    rng = np.random.default_rng(5)
    return rng.uniform(size=(batch, channels, size, size)).astype(np.float32)


def learnable(model: onnx.ModelProto) -> int:
    ops = ("Conv", "Gemm", "MatMul")
    weights = {tensor.name for tensor in model.graph.initializer}
    return sum(node.op_type in ops and node.input[1] in weights for node in model.graph.node)


def run_all(model: onnx.ModelProto, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    names = [output for node in model.graph.node for output in node.output]
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in names)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(None, {"image": x}), strict=True))


def test_valid_with_a_free_batch_and_all_layers(name: str, model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert learnable(model) == CASES[name][3]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    nodes = [node.name for node in model.graph.node]
    assert all(nodes)
    assert len(set(nodes)) == len(nodes)


def test_activations_stay_finite_and_of_order_one(name: str, model: onnx.ModelProto) -> None:
    tensors = run_all(model, images(name, 2))
    assert tensors["logits"].shape == (2, CASES[name][2])
    assert all(np.isfinite(values).all() for values in tensors.values())
    strength = {
        tensor: float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
        for tensor, values in tensors.items()
        if "softmax" not in tensor
    }
    assert min(strength.values()) > 0.1, min(strength, key=lambda t: strength[t])
    assert max(strength.values()) < 10, max(strength, key=lambda t: strength[t])


def test_samples_do_not_mix_and_differ(name: str, model: onnx.ModelProto) -> None:
    x = images(name, 3)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    together = session.run(None, {"image": x})[0]
    alone = np.concatenate([session.run(None, {"image": x[i : i + 1]})[0] for i in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_command_line_writes_the_same_file_each_time(tmp_path: Path) -> None:
    for out in ("a.onnx", "b.onnx"):
        main(["mnist_b", str(tmp_path / out)])
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    shape = onnx.load(tmp_path / "a.onnx").graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim[1:]] == [1, 28, 28]


def test_command_line_refuses_an_unknown_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["resnet19", str(tmp_path / "out.onnx")])
    assert "'resnet19'" in capsys.readouterr().err
