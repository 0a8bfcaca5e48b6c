"""One name for one tensor: bodies of control flow are renamed where they collide, and mean the same."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.rewrite.graph import local_names, subgraphs
from lsa_onnx.rewrite.names import separate_names
from tests.graphs import conv_net, if_net, loop_net, model, node, run, samples, value

Array = NDArray[Any]


def defined(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name that a graph or a body in it defines, once for each of them."""
    yield from local_names(graph)
    for inner in graph.node:
        for body in subgraphs(inner):
            yield from defined(body)


def assert_separate(proto: onnx.ModelProto) -> None:
    counts = Counter(name for name in defined(proto.graph) if name)
    assert [name for name, count in counts.items() if count > 1] == []


def branch(nodes: list[onnx.NodeProto], output: str, **constants: Array) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "branch", [], [result], tensors)


def siblings() -> onnx.ModelProto:
    """Branches that use the same names, for constants, for results and in bodies of their own."""

    def half(kind: str, factor: float) -> onnx.GraphProto:
        scale = np.asarray(factor, np.float32)
        leaf = branch([node("Mul", ["t", "k"], ["out"])], "out", k=2 * scale)
        other = branch([node(kind, ["t"], ["out"])], "out")
        nodes = [
            node("Mul", ["h", "k"], ["t"]),
            node("If", ["inner"], ["r"], then_branch=leaf, else_branch=other),
            node("Add", ["r", "t"], ["z"]),
        ]
        return branch(nodes, "z", k=scale)

    nodes = [
        node("Exp", ["x"], ["h"]),
        node("If", ["outer"], ["w"], then_branch=half("Neg", 3), else_branch=half("Abs", -5)),
        node("Mul", ["w", "h"], ["y"]),
    ]
    inputs = [value("x", ["N", 3]), value("outer", [], "bool"), value("inner", [], "bool")]
    return model(nodes, inputs, [value("y", ["N", 3])])


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_sibling_branches(outer: bool, inner: bool) -> None:
    proto = siblings()
    separated = separate_names(proto)
    assert_separate(separated)
    feeds = {
        "x": samples(0, 2, 3),
        "outer": np.asarray(outer),
        "inner": np.asarray(inner),
    }
    np.testing.assert_array_equal(run(separated, feeds)["y"], run(proto, feeds)["y"])


def test_the_argument_is_not_changed() -> None:
    proto = siblings()
    before = proto.SerializeToString()
    separate_names(proto)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("proto", [conv_net(), if_net(), loop_net(), conv_net(opset=8, ir=3)])
def test_models_without_collisions_stay_as_they_are(proto: onnx.ModelProto) -> None:
    assert separate_names(proto) == proto


def hiding_loop() -> onnx.ModelProto:
    """A body whose state and intermediate hide tensors of the main graph, "h" and "y"."""
    nodes = [
        helper.make_node("Add", ["h", "x"], ["y"]),
        helper.make_node("Mul", ["y", "y"], ["next"]),
        helper.make_node("Identity", ["go"], ["go_on"]),
    ]
    inputs = [value("i", [], "int64"), value("go", [], "bool"), value("h", None)]
    outputs = [value("go_on", [], "bool"), value("next", None)]
    body = helper.make_graph(nodes, "body", inputs, outputs, value_info=[value("y", None)])
    main = [node("Neg", ["x"], ["h"]), node("Loop", ["n", "", "h"], ["y"], body=body)]
    weights = {"n": np.asarray(2, np.int64)}
    return model(main, [value("x", [2, 3])], [value("y", None)], weights)


def test_a_body_that_hides_tensors_of_the_graph_around() -> None:
    separated = separate_names(hiding_loop())
    assert_separate(separated)
    (body,) = subgraphs(separated.graph.node[1])
    assert [v.name for v in body.input][:2] == ["i", "go"]
    state, middle = body.input[2].name, body.node[0].output[0]
    assert {state, middle}.isdisjoint({"h", "y"})
    assert list(body.node[0].input) == [state, "x"]
    assert list(body.node[1].input) == [middle, middle]
    assert [v.name for v in body.value_info] == [middle]
    x = samples(1, 2, 3)
    # h = −x, then twice h ← (h + x)²: (0 + x)².
    np.testing.assert_allclose(run(separated, {"x": x})["y"], x**2, rtol=1e-6)


def test_annotations_and_sparse_constants_follow() -> None:
    body = branch([node("Identity", ["h"], ["t"])], "t")
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("h", TensorProto.FLOAT, [1], [2.0]),
        helper.make_tensor("at", TensorProto.INT64, [1], [0]),
        [3],
    )
    body.sparse_initializer.append(sparse)
    body.quantization_annotation.add(tensor_name="h")
    main = [
        node("Exp", ["x"], ["h"]),
        node("If", ["c"], ["y"], then_branch=body, else_branch=branch([], "h")),
    ]
    inputs = [value("x", [3]), value("c", [], "bool")]
    separated = separate_names(model(main, inputs, [value("y", None)]))
    branches = {a.name: a.g for a in separated.graph.node[1].attribute}
    changed, other = branches["then_branch"], branches["else_branch"]
    name = changed.node[0].input[0]
    assert name != "h"
    assert changed.sparse_initializer[0].values.name == name
    assert changed.quantization_annotation[0].tensor_name == name
    # This branch defines no "h", so it means that of the main graph.
    assert other.output[0].name == "h"


def test_linear_in_the_number_of_bodies() -> None:
    def many(count: int) -> onnx.ModelProto:
        half = branch([node("Neg", ["x"], ["t"])], "t")
        nodes = [
            node("If", ["c"], [f"y{i}"], then_branch=half, else_branch=half) for i in range(count)
        ]
        inputs = [value("x", [3]), value("c", [], "bool")]
        return model(nodes, inputs, [value("y0", None)])

    def seconds(proto: onnx.ModelProto) -> float:
        start = time.perf_counter()
        assert_separate(separate_names(proto))
        return time.perf_counter() - start

    few, more = many(500), many(4000)
    seconds(few)
    # Eight times as many; a quadratic walk takes 64 times as long.
    assert seconds(more) < 30 * seconds(few)
