"""``expand``: what is replaced, what stays, and under which names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lsa_onnx.rewrite.expand import expand
from lsa_onnx.rewrite.graph import subgraphs
from tests import graphs
from tests.graphs import node, samples, value, weight
from tests.rewrite.expansion import MICROSOFT, one_node, operators

PRIMITIVES = frozenset({"Add", "Exp", "Log", "Max", "Mul", "Neg", "Sub", "Tanh"})


def nothing(_: onnx.NodeProto) -> bool:
    return False


def only(*kinds: str) -> Callable[[onnx.NodeProto], bool]:
    return lambda n: n.op_type in kinds


def pair() -> onnx.ModelProto:
    """Mish, then Softplus."""
    nodes = [node("Mish", ["x"], ["m"]), node("Softplus", ["m"], ["y"])]
    return graphs.model(nodes, [value("x", ["N", 3])], [value("y", ["N", 3])], opset=18)


def test_what_is_to_be_kept_stays() -> None:
    changed = expand(pair(), only("Softplus", *PRIMITIVES))
    assert [n.op_type for n in changed.graph.node].count("Softplus") == 1
    assert changed.graph.node[-1] == pair().graph.node[-1]
    assert "Mish" not in operators(changed.graph)


def test_everything_kept_is_the_same_model() -> None:
    proto = pair()
    assert expand(proto, lambda n: True) == proto


def test_the_choice_may_depend_on_the_node() -> None:
    changed = expand(pair(), lambda n: n.name == "n_m")
    assert changed.graph.node[0] == pair().graph.node[0]


def test_an_expanded_node_makes_tensors_of_the_same_names() -> None:
    proto = pair()
    proto.graph.output.append(value("m", ["N", 3]))
    changed, x = expand(proto, only(*PRIMITIVES)), samples(0, 4, 3)
    got, wanted = graphs.run(changed, {"x": x}), graphs.run(proto, {"x": x})
    assert list(got) == ["y", "m"]
    for name, array in wanted.items():
        assert got[name] == pytest.approx(array, rel=1e-5)


def test_new_names_contain_the_suffix_and_nothing_else_is_new() -> None:
    changed = expand(pair(), nothing)
    names = {name for n in changed.graph.node for name in (*n.input, *n.output)}
    new = names - {"x", "m", "y"}
    assert new
    assert all("__expand" in name for name in new)
    assert {t.name for t in changed.graph.initializer} <= new


def test_a_model_that_uses_the_suffix_gets_another_one() -> None:
    once = expand(pair(), only("Softplus", *PRIMITIVES))
    twice, x = expand(once, nothing), samples(0, 2, 3)
    assert graphs.run(twice, {"x": x})["y"] == pytest.approx(graphs.run(pair(), {"x": x})["y"])


def test_expansions_are_expanded_until_nothing_is_left() -> None:
    for proto in (pair(), graphs.transformer(), graphs.residual_net()):
        proto.opset_import[0].version = 18
        for n in proto.graph.node:
            if n.op_type == "ReduceMean":
                del n.attribute[:]
        changed = expand(proto, nothing)
        assert expand(changed, nothing) == changed


def test_the_argument_is_not_changed() -> None:
    proto = pair()
    before = proto.SerializeToString()
    expand(proto, nothing)
    assert proto.SerializeToString() == before


def test_an_operator_without_an_expansion_stays() -> None:
    nodes = [node("Foreign", ["x"], ["f"], domain="example"), node("Mish", ["f"], ["y"])]
    x, y = value("x", ["N", 3]), value("y", ["N", 3])
    proto = graphs.model(nodes, [x], [y], opset=18, imports={"example": 1})
    changed = expand(proto, nothing)
    assert changed.graph.node[0] == proto.graph.node[0]
    assert "Mish" not in operators(changed.graph)


def test_external_weights_are_not_read() -> None:
    proto = one_node(
        "LayerNormalization", {"x": weight(0, 2, 3)}, {"scale": weight(1, 3)}, ["x", "scale"]
    )
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="absent.data")
    changed = expand(proto, nothing)
    assert changed.graph.initializer[0] == tensor
    assert "LayerNormalization" not in operators(changed.graph)


def conditional(op: str, opset: int = 18) -> onnx.ModelProto:
    """``op`` of "h" of the outer graph in a branch of an ``If`` in a branch of an ``If``."""
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    deep = helper.make_graph([helper.make_node(op, ["h"], ["inner"])], "deep", [], [result])
    other = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["minus"])],
        "other",
        [],
        [helper.make_tensor_value_info("minus", TensorProto.FLOAT, None)],
    )
    nested = helper.make_node("If", ["up"], ["chosen"], then_branch=deep, else_branch=other)
    chosen = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    middle = helper.make_graph([nested], "middle", [], [chosen])
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("ReduceMax", ["h"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["up"]),
        node("If", ["up"], ["z"], then_branch=middle, else_branch=other),
        node("Identity", ["z"], ["y"]),
    ]
    weights = {"w": weight(0, 5, 4), "zero": np.asarray(0, np.float32)}
    x, y = value("x", ["N", 5]), value("y", ["N", 4])
    return graphs.model(nodes, [x], [y], weights, opset=opset)


@pytest.mark.parametrize("op", ["Mish", "LogSoftmax", "Softmax", "Selu", "LpNormalization"])
def test_bodies_are_expanded_at_any_depth(op: str) -> None:
    proto = conditional(op)
    changed = expand(proto, only("If", "Gemm", "Greater"))
    assert op not in operators(changed.graph)
    assert sum(n.op_type == "If" for n in changed.graph.node) == 1
    for x in (samples(0, 3, 5) + 1, -samples(0, 3, 5) - 1):
        got, wanted = (graphs.run(p, {"x": x})["y"] for p in (changed, proto))
        assert got == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_the_types_of_a_loops_state_are_known_in_its_body() -> None:
    proto = graphs.loop_net()
    proto.opset_import[0].version = 18
    loop = proto.graph.node[1]
    (body,) = subgraphs(loop)
    body.node.append(helper.make_node("Selu", ["next"], ["bent"]))
    body.output[1].name = "bent"
    changed, x = expand(proto, only("Loop")), samples(0, 3, 5)
    assert "Selu" not in operators(changed.graph)
    wanted = graphs.run(proto, {"x": x})["y"]
    assert graphs.run(changed, {"x": x})["y"] == pytest.approx(wanted, rel=1e-5)


def test_function_bodies_with_bodies_of_their_own() -> None:
    """The function of ``AffineGrid`` holds several ``If``, whose branches make names of their own."""
    size = np.array([2, 3, 4, 5])
    nodes = [
        node("AffineGrid", ["a", "size"], ["g"]),
        node("AffineGrid", ["a", "size"], ["k"], align_corners=1),
        node("Sub", ["g", "k"], ["y"]),
    ]
    inputs = [value("a", ["N", 2, 3])]
    proto = graphs.model(nodes, inputs, [value("y", None)], {"size": size}, opset=20)
    changed, a = expand(proto, nothing), weight(0, 2, 2, 3)
    assert not operators(changed.graph) & {"AffineGrid", "Constant"}
    wanted = graphs.run(proto, {"a": a})["y"]
    assert graphs.run(changed, {"a": a})["y"] == pytest.approx(wanted, abs=1e-5)


def own_function(alpha: float | None = None) -> onnx.ModelProto:
    """A function of the model: ``LeakyRelu`` with a slope of its own choice, then BiasGelu."""
    slope = helper.make_node("LeakyRelu", ["a"], ["b"])
    slope.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "example",
        "Bent",
        ["a", "c"],
        ["d"],
        [slope, helper.make_node("BiasGelu", ["b", "c"], ["d"], domain=MICROSOFT)],
        [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)],
        attribute_protos=[helper.make_attribute("slope", 0.25)],
    )
    given = {} if alpha is None else {"slope": alpha}
    nodes = [node("Bent", ["x", "bias"], ["y"], domain="example", **given)]
    return graphs.model(
        nodes,
        [value("x", ["N", 3])],
        [value("y", ["N", 3])],
        {"bias": weight(0, 3)},
        opset=18,
        imports={"example": 1},
        functions=[function],
    )


@pytest.mark.parametrize("alpha", [None, 0.5])
@pytest.mark.parametrize("kept", ["BiasGelu", "Erf"])
def test_the_models_own_functions_are_written_out(alpha: float | None, kept: str) -> None:
    proto, x = own_function(alpha), weight(1, 4, 3) * 2
    changed = expand(proto, only(kept))
    assert kept in operators(changed.graph)
    assert "Bent" not in operators(changed.graph)
    wanted = graphs.run(proto, {"x": x})["y"]
    assert graphs.run(changed, {"x": x})["y"] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_a_function_of_another_dialect_is_left_alone() -> None:
    function = helper.make_function(
        "example",
        "Old",
        ["a"],
        ["b"],
        [helper.make_node("ReduceMean", ["a"], ["b"], axes=[1], keepdims=0)],
        [helper.make_opsetid("", 13)],
    )
    proto = graphs.model(
        [node("Old", ["x"], ["y"], domain="example")],
        [value("x", ["N", 3])],
        [value("y", ["N"])],
        opset=18,
        imports={"example": 1},
        functions=[function],
    )
    assert operators(expand(proto, nothing).graph) == {"Old"}


def test_an_output_that_is_an_input_is_copied() -> None:
    proto = one_node("Dropout", {"x": weight(0, 2, 3)}, {}, ["x"])
    changed = expand(proto, nothing)
    assert [(n.op_type, *n.input, *n.output) for n in changed.graph.node] == [
        ("Identity", "x", "y")
    ]


def test_ranks_are_known_behind_foreign_operators() -> None:
    """ONNX's inference stops at the first one, and the second needs to know what it transposes."""
    nodes = [
        node("FusedMatMul", ["x", "w"], ["m"], domain=MICROSOFT, transB=1),
        node("Relu", ["m"], ["r"]),
        node("FusedMatMul", ["r", "x"], ["y"], domain=MICROSOFT, transA=1),
    ]
    x, y = value("x", ["N", 3, 4]), onnx.ValueInfoProto(name="y")
    weights, imports = {"w": weight(0, 5, 4)}, {MICROSOFT: 1}
    proto = graphs.model(nodes, [x], [y], weights, opset=18, imports=imports)
    changed, feeds = expand(proto, only("Relu")), {"x": weight(1, 2, 3, 4)}
    assert "FusedMatMul" not in operators(changed.graph)
    wanted = graphs.run(proto, feeds)["y"]
    assert graphs.run(changed, feeds)["y"] == pytest.approx(wanted, rel=1e-5)


