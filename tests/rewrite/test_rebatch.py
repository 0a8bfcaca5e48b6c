"""``rebatch``: a batch of 1 that was baked into a model becomes free."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import rebatch
from tests import graphs


def in_constant_node(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with the target of its Reshape in a Constant node."""
    tensor = next(t for t in proto.graph.initializer if t.name == "shape")
    constant = graphs.node("Constant", [], ["shape"], value=tensor)
    proto.graph.initializer.remove(tensor)
    proto.graph.node.insert(0, constant)
    return proto


def assert_equal_to_single_runs(fixed: onnx.ModelProto, free: onnx.ModelProto) -> None:
    x = graphs.samples(1, 3, 3, 5, 7)
    singles = [graphs.run(fixed, {"x": x[i : i + 1]})["y"] for i in range(3)]
    together = graphs.run(free, {"x": x})["y"]
    assert together == pytest.approx(np.concatenate(singles), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("shape", [[1, 60], [1, -1], [0, -1]])
@pytest.mark.parametrize("constant_node", [False, True])
def test_a_batch_equals_single_runs(shape: list[int], constant_node: bool) -> None:
    proto = graphs.fixed_batch_net(shape)
    if constant_node:
        proto = in_constant_node(proto)
    before = proto.SerializeToString()
    free = rebatch(proto)
    assert proto.SerializeToString() == before
    onnx.checker.check_model(free, full_check=True)
    assert free.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert free.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert_equal_to_single_runs(proto, free)


@pytest.mark.parametrize(
    ("given", "freed"),
    [([1, 60], [-1, 60]), ([1, -1], [0, -1]), ([1, 4, -1], [0, 4, -1]), ([1, 4, 15], [-1, 4, 15])],
)
def test_how_a_target_is_freed(given: list[int], freed: list[int]) -> None:
    proto = graphs.model(
        [graphs.node("Reshape", ["x", "shape"], ["y"])],
        [graphs.value("x", [1, 4, 3, 5])],
        [graphs.value("y", None)],
        {"shape": np.array(given, np.int64)},
    )
    free = rebatch(proto)
    target = free.graph.node[0].input[1]
    tensors = {t.name: numpy_helper.to_array(t).tolist() for t in free.graph.initializer}
    assert tensors[target] == freed
    assert tensors["shape"] == given


@pytest.mark.parametrize("shape", [[1, 60], [1, -1]])
def test_with_allowzero_a_zero_would_be_a_length(shape: list[int]) -> None:
    proto = graphs.fixed_batch_net(shape)
    reshape = next(n for n in proto.graph.node if n.op_type == "Reshape")
    reshape.attribute.append(onnx.helper.make_attribute("allowzero", 1))
    free = rebatch(proto)
    kept = next(n for n in free.graph.node if n.op_type == "Reshape").input[1] == "shape"
    assert kept is (-1 in shape)
    if not kept:
        assert_equal_to_single_runs(proto, free)


def test_a_reshape_of_a_constant_keeps_its_target() -> None:
    proto = graphs.fixed_batch_net()
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(6, np.float32), "bias"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 6], np.int64), "row"))
    proto.graph.node.insert(0, graphs.node("Reshape", ["bias", "row"], ["bias_row"]))
    proto.graph.node[-1].input.append("bias_row")
    free = rebatch(proto)
    assert free.graph.node[0].input[1] == "row"
    assert_equal_to_single_runs(proto, free)


def test_recorded_shapes_are_forgotten() -> None:
    proto = onnx.shape_inference.infer_shapes(graphs.fixed_batch_net())
    assert len(proto.graph.value_info) > 0
    free = rebatch(proto)
    assert len(free.graph.value_info) == 0
    assert_equal_to_single_runs(proto, free)


def test_a_dimension_name_in_use_gets_a_number() -> None:
    proto = graphs.fixed_batch_net()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "N"
    dims = rebatch(proto).graph.input[0].type.tensor_type.shape.dim
    assert [dims[0].dim_param, dims[2].dim_param] == ["N1", "N"]


@pytest.mark.parametrize("leading", [3, "N"])
def test_another_leading_dimension_is_refused(leading: int | str) -> None:
    with pytest.raises(ModelError, match=rf"'x': its shape is \[{leading!r}, 3, 5, 7\]"):
        rebatch(graphs.conv_net(batch=leading))
