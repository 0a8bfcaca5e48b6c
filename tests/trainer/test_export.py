"""What torch exports runs in ONNX Runtime with any batch, or it is refused in one line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from lsa_onnx.errors import DataError, ModelError
from lsa_trainer import export
from lsa_trainer.export import export_onnx
from lsa_trainer.module import load
from tests import graphs
from tests.trainer.small_runs import cnn_with_dropout, mlp


def answers(path: Path, *inputs: Tensor) -> list[np.ndarray]:
    proto = onnx.load(path)
    feeds = {v.name: x.numpy() for v, x in zip(proto.graph.input, inputs, strict=True)}
    return list(graphs.run(proto, feeds).values())


@pytest.mark.slow
def test_a_source_module(tmp_path: Path) -> None:
    module, path = cnn_with_dropout(), tmp_path / "m.onnx"
    with torch.no_grad():
        module(torch.rand(8, 2, 5, 7))  # moves the running statistics
    module.train()
    module[4].eval()
    export_onnx(module, [torch.rand(4, 2, 5, 7)], path, ["image"], ["logits"], metadata={"a": "b"})
    assert module.training
    assert not module[4].training
    module.eval()
    for count in (1, 2, 9):
        x = torch.rand(count, 2, 5, 7)
        (found,) = answers(path, x)
        np.testing.assert_allclose(found, module(x).detach(), rtol=1e-4, atol=1e-5)
    proto = onnx.load(path)
    assert [v.name for v in (*proto.graph.input, *proto.graph.output)] == ["image", "logits"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert {e.key: e.value for e in proto.metadata_props}["a"] == "b"


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        pytest.param(graphs.residual_net, [(3, 6, 8)], marks=pytest.mark.slow),
        pytest.param(graphs.transformer, [(4, 6)], marks=pytest.mark.slow),
        pytest.param(graphs.two_input_net, [(5,), (3,)], marks=pytest.mark.slow),
        (graphs.fixed_batch_net, [(3, 5, 7)]),
    ],
)
def test_a_module_that_came_from_a_file(make: object, shapes: list[object], tmp_path: Path) -> None:
    proto = make()  # type: ignore[operator]
    module, path = load(graphs.save(proto, tmp_path / "a.onnx")), tmp_path / "b.onnx"
    inputs = [torch.rand(1, *shape) for shape in shapes]  # type: ignore[misc]
    export_onnx(module, inputs, path, module.input_names, module.output_names)
    given = [torch.rand(5, *shape) for shape in shapes]  # type: ignore[misc]
    (found,) = answers(path, *given)
    np.testing.assert_allclose(found, module(*given).detach(), rtol=1e-4, atol=1e-5)


def test_a_batch_that_is_part_of_the_module(tmp_path: Path) -> None:
    module, path, x = mlp().eval(), tmp_path / "m.onnx", torch.rand(3, 6)
    export_onnx(module, [x], path, ["x"], ["y"], free_batch=False)
    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [3, 6]
    np.testing.assert_allclose(answers(path, x)[0], module(x).detach(), rtol=1e-4, atol=1e-5)


class Choosy(nn.Module):
    """What it computes depends on the numbers that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class Fixed(nn.Module):
    """Takes batches of four alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(4, 6).cumsum(0)


@pytest.mark.parametrize("module", [Choosy(), Fixed()], ids=["choosy", "fixed"])
def test_what_cannot_be_exported_is_refused_in_one_line(
    module: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(ModelError, match=r"torch .* cannot export the module to ONNX: ") as caught:
        export_onnx(module, [torch.rand(4, 6)], path, ["x"], ["y"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert path.read_bytes() == b"mine"
    assert capfd.readouterr() == ("", "")


def test_an_export_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, made = mlp().eval(), export._as_onnx

    def wrong(*arguments: object) -> onnx.ModelProto:
        proto = made(*arguments)  # type: ignore[arg-type]
        tensor = next(t for t in proto.graph.initializer if len(t.dims) == 2)
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name)
        )
        return proto

    monkeypatch.setattr(export, "_as_onnx", wrong)
    pattern = (
        r"computes something else: for 3 samples, .* differ by .* in output 'y' \(allowed 0\.001\)"
    )
    with pytest.raises(ModelError, match=pattern):
        export_onnx(module, [torch.rand(3, 6)], tmp_path / "m.onnx", ["x"], ["y"])
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent/m\.onnx.*folder does not exist"):
        export_onnx(mlp(), [torch.rand(3, 6)], tmp_path / "absent/m.onnx", ["x"], ["y"])


def test_no_warning_escapes_and_filters_stay(tmp_path: Path) -> None:
    before = list(warnings.filters)
    export_onnx(mlp(), [torch.rand(3, 6)], tmp_path / "m.onnx", ["x"], ["y"])
    assert list(warnings.filters) == before
