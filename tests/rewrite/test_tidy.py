"""``tidy`` settles what ONNX Runtime puts up with as ONNX Runtime settles it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import copy_model, node_inputs
from lsa_onnx.rewrite.tidy import tidy
from tests import graphs
from tests.graphs import model, node, run, samples, value, weight

X = samples(0, 3, 5) - np.float32(0.5)


def tidied(proto: onnx.ModelProto) -> onnx.ModelProto:
    copied = copy_model(proto)
    tidy(copied)
    return copied


def is_ordered(graph: onnx.GraphProto) -> bool:
    made: set[str] = set()
    later = {name for each in graph.node for name in each.output}
    for each in graph.node:
        if any(name in later - made for name in node_inputs(each)):
            return False
        made.update(each.output)
    return True


@pytest.mark.parametrize(
    "proto", [graphs.residual_net(), graphs.loop_net(), graphs.transformer()], ids=["1", "2", "3"]
)
def test_what_is_in_order_stays_as_it_is(proto: onnx.ModelProto) -> None:
    assert tidied(proto).SerializeToString() == proto.SerializeToString()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(11)))
def test_nodes_in_any_order_are_put_into_one_that_runs(order: list[int]) -> None:
    proto = graphs.residual_net()
    nodes = [proto.graph.node[index] for index in order]
    shuffled = copy_model(proto)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    found = tidied(shuffled)
    assert is_ordered(found.graph)
    assert sorted(n.name for n in found.graph.node) == sorted(n.name for n in proto.graph.node)
    x = {"x": samples(1, 2, 3, 6, 8)}
    np.testing.assert_array_equal(run(found, x)["y"], run(proto, x)["y"])
    np.testing.assert_array_equal(run(shuffled, x)["y"], run(proto, x)["y"])


def test_the_earliest_node_that_can_run_comes_first() -> None:
    nodes = [
        node("Add", ["b", "c"], ["y"]),
        node("Neg", ["x"], ["c"]),
        node("Abs", ["x"], ["b"]),
        node("Relu", ["x"], ["unread"]),
    ]
    proto = model(nodes, [value("x", ["N", 5])], [value("y", None)])
    assert [n.output[0] for n in tidied(proto).graph.node] == ["c", "b", "y", "unread"]


def branched(*body: onnx.NodeProto) -> list[onnx.NodeProto]:
    branches = {
        side: helper.make_graph(body, side, [], [value("o", None)])
        for side in ("then_branch", "else_branch")
    }
    return [
        helper.make_node("If", ["c"], ["y"], **branches),
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("Neg", ["x"], ["h"]),
    ]


def test_what_a_body_reads_comes_before_its_node() -> None:
    nodes = branched(helper.make_node("Abs", ["h"], ["o"]))
    proto = model(nodes, [value("x", ["N", 5])], [value("y", None)])
    found = tidied(proto)
    assert [n.op_type for n in found.graph.node] == ["ReduceMax", "Cast", "Neg", "If"]
    np.testing.assert_array_equal(run(found, {"x": X})["y"], np.abs(X))
    np.testing.assert_array_equal(run(proto, {"x": X})["y"], np.abs(X))


def test_bodies_are_put_in_order_too() -> None:
    """ONNX Runtime wants them so."""
    nodes = branched(
        helper.make_node("Abs", ["t"], ["o"]), helper.make_node("Add", ["h", "x"], ["t"])
    )
    proto = model(nodes, [value("x", ["N", 5])], [value("y", None)])
    np.testing.assert_array_equal(run(tidied(proto), {"x": X})["y"], np.abs(-X + X))


def test_a_cycle_through_a_body_is_named() -> None:
    nodes = [*branched(helper.make_node("Abs", ["h"], ["o"])), node("Relu", ["y"], ["z"])]
    nodes[3].input[0] = "z"
    proto = model(nodes, [value("x", ["N", 5])], [value("y", None)])
    with pytest.raises(ModelError, match=r"node 'y' \(If\) reads 'h', which depends on what that"):
        tidied(proto)


def test_the_last_constant_of_a_name_counts() -> None:
    proto = model(
        [node("Add", ["x", "w"], ["y"])],
        [value("x", ["N", 5])],
        [value("y", None)],
        {"w": weight(0, 5), "v": weight(2, 5)},
    )
    proto.graph.initializer.append(numpy_helper.from_array(weight(1, 5), "w"))
    found = tidied(proto)
    assert [tensor.name for tensor in found.graph.initializer] == ["v", "w"]
    np.testing.assert_array_equal(run(found, {"x": X})["y"], X + weight(1, 5))
    np.testing.assert_array_equal(run(proto, {"x": X})["y"], X + weight(1, 5))


@pytest.mark.parametrize("versions", [(17, 11), (11, 17)])
@pytest.mark.parametrize("second", ["", "ai.onnx"])
def test_the_last_version_of_a_domain_counts(versions: tuple[int, int], second: str) -> None:
    """Before opset 13, Softmax flattens."""
    proto = model(
        [node("Softmax", ["x"], ["y"], axis=1)],
        [value("x", ["N", 3, 2])],
        [value("y", None)],
        opset=versions[0],
    )
    proto.opset_import.append(helper.make_opsetid(second, versions[1]))
    found = tidied(proto)
    assert [(o.domain, o.version) for o in found.opset_import] == [("", versions[1])]
    x = {"x": samples(1, 2, 3, 2)}
    np.testing.assert_array_equal(run(found, x)["y"], run(proto, x)["y"])


def test_nodes_that_make_nothing_go() -> None:
    nodes = [
        node("Relu", ["x"], ["y"]),
        onnx.helper.make_node("Constant", [], [], value_int=1),
        onnx.helper.make_node("Neg", ["x"], [""]),
    ]
    proto = model(nodes, [value("x", ["N", 5])], [value("y", ["N", 5])])
    tidy(proto)
    assert [each.op_type for each in proto.graph.node] == ["Relu"]
