"""What ``modernise`` cannot raise, and how it says so."""

from __future__ import annotations

import re

import onnx
import pytest
from onnx import TensorProto, helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.modernise import modernise
from tests import graphs
from tests.rewrite.modernised import assert_same, operators, single

X = graphs.samples(0, 3, 5) - 0.5


def chain(*nodes: onnx.NodeProto, version: int) -> onnx.ModelProto:
    inputs, outputs = [graphs.value("x", ["N", 5])], [graphs.value("y", None)]
    return graphs.model(nodes, inputs, outputs, opset=version)


def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
    result = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    return helper.make_graph([node], name, [], [result])


def test_every_node_that_cannot_be_raised_is_named() -> None:
    inner = branch("t", graphs.node("Crop", ["x"], ["c"], border=[0, 0, 1, 1]))
    other = branch("e", graphs.node("Abs", ["x"], ["a"]))
    nodes = [
        graphs.node("Crop", ["x"], ["a"], border=[0, 0, 1, 1], name="first"),
        graphs.node("If", ["p"], ["b"], then_branch=inner, else_branch=other),
        graphs.node("Scan", ["", "a"], ["d"], num_scan_inputs=1, body=other, name=""),
        graphs.node("Gumbel", ["d"], ["y"]),
    ]
    expected = (
        "cannot raise 4 nodes of opset 8 to opset 18: Crop 'first': it is not an operator of opset 8; "
        "Crop 'n_c': it is not an operator of opset 8; Scan 'd': a Scan of opset 8 runs over a batch; "
        "Gumbel 'n_y': it is not an operator of opset 8; export the model again with opset 18 or newer"
    )
    with pytest.raises(ModelError, match=f"^{re.escape(expected)}$"):
        modernise(chain(*nodes, version=8))


def test_statistics_of_the_batch_are_refused() -> None:
    feeds = {"x": X, **{name: graphs.samples(1, 5) for name in "sbmv"}}
    proto = single("BatchNormalization", feeds, 9, outputs=("y", "running", "", "", ""))
    with pytest.raises(ModelError, match=r"'n_y': it also returns 'running'.*training mode"):
        modernise(proto)


def test_forms_older_than_opset_7_are_refused() -> None:
    proto = chain(graphs.node("Add", ["x", "x"], ["y"], broadcast=1), version=6)
    with pytest.raises(ModelError, match="Add 'n_y': opset 7 replaced the form that opset 6 has"):
        modernise(proto)
    plain = chain(graphs.node("Softmax", ["x"], ["y"]), version=6)
    assert operators(assert_same(plain, {"x": X}).graph) == ["Softmax"]


@pytest.mark.parametrize("op", ["Upsample", "Scatter"])
def test_operators_after_their_end_are_refused(op: str) -> None:
    with pytest.raises(ModelError, match=f"{op} 'n_y': it is not an operator of opset 12"):
        modernise(single(op, {"x": X, "s": X}, 12))
