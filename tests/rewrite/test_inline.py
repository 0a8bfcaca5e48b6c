"""Local functions written out: the same answers, bit for bit, under names that lead back to the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import subgraphs
from lsa_onnx.rewrite.inline import inline_functions
from lsa_onnx.runtime.built_in import built_in_operators
from tests import graphs
from tests.graphs import Array, if_net, model, run, samples, value, weight

X = samples(0, 3, 5) - np.float32(0.5)
make = helper.make_node


def function(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    nodes: Sequence[onnx.NodeProto],
    *,
    domain: str = "own",
    opset: int = 17,
    **options: Any,
) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function(domain, name, inputs, outputs, nodes, imports, **options)


def call(op: str, inputs: Sequence[str], outputs: Sequence[str], /, **attributes: Any) -> Any:
    return make(op, inputs, outputs, domain=attributes.pop("domain", "own"), **attributes)


def small(
    nodes: Sequence[onnx.NodeProto],
    functions: Sequence[onnx.FunctionProto],
    weights: dict[str, Array] | None = None,
    outputs: Sequence[str] = ("y",),
    **options: Any,
) -> onnx.ModelProto:
    """A model of ``x`` of shape (N, 5)."""
    imports = options.pop("imports", {"own": 1})
    declared = [value(name, None) for name in outputs]
    inputs = [value("x", ["N", 5])]
    return model(nodes, inputs, declared, weights, functions=functions, imports=imports, **options)


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from every_node(body)


def assert_same(proto: onnx.ModelProto, x: Array = X) -> onnx.ModelProto:
    """Inline, hold the outputs to those of the model as it is, and return the result."""
    before = proto.SerializeToString()
    inlined = inline_functions(proto, built_in_operators())
    assert proto.SerializeToString() == before
    for optimised in (False, True):
        expected = run(proto, {"x": x}, optimised=optimised)
        found = run(inlined, {"x": x}, optimised=optimised)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    tensors = [name for node in inlined.graph.node for name in node.output if name]
    assert len(tensors) == len(set(tensors))
    nodes = [node.name for node in inlined.graph.node if node.name]
    assert len(nodes) == len(set(nodes))
    return inlined


def dense() -> onnx.FunctionProto:
    """``o = relu(a w)``, where the node that multiplies has a name and the other has none."""
    product = make("MatMul", ["a", "w"], ["h"], name="product")
    return function("Dense", ["a", "w"], ["o"], [product, make("Relu", ["h"], ["o"])])


def test_a_model_without_functions_is_returned_as_it_is() -> None:
    proto = graphs.conv_net()
    assert inline_functions(proto) is proto


def test_tensors_and_nodes_are_named_after_the_call() -> None:
    nodes = [
        call("Dense", ["x", "w"], ["r"], name="first"),
        call("Dense", ["r", "v"], ["y"]),
    ]
    proto = small(nodes, [dense()], {"w": weight(0, 5, 4), "v": weight(1, 4, 3)})
    inlined = assert_same(proto)
    assert [list(node.output) for node in inlined.graph.node] == [
        ["first/h"],
        ["r"],
        ["Dense_1/h"],
        ["y"],
    ]
    assert [node.name for node in inlined.graph.node] == [
        "first/product",
        "first/Relu_1",
        "Dense_1/product",
        "Dense_1/Relu_1",
    ]
    assert not inlined.functions


def test_calls_in_functions_give_paths() -> None:
    inner = [call("Dense", ["i", "m"], ["p"], name="hidden"), make("Neg", ["p"], ["q"])]
    block = function("Block", ["i", "m"], ["q"], inner)
    outer = function("Net", ["j", "k"], ["z"], [call("Block", ["j", "k"], ["z"], name="block")])
    nodes = [call("Net", ["x", "w"], ["y"], name="net")]
    inlined = assert_same(small(nodes, [outer, dense(), block], {"w": weight(0, 5, 4)}))
    assert [node.name for node in inlined.graph.node] == [
        "net/block/hidden/product",
        "net/block/hidden/Relu_1",
        "net/block/Neg_1",
    ]
    assert [node.output[0] for node in inlined.graph.node] == [
        "net/block/hidden/h",
        "net/block/p",
        "y",
    ]


def test_names_that_are_taken_get_a_number() -> None:
    nodes = [
        make("Abs", ["x"], ["first/h"], name="first/product"),
        call("Dense", ["first/h", "w"], ["y"], name="first"),
    ]
    inlined = assert_same(small(nodes, [dense()], {"w": weight(0, 5, 4)}))
    assert [node.output[0] for node in inlined.graph.node] == ["first/h", "first/h_1", "y"]
    assert [node.name for node in inlined.graph.node][:2] == ["first/product", "first/product_1"]


def test_names_of_the_caller_are_not_captured() -> None:
    """The function calls its own tensors ``x`` and ``y``, as the model does its input and output."""
    inner = [make("Neg", ["s"], ["x"]), make("Sub", ["x", "t"], ["y"])]
    swapped = function("Swap", ["s", "t"], ["y"], inner)
    nodes = [make("Abs", ["x"], ["h"]), call("Swap", ["h", "x"], ["y"], name="c")]
    inlined = assert_same(small(nodes, [swapped]))
    np.testing.assert_array_equal(run(inlined, {"x": X})["y"], -np.abs(X) - X)


@pytest.mark.parametrize(
    ("given", "default", "slope"),
    [(None, None, 0.01), (0.5, None, 0.5), (None, 0.25, 0.25), (0.5, 0.25, 0.5)],
)
def test_attributes_come_from_the_call_or_the_function_or_the_operator(
    given: float | None, default: float | None, slope: float
) -> None:
    leaky = make("LeakyRelu", ["a"], ["o"])
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    held: dict[str, Any] = {"attributes": ["slope"]} if default is None else {}
    if default is not None:
        held["attribute_protos"] = [helper.make_attribute("slope", default)]
    inner = call("Leaky", ["b"], ["p"])
    inner.attribute.add(name="slope", ref_attr_name="outer", type=onnx.AttributeProto.FLOAT)
    functions = [
        function("Leaky", ["a"], ["o"], [leaky], **held),
        function("Net", ["b"], ["p"], [inner], attributes=["outer"]),
    ]
    attributes = {} if given is None else {"outer": given}
    inlined = assert_same(small([call("Net", ["x"], ["y"], **attributes)], functions))
    expected = np.where(X > 0, X, np.float32(slope) * X)
    np.testing.assert_allclose(run(inlined, {"x": X})["y"], expected, rtol=1e-6)


def test_references_inside_bodies_are_filled() -> None:
    """A function with an ``If`` whose branches use an attribute of the function and its input."""
    branches = {}
    for side, op in (("then_branch", "LeakyRelu"), ("else_branch", "Elu")):
        node = make(op, ["a"], ["t"])
        node.attribute.add(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
        branches[side] = helper.make_graph([node], side, [], [value("t", None)])
    nodes = [
        make("ReduceSum", ["a"], ["sum"], keepdims=0),
        make("Greater", ["sum", "zero"], ["positive"]),
        make("If", ["positive"], ["o"], **branches),
    ]
    choice = function("Choice", ["a", "zero"], ["o"], nodes, attributes=["alpha"])
    calls = [
        call("Choice", ["x", "zero"], ["h"], name="one", alpha=0.5),
        call("Choice", ["h", "zero"], ["y"], name="two", alpha=0.25),
    ]
    proto = small(calls, [choice], {"zero": np.asarray(0, np.float32)})
    assert_same(proto, np.abs(X))
    inlined = assert_same(proto, -np.abs(X))
    bodies = [body for node in inlined.graph.node for body in subgraphs(node)]
    assert [body.node[0].output[0] for body in bodies] == ["one/t", "one/t_1", "two/t", "two/t_1"]
    assert [body.node[0].attribute[0].f for body in bodies] == [0.5, 0.5, 0.25, 0.25]


def test_a_body_may_hide_an_input_of_the_function() -> None:
    """The state of the loop has the name of the function's input, which the model calls ``x``."""
    body = helper.make_graph(
        [make("Neg", ["a"], ["next"]), make("Identity", ["go"], ["on"])],
        "body",
        [value("i", [], "int64"), value("go", [], "bool"), value("a", None)],
        [value("on", [], "bool"), value("next", None)],
    )
    loop = make("Loop", ["rounds", "", "a"], ["o"], body=body)
    turns = function("Turns", ["a", "rounds"], ["o"], [loop])
    nodes = [call("Turns", ["x", "rounds"], ["y"], name="turns")]
    proto = small(nodes, [turns], {"rounds": np.asarray(3, np.int64)})
    inlined = inline_functions(proto)
    np.testing.assert_array_equal(run(inlined, {"x": X})["y"], -X)
    inner = next(subgraphs(inlined.graph.node[0]))
    assert [v.name for v in inner.input] == ["turns/i", "turns/go", "turns/a"]
    assert [node.name for node in inner.node] == ["turns/Neg_0", "turns/Identity_1"]


