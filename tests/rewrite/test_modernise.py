"""``modernise`` on whole models: bodies, constants, inputs, names."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.rewrite.graph import copy_model, local_names, opset, true_inputs
from lsa_onnx.rewrite.modernise import modernise
from tests import graphs
from tests.rewrite.modernised import assert_same, operators

Array = NDArray[Any]

X = graphs.samples(0, 3, 5) - 0.5
INPUT, OUTPUT = graphs.value("x", ["N", 5]), graphs.value("y", None)


def constant(name: str, values: Any, **attributes: Any) -> onnx.NodeProto:
    if values is not None:
        attributes["value"] = numpy_helper.from_array(np.asarray(values))
    made: onnx.NodeProto = graphs.node("Constant", [], [name], **attributes)
    return made


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


def chain(*nodes: onnx.NodeProto, version: int = 11, ir: int = 8) -> onnx.ModelProto:
    return graphs.model(nodes, [INPUT], [OUTPUT], opset=version, ir=ir)


def branch(name: str, *nodes: onnx.NodeProto, element: int = TensorProto.FLOAT) -> Any:
    result = helper.make_tensor_value_info(nodes[-1].output[0], element, None)
    return helper.make_graph(nodes, name, [], [result])


@pytest.mark.parametrize(("version", "ir"), [(7, 3), (9, 4), (13, 7), (17, 8), (18, 8), (21, 10)])
def test_opset_and_ir_version_never_fall(version: int, ir: int) -> None:
    proto = graphs.conv_net(opset=version, ir=ir)
    raised = assert_same(proto, {"x": graphs.samples(0, 2, 3, 5, 7)})
    assert opset(raised) == max(version, 18)
    assert raised.ir_version == max(ir, 8)
    assert [value.name for value in raised.graph.input] == ["x"]
    assert list(raised.graph.input) == true_inputs(proto.graph)
    assert raised.graph.output == proto.graph.output
    assert raised.graph.initializer == proto.graph.initializer


def test_both_names_of_the_default_domain_become_one() -> None:
    proto = chain(graphs.node("Softmax", ["x"], ["y"], domain="ai.onnx"))
    proto.opset_import[0].domain = "ai.onnx"
    raised = assert_same(proto, {"x": X})
    assert [(o.domain, o.version) for o in raised.opset_import] == [("", 18)]
    assert raised.graph.node[0].domain == ""


def test_other_domains_stay() -> None:
    gelu = graphs.node("Gelu", ["h"], ["y"], domain="com.microsoft")
    nodes = [graphs.node("Clip", ["x"], ["h"], min=-0.2), gelu]
    proto = graphs.model(nodes, [INPUT], [OUTPUT], opset=9, imports={"com.microsoft": 1})
    raised = assert_same(proto, {"x": X})
    assert raised.graph.node[1] == gelu
    assert {o.domain: o.version for o in raised.opset_import} == {"": 18, "com.microsoft": 1}


def test_a_model_without_the_default_domain_gets_it() -> None:
    gelu = graphs.node("Gelu", ["x"], ["y"], domain="com.microsoft")
    proto = graphs.model([gelu], [INPUT], [OUTPUT], opset=None, imports={"com.microsoft": 1})
    assert opset(modernise(proto)) == 18


def test_what_onnx_runtime_writes_into_the_default_domain_stays() -> None:
    weights = {"s": graphs.weight(1, 5), "b": graphs.weight(2, 5)}
    node = graphs.node("LayerNormalization", ["x", "s", "b"], ["y"], epsilon=1e-3)
    proto = graphs.model([node], [INPUT], [OUTPUT], weights, opset=11)
    assert operators(assert_same(proto, {"x": X}).graph) == ["LayerNormalization"]


@pytest.mark.parametrize(
    ("attribute", "value", "dtype"),
    [
        ("value_int", 3, np.int64),
        ("value_ints", [3, 4, 5, 6, 7], np.int64),
        ("value_float", 0.1, np.float32),
        ("value_floats", [0.1, 0.2, 0.3, 0.4, 0.5], np.float32),
    ],
)
def test_constants_become_initializers(attribute: str, value: Any, dtype: Any) -> None:
    nodes = [
        constant("c", None, **{attribute: value}),
        graphs.node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        graphs.node("Add", ["x", "f"], ["y"]),
    ]
    raised = assert_same(chain(*nodes, version=13), {"x": X})
    assert operators(raised.graph) == ["Cast", "Add"]
    (tensor,) = raised.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), np.asarray(value, dtype))


def test_constants_that_no_initializer_holds_stay_nodes() -> None:
    words = numpy_helper.from_array(np.array(["a", "b"], object), "words")
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [3]),
        [5],
    )
    nodes = [
        graphs.node("Constant", [], ["w"], value=words),
        graphs.node("Constant", [], ["s"], sparse_value=sparse),
        graphs.node("Add", ["x", "s"], ["y"]),
    ]
    assert operators(modernise(chain(*nodes, version=13)).graph) == ["Constant", "Constant", "Add"]


def test_a_constant_that_is_an_output_is_still_made_by_a_node() -> None:
    proto = chain(graphs.node("Relu", ["x"], ["h"]), constant("y", floats(1, 2)), version=9)
    raised = assert_same(proto, {"x": X})
    assert operators(raised.graph) == ["Relu", "Identity"]
    assert raised.graph.node[1].name == "n_y"


def test_branches_are_raised_and_keep_their_constants() -> None:
    rows = [constant("a", floats(1, 2, 3, 4, 5)), graphs.node("Mul", ["x", "a"], ["m"])]
    then = branch("then", *rows, graphs.node("ReduceMax", ["m"], ["t"], axes=[1], keepdims=0))
    # The same names in the other branch, with other values.
    rows = [constant("a", floats(5, 4, 3, 2, 1)), graphs.node("Mul", ["x", "a"], ["m"])]
    other = branch("else", *rows, graphs.node("ReduceMax", ["m"], ["t"], axes=[1], keepdims=0))
    choice = graphs.node("If", ["p"], ["y"], then_branch=then, else_branch=other)
    inputs = [INPUT, graphs.value("p", [], "bool")]
    proto = graphs.model([choice], inputs, [OUTPUT], opset=11)
    assert_same(proto, {"x": X, "p": np.array(False)})
    raised = assert_same(proto, {"x": X, "p": np.array(True)})
    bodies = [a.g for a in raised.graph.node[0].attribute]
    assert [[t.name for t in body.initializer] for body in bodies] == [["a"], ["a"]]
    assert len(raised.graph.initializer) == 1


def test_a_branch_that_returns_a_constant() -> None:
    then, other = (
        branch("t", constant("a", floats(1.5))),
        branch("e", constant("b", floats(2.5))),
    )
    choice = graphs.node("If", ["p"], ["y"], then_branch=then, else_branch=other)
    proto = graphs.model([choice], [graphs.value("p", [], "bool")], [OUTPUT], opset=11)
    for flag in (True, False):
        assert_same(proto, {"p": np.array(flag)})


@pytest.mark.parametrize("version", [7, 11, 13, 16])
def test_a_loop_inside_a_branch_is_raised(version: int) -> None:
    if version < 13:
        reduce = graphs.node("ReduceSum", ["s"], ["r"], axes=[1])
        squash = graphs.node("Softmax", ["s"], ["q"], axis=1)
    else:
        reduce = graphs.node("ReduceMean", ["s"], ["r"], axes=[1])
        squash = graphs.node("Softmax", ["s"], ["q"], axis=0)
    body = helper.make_graph(
        [
            squash,
            reduce,
            constant("half", floats(0.5)),
            graphs.node("Mul", ["r", "half"], ["h"]),
            graphs.node("Add", ["q", "h"], ["z"]),
            graphs.node("Identity", ["g"], ["o"]),
        ],
        "body",
        [graphs.value("i", [], "int64"), graphs.value("g", [], "bool"), graphs.value("s", None)],
        [graphs.value("o", [], "bool"), graphs.value("z", None), graphs.value("q", None)],
    )
    loop = graphs.node("Loop", ["n", "", "x"], ["last", "all"], body=body)
    then = branch("then", loop, graphs.node("ReduceMax", ["all"], ["t"], axes=[0, 2], keepdims=0))
    other = branch("else", graphs.node("ReduceMin", ["x"], ["e"], axes=[1], keepdims=0))
    choice = graphs.node("If", ["p"], ["y"], then_branch=then, else_branch=other)
    inputs = [INPUT, graphs.value("p", [], "bool")]
    proto = graphs.model([choice], inputs, [OUTPUT], {"n": np.array(3)}, opset=version)
    for flag in (True, False):
        assert_same(proto, {"x": X, "p": np.array(flag)}, rel=2e-6)


@pytest.mark.parametrize("version", [9, 11, 16])
def test_a_scan_is_raised(version: int) -> None:
    body = helper.make_graph(
        [
            graphs.node("Add", ["s", "r"], ["t"]),
            graphs.node("Clip", ["t"], ["u"], **({"max": 0.5} if version < 11 else {})),
            graphs.node("ReduceMean", ["u"], ["m"], axes=[0], keepdims=0),
        ],
        "body",
        [graphs.value("s", [5]), graphs.value("r", [5])],
        [graphs.value("u", [5]), graphs.value("m", [])],
    )
    scan = graphs.node("Scan", ["start", "x"], ["last", "y"], body=body, num_scan_inputs=1)
    weights = {"start": np.zeros(5, np.float32)}
    assert_same(graphs.model([scan], [INPUT], [OUTPUT], weights, opset=version), {"x": X})


def test_local_functions_are_inlined_and_raised() -> None:
    function = helper.make_function(
        "own",
        "Rows",
        ["a"],
        ["b"],
        [helper.make_node("ReduceMax", ["a"], ["b"], axes=[1])],
        [helper.make_opsetid("", 13)],
    )
    call = graphs.node("Rows", ["x"], ["y"], domain="own")
    imports = {"own": 1}
    proto = graphs.model([call], [INPUT], [OUTPUT], opset=11, imports=imports, functions=[function])
    raised = assert_same(proto, {"x": X})
    assert operators(raised.graph) == ["ReduceMax"]
    assert not raised.functions


def test_equal_constants_are_shared() -> None:
    nodes = [
        graphs.node("Unsqueeze", ["x"], ["a"], axes=[0]),
        graphs.node("Unsqueeze", ["a"], ["b"], axes=[0]),
        graphs.node("Squeeze", ["b"], ["c"], axes=[0, 1]),
        graphs.node("Clip", ["c"], ["d"], min=-0.1, max=0.2),
        graphs.node("Clip", ["d"], ["y"], min=-0.1),
    ]
    raised = assert_same(chain(*nodes, version=9), {"x": X})
    values = [numpy_helper.to_array(t).tolist() for t in raised.graph.initializer]
    assert values == [[0], [0, 1], pytest.approx(-0.1), pytest.approx(0.2)]


def test_new_names_are_new_and_old_ones_stay() -> None:
    nodes = [
        graphs.node("Softmax", ["x"], ["y__modern_0"], axis=0),
        graphs.node("Softmax", ["y__modern_0"], ["y"], axis=0),
    ]
    raised = assert_same(chain(*nodes), {"x": X}, rel=2e-6)
    made = [node.output[0] for node in raised.graph.node]
    assert len(set(made)) == len(made) == 8
    assert {n.output[0]: n.name for n in raised.graph.node}["y"] == "n_y"
    assert local_names(raised.graph) >= {"y", "y__modern_0", "y__modern1_0"}
    assert len({node.name for node in raised.graph.node}) == 8


def test_weights_outside_the_proto_are_left_alone(tmp_path: Path) -> None:
    weights = {"w": graphs.weight(0, 5, 4), "s": np.array([3.0, 4.0], np.float32)}
    nodes = [graphs.node("MatMul", ["x", "w"], ["h"]), graphs.node("Softmax", ["h"], ["y"], axis=0)]
    proto = graphs.model(nodes, [INPUT], [OUTPUT], weights, opset=9)
    onnx.save_model(
        copy_model(proto), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0
    )
    light = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    raised = modernise(light)
    assert raised.graph.initializer == light.graph.initializer
    assert raised.graph.initializer[0].data_location == TensorProto.EXTERNAL
    got = graphs.run(raised, {"x": X}, tmp_path)["y"]
    assert got == pytest.approx(graphs.run(proto, {"x": X})["y"], rel=2e-6)


def test_time_is_linear_in_nodes() -> None:
    def seconds(count: int) -> float:
        names = ["x", *(f"t{i}" for i in range(count - 1)), "y"]
        pairs = enumerate(pairwise(names))
        nodes = [
            graphs.node("Clip", [a], [b], max=float(i))
            if i % 2
            else graphs.node("Softmax", [a], [b])
            for i, (a, b) in pairs
        ]
        proto = chain(*nodes)
        start = time.perf_counter()
        modernise(proto)
        return time.perf_counter() - start

    assert seconds(8_000) < 10 * min(seconds(2_000) for _ in range(3)) + 0.5