def test_a_type_that_nothing_tells_is_taken_from_the_data() -> None:
    unknown = helper.make_node("SequenceAt", ["s", "i"], ["f"])
    nodes = [unknown, node("Softplus", ["f"], ["y"])]
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.DOUBLE, None))
    inputs = [helper.make_value_info("s", kind), value("i", [], "int64")]
    proto = graphs.model(nodes, inputs, [onnx.ValueInfoProto(name="y")], opset=18)
    changed = expand(proto, lambda n: n.op_type != "Softplus")
    feeds: dict[str, Any] = {"s": [weight(0, 2, 3, dtype="float64")], "i": np.asarray(0)}
    got, wanted = (graphs.run(p, feeds)["y"] for p in (changed, proto))
    assert got.dtype == np.float64
    assert got == pytest.approx(wanted, rel=1e-12)


def test_thousands_of_nodes_take_seconds() -> None:
    count = 800
    nodes = [node("Mish", [f"a{i}"], [f"a{i + 1}"]) for i in range(count)]
    proto = graphs.model(nodes, [value("a0", ["N", 3])], [value(f"a{count}", ["N", 3])], opset=18)
    started = time.perf_counter()
    changed = expand(proto, only("Softplus", *PRIMITIVES))
    # A quadratic walk over these takes minutes.
    assert time.perf_counter() - started < 10
    assert len(changed.graph.node) == 10 * count