def test_calls_inside_bodies_are_seen() -> None:
    proto = if_net()
    for body in subgraphs(proto.graph.node[3]):
        old = body.node[0]
        body.node[0].CopyFrom(call("Twice", ["h"], [old.output[0]], name=old.name))
    twice = function("Twice", ["a"], ["o"], [make("Neg", ["a"], ["t"]), make("Neg", ["t"], ["o"])])
    proto.functions.append(twice)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    inlined = assert_same(proto)
    bodies = list(subgraphs(inlined.graph.node[3]))
    assert [body.node[0].output[0] for body in bodies] == ["n_Abs/t", "n_Neg/t"]


def test_optional_inputs_and_outputs_may_be_left_out() -> None:
    clip = function(
        "Clip",
        ["a", "low", "high"],
        ["o", "negative"],
        [make("Clip", ["a", "low", "high"], ["o"]), make("Neg", ["o"], ["negative"])],
    )
    nodes = [
        call("Clip", ["x", "", "k"], ["high", ""], name="upper"),
        call("Clip", ["x", "k"], ["", "y"], name="lower"),
        make("Neg", ["high"], ["z"]),
    ]
    proto = small(nodes, [clip], {"k": np.asarray(0.1, np.float32)}, ["y", "z"])
    inlined = assert_same(proto)
    found = run(inlined, {"x": X})
    np.testing.assert_array_equal(found["z"], -np.minimum(X, np.float32(0.1)))
    np.testing.assert_array_equal(found["y"], -np.maximum(X, np.float32(0.1)))
    assert [node.output[0] for node in inlined.graph.node][1] == "upper/negative"


