"""A written file that is not its parent with other weights is refused, whatever differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_trainer.writeback import (
    Placement,
    WriteBackError,
    verify_written,
    writable,
    write_weights,
)
from tests import graphs
from tests.graphs import model, node, samples, save, save_external, value, weight
from tests.trainer.written import contents, initializer, merged_biases, trained

X = {"x": samples(1, 4, 3, 5, 7)}


def refused(old: onnx.ModelProto, new: onnx.ModelProto, folder: Path, **samples: Any) -> str:
    paths = save(old, folder / "old.onnx"), save(new, folder / "new.onnx")
    with pytest.raises(WriteBackError) as caught:
        verify_written(*paths, **samples)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edited(edit: Callable[[onnx.ModelProto], Any], of: onnx.ModelProto) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(of)
    edit(proto)
    return proto


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("make", [graphs.conv_net, graphs.fixed_batch_net, graphs.elu_mlp])
def test_a_good_file_passes(
    make: Callable[[], onnx.ModelProto], external: bool, tmp_path: Path
) -> None:
    keep = save_external if external else save
    source = keep(make(), tmp_path / "source.onnx")
    target = tmp_path / "target.onnx"
    write_weights(source, target, trained(make()), {})
    shape = (4, 2) if make is graphs.elu_mlp else (4, 3, 5, 7)
    verify_written(source, target, {"x": samples(1, *shape)})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda m: setattr(m.graph.node[1], "op_type", "Elu"), "op_type is 'Elu' instead of 'Relu'"),
        (lambda m: setattr(m, "producer_name", "us"), "producer_name is 'us' instead of 'tests'"),
        (lambda m: setattr(m.opset_import[0], "version", 18), "opset of 'ai.onnx' is 18 instead of"),
        (lambda m: m.graph.initializer.add(name="w__other_1", data_type=1), "'w__other_1' is new"),
        (lambda m: m.graph.initializer.add(name="q__untied_1", data_type=1), "'q__untied_1' is new"),
        (
            lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[0], "dim_value", 1),
            "output 'y' is float32 1×6 instead of float32 N×6",
        ),
    ],
)  # fmt: skip
def test_another_graph(edit: Callable[[onnx.ModelProto], Any], said: str, tmp_path: Path) -> None:
    plain = graphs.conv_net()
    assert said in refused(plain, edited(edit, plain), tmp_path)


def test_shapes_are_no_weights(tmp_path: Path) -> None:
    def reshape(proto: onnx.ModelProto) -> None:
        target = numpy_helper.from_array(np.array([-1, 60]), "shape")
        proto.graph.initializer[1].CopyFrom(target)

    plain = graphs.fixed_batch_net()
    said = refused(plain, edited(reshape, plain), tmp_path)
    assert "int64 tensor 'shape' holds other values" in said


def test_an_untied_weight_must_stand_for_the_one_that_it_was(tmp_path: Path) -> None:
    def misuse(proto: onnx.ModelProto) -> None:
        proto.graph.initializer.append(numpy_helper.from_array(weight(3, 4, 4), "b__untied_1"))
        proto.graph.node[2].input[1] = "b__untied_1"

    plain = merged_biases()
    said = refused(plain, edited(misuse, plain), tmp_path)
    assert "node 'm0' (MatMul): input is ['x', 'b__untied_1'] instead of ['x', 'w0']" in said


def test_the_checker_is_asked_by_path(tmp_path: Path) -> None:
    """An initializer without its graph input is what it refuses in an old model."""
    plain = graphs.conv_net(opset=8, ir=3)
    source = save(plain, tmp_path / "source.onnx")
    verify_written(source, source)

    def untie_wrongly(proto: onnx.ModelProto) -> None:
        proto.graph.initializer.append(numpy_helper.from_array(weight(8, 6), "c__untied_1"))
        proto.graph.node[3].input[2] = "c__untied_1"

    said = refused(plain, edited(untie_wrongly, plain), tmp_path)
    assert "onnx.checker refuses" in said
    assert "c__untied_1" in said


def test_what_the_checker_refuses_in_the_parent_too_is_no_fault(tmp_path: Path) -> None:
    strange = edited(lambda m: m.graph.ClearField("name"), graphs.conv_net())
    with pytest.raises(onnx.checker.ValidationError, match="name"):
        onnx.checker.check_model(strange)
    source = save(strange, tmp_path / "source.onnx")
    write_weights(source, tmp_path / "target.onnx", trained(strange), {})
    assert (tmp_path / "target.onnx").exists()


def enlarging(scale: float) -> onnx.ModelProto:
    """A Resize whose scales are floats, as weights are."""
    nodes = [node("Resize", ["x", "", "scales"], ["y"])]
    weights = {"scales": np.array([1, 1, scale, 2], np.float32)}
    return model(nodes, [value("x", ["N", 3, 5, 7])], [value("y", ["N", 3, None, 14])], weights)


def test_the_runtime_must_load_it(tmp_path: Path) -> None:
    said = refused(enlarging(2), enlarging(-1), tmp_path, samples=X)
    assert "ONNX Runtime cannot load the model: " in said
    assert "new.onnx', but loads its parent" in said


def overflowing(number: float) -> onnx.ModelProto:
    """y = number × the deviation from the mean of the batch: 0 for a batch of one sample."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[0]),
        node("Sub", ["x", "mean"], ["d"]),
        node("Mul", ["d", "k"], ["s"]),
        node("Add", ["x", "s"], ["y"]),
    ]
    weights = {"k": np.array([number], np.float32)}
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 5])], weights)