def test_an_output_may_be_an_input_or_stand_twice() -> None:
    """ONNX Runtime refuses such functions; what they mean is clear."""
    odd = function("Odd", ["a"], ["a", "o", "o"], [make("Neg", ["a"], ["o"])])
    inlined = inline_functions(small([call("Odd", ["x"], ["y", "z", "u"])], [odd]))
    for name in ("z", "u"):
        inlined.graph.output.append(value(name, None))
    found = run(inlined, {"x": X})
    for name, expected in (("y", X), ("z", -X), ("u", -X)):
        np.testing.assert_array_equal(found[name], expected)


def test_overloads_are_told_apart() -> None:
    plain, other = (function("F", ["a"], ["o"], [make(op, ["a"], ["o"])]) for op in ("Neg", "Abs"))
    other.overload = "abs"
    nodes = [call("F", ["x"], ["h"]), call("F", ["h"], ["y"])]
    nodes[1].overload = "abs"
    inlined = assert_same(small(nodes, [plain, other], ir=10))
    assert [node.op_type for node in inlined.graph.node] == ["Neg", "Abs"]


@pytest.mark.parametrize(("written", "read"), [(11, 17), (17, 11)])
def test_functions_are_read_at_the_version_of_the_model(written: int, read: int) -> None:
    """As ONNX Runtime does: Softmax from opset 13 works along one axis, before that on all from it on."""
    rows = function("Rows", ["a"], ["o"], [make("Softmax", ["a"], ["o"], axis=1)], opset=written)
    nodes = [call("Rows", ["x"], ["y"])]
    inputs, x = [value("x", ["N", 3, 2])], samples(1, 2, 3, 2)
    proto = model(
        nodes, inputs, [value("y", None)], functions=[rows], imports={"own": 1}, opset=read
    )
    inlined = assert_same(proto, x)
    total = run(inlined, {"x": x})["y"].sum(axis=1 if read >= 13 else (1, 2))
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_domains_of_functions_are_imported() -> None:
    gelu = function("G", ["a"], ["o"], [make("Gelu", ["a"], ["o"], domain="com.microsoft")])
    gelu.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    inlined = assert_same(small([call("G", ["x"], ["y"])], [gelu]))
    assert {o.domain: o.version for o in inlined.opset_import}["com.microsoft"] == 1


@pytest.mark.parametrize(
    ("domain", "name"), [("", "Relu"), ("ai.onnx", "Relu"), ("com.microsoft", "Gelu")]
)
def test_operators_of_the_runtime_come_before_functions_of_their_name(
    domain: str, name: str
) -> None:
    negated = function(name, ["a"], ["o"], [make("Neg", ["a"], ["o"])], domain=domain)
    imports = {"own": 1, "com.microsoft": 1}
    proto = small([call(name, ["x"], ["y"], domain=domain)], [negated], imports=imports)
    inlined = assert_same(proto)
    assert [node.op_type for node in inlined.graph.node] == [name]
    # Gradients may need what the operator means.
    assert [each.name for each in inlined.functions] == [name]


def test_functions_that_are_not_called_are_dropped() -> None:
    broken = function("Broken", ["a"], ["o"], [make("Nonsense", ["a"], ["o"])])
    inlined = assert_same(small([make("Neg", ["x"], ["y"])], [broken]))
    assert not inlined.functions


def test_metadata_of_call_and_node_are_kept() -> None:
    body = dense()
    body.node[0].metadata_props.add(key="scope", value="inner")
    nodes = [call("Dense", ["x", "w"], ["y"], name="d")]
    nodes[0].metadata_props.add(key="scope", value="outer")
    nodes[0].metadata_props.add(key="trace", value="line 7")
    inlined = assert_same(small(nodes, [body], {"w": weight(0, 5, 4)}))
    held = [{e.key: e.value for e in node.metadata_props} for node in inlined.graph.node]
    assert held == [
        {"scope": "inner", "trace": "line 7"},
        {"scope": "outer", "trace": "line 7"},
    ]


def test_a_function_that_calls_itself_is_named() -> None:
    ping = function("Ping", ["a"], ["o"], [call("Pong", ["a"], ["o"])])
    pong = function("Pong", ["a"], ["o"], [call("Ping", ["a"], ["o"])])
    with pytest.raises(ModelError, match="the local function 'own::Ping' calls itself"):
        inline_functions(small([call("Ping", ["x"], ["y"])], [ping, pong]))


def doubling(levels: int) -> list[onnx.FunctionProto]:
    """Function ``i`` calls function ``i + 1`` twice."""
    functions = [
        function(
            f"F{i}",
            ["a"],
            ["o"],
            [call(f"F{i + 1}", ["a"], ["t"]), call(f"F{i + 1}", ["t"], ["o"])],
        )
        for i in range(levels)
    ]
    return [*functions, function(f"F{levels}", ["a"], ["o"], [make("Neg", ["a"], ["o"])])]


def test_functions_that_would_fill_the_memory_are_refused() -> None:
    assert len(inline_functions(small([call("F0", ["x"], ["y"])], doubling(5))).graph.node) == 32
    with pytest.raises(ModelError, match="the model has 1,099,511,627,776 nodes when its local"):
        inline_functions(small([call("F0", ["x"], ["y"])], doubling(40)))


@pytest.mark.parametrize("backwards", [False, True])
def test_calls_that_are_nested_too_deep_are_refused(backwards: bool) -> None:
    """In whatever order the functions are met."""
    functions = [
        function(f"F{i}", ["a"], ["o"], [call(f"F{i + 1}", ["a"], ["o"])]) for i in range(70)
    ]
    functions.append(function("F70", ["a"], ["o"], [make("Neg", ["a"], ["o"])]))
    order = range(71)[::-1] if backwards else range(71)
    nodes = [call(f"F{i}", ["x"], [f"y{i}"]) for i in order]
    with pytest.raises(ModelError, match="is nested in more than 64 calls"):
        inline_functions(small(nodes, functions, outputs=["y0"]))
    kept = [node for node in nodes if int(node.op_type[1:]) > 6]
    assert len(inline_functions(small(kept, functions, outputs=["y70"])).graph.node) == 64


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_random_programs_mean_the_same(data: st.DataObject) -> None:
    """Functions of two inputs and two outputs that call each other, names drawn from a small pool."""
    pool = ["a", "b", "c", "d", "x", "y"]
    functions = []
    for level in range(data.draw(st.integers(1, 4))):
        names = data.draw(st.permutations(pool))
        known, nodes = list(names[:2]), []
        for made in names[2:]:
            left, right = (data.draw(st.sampled_from(known)) for _ in range(2))
            callee = data.draw(st.integers(-1, level - 1))
            if callee < 0:
                nodes.append(
                    make(data.draw(st.sampled_from(["Sub", "Max"])), [left, right], [made])
                )
            else:
                nodes.append(call(f"F{callee}", [left, right], ["", made]))
            known.append(made)
        functions.append(function(f"F{level}", names[:2], names[-2:], nodes))
    top = call(f"F{len(functions) - 1}", ["x", "k"], ["y", "z"], name="y")
    inlined = assert_same(small([top], functions, {"k": weight(0, 5)}, ["y", "z"]))
    assert {node.op_type for node in every_node(inlined.graph)} <= {"Sub", "Max"}