def test_a_batch_must_answer_as_single_runs_do(tmp_path: Path) -> None:
    feeds = {"x": samples(0, 4, 5)}
    said = refused(overflowing(0), overflowing(1), tmp_path, samples=feeds)
    assert "answers a batch of 4 unlike single runs, which its parent does not: output 'y'" in said
    both = save(overflowing(2), tmp_path / "a.onnx"), save(overflowing(1), tmp_path / "b.onnx")
    verify_written(*both, feeds)


def test_samples_beyond_a_fixed_batch_are_left_out(tmp_path: Path) -> None:
    source = save(graphs.fixed_batch_net(), tmp_path / "source.onnx")
    verify_written(source, source, X)
    with pytest.raises(ModelError, match="failed to run the model"):
        verify_written(source, source, {"x": samples(0, 4, 3, 5, 6)})


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["mnist-cntk", "cifar10-resnet-2b", "cifar10-vit-pgd", "mnist-relu-9x200"]
)
def test_real_models(name: str, shared: Path, tmp_path: Path) -> None:
    """Every float of the file is scaled by a little, and all else is what it was."""
    source, target = shared / "models" / f"{name}.onnx", tmp_path / f"{name}.onnx"
    proto = onnx.load(source)
    kinds = writable(proto)
    old = contents(source)
    weights = {
        Placement(n, kind): old[n] * np.float32(1.01)
        for n, kind in kinds.items()
        if kind == "initializer" and old[n].size > 1
    }
    assert len(weights) >= 6
    write_weights(source, target, weights, {"lsa_onnx.test": "1"})
    (x,) = (v for v in proto.graph.input if v.name not in old)
    shape = [d.dim_value for d in x.type.tensor_type.shape.dim]
    verify_written(source, target, {x.name: samples(0, 3, *shape[1:])})
    new = contents(target)
    for placement, values in weights.items():
        np.testing.assert_array_equal(new[placement.name], values)


def test_half_precision_is_compared_as_such(tmp_path: Path) -> None:
    plain = graphs.typed_net("float16")
    source = save(plain, tmp_path / "source.onnx")
    write_weights(source, tmp_path / "target.onnx", trained(plain), {})
    verify_written(source, tmp_path / "target.onnx", {"x": samples(0, 6, 5, dtype="float16")})
    (held, _) = onnx.load(tmp_path / "target.onnx").graph.initializer
    assert held.data_type == TensorProto.FLOAT16


def test_an_untied_weight_of_the_same_name_twice(tmp_path: Path) -> None:
    """Hardened twice: what was untied once is a weight like any other."""
    paths = [save(merged_biases(), tmp_path / "0.onnx")]
    for generation, placement in enumerate(
        (initializer("b", ("a1", 1)), initializer("b__untied_1"), initializer("b", ("a2", 1)))
    ):
        paths.append(tmp_path / f"{generation + 1}.onnx")
        write_weights(paths[-2], paths[-1], {placement: weight(generation, 4)}, {})
    found = contents(paths[-1])
    np.testing.assert_array_equal(found["b__untied_1"], weight(1, 4))
    np.testing.assert_array_equal(found["b__untied_2"], weight(2, 4))
    verify_written(paths[-2], paths[-1], {"x": samples(0, 3, 4)})
