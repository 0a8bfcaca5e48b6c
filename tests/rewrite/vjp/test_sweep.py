"""The reverse sweep: where adjoints flow, what they sum to, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto

from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import MissingRules, Names, Tape, active_tensors, sweep
from lsa_onnx.rewrite.vjp.registry import Op, find_rule, ruled_operators
from lsa_onnx.rewrite.vjp.sweep import STEPS, ZERO_GRADIENT, chosen_tensors, needed_tensors
from tests import graphs
from tests.graphs import Array, model, node, run, value
from tests.rewrite.gradients import pulled_back

if TYPE_CHECKING:
    import onnx


def chained(nodes: Sequence[onnx.NodeProto], **weights: Array) -> onnx.ModelProto:
    """A model of "x", shape (n, 3), whose last node makes "y"."""
    return model(nodes, [value("x", ["N", 3])], [value("y", None)], weights, opset=18)


def active(proto: onnx.ModelProto, *, straight_through: bool = False) -> set[str]:
    known = KnownShapes(proto)
    return active_tensors(proto.graph.node, ["x"], known, straight_through=straight_through)


def gradient(proto: onnx.ModelProto, x: Array, seed: Array) -> Array:
    pulled, gradients, seeds = pulled_back(proto, ["x"])
    return np.asarray(run(pulled, {"x": x, seeds["y"]: seed})[gradients["x"]])


# Where changes pass


def test_discrete_results_end_the_way() -> None:
    nodes = [
        node("Greater", ["x", "zero"], ["positive"]),
        node("Cast", ["positive"], ["mask"], to=TensorProto.FLOAT),
        node("Shape", ["x"], ["size"]),
        node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        node("TopK", ["x", "two"], ["best", "places"]),
        node("Gather", ["best", "places"], ["chosen"]),
        node("Mul", ["mask", "x"], ["y"]),
    ]
    proto = chained(nodes, zero=np.zeros(1, np.float32), two=np.array([2]))
    # The mask and the places are no function of x that has a slope; what they select is.
    assert active(proto) == {"x", "best", "chosen", "y"}


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_steps_are_passed_when_asked_to(kind: str) -> None:
    proto = chained([node(kind, ["x"], ["s"]), node("Neg", ["s"], ["y"])])
    assert active(proto) == {"x"}
    assert active(proto, straight_through=True) == {"x", "s", "y"}


def test_quantised_numbers_carry_but_indices_do_not() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("Transpose", ["q"], ["t"]),
        node("DequantizeLinear", ["t", "scale", "zero"], ["d"]),
        node("DynamicQuantizeLinear", ["x"], ["dq", "ds", "dz"]),
        node("ArgMax", ["x"], ["best"], axis=0),
        node("Gather", ["table", "best"], ["row"]),
        node("Cast", ["row"], ["a"], to=TensorProto.FLOAT),
        node("Add", ["a", "d"], ["y"]),
    ]
    constants: dict[str, Array] = {
        "scale": np.array(0.1, np.float32),
        "zero": np.array(0, np.uint8),
    }
    found = active(chained(nodes, table=np.arange(9), **constants))
    # The scale counts as a constant; a table that is read at a moving place is none of x.
    assert found == {"x", "q", "t", "d", "dq", "y"}


def counted(last: onnx.NodeProto) -> onnx.ModelProto:
    """What integer products are expanded to, with another node in place of their cast to int32."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("Cast", ["q"], ["wide"], to=TensorProto.FLOAT),
        node("Cast", ["zero"], ["point"], to=TensorProto.FLOAT),
        node("Sub", ["wide", "point"], ["shifted"]),
        node("MatMul", ["shifted", "w"], ["product"]),
        last,
        node("Cast", ["whole"], ["back"], to=TensorProto.FLOAT),
        node("Mul", ["back", "scale"], ["y"]),
    ]
    return chained(nodes, w=np.array([[1, -2], [3, 0], [-1, 4]], np.float32))


def test_casts_of_whole_numbers_are_exact() -> None:
    proto = counted(node("Cast", ["product"], ["whole"], to=TensorProto.INT32))
    assert active(proto) >= {"q", "shifted", "product", "whole", "back", "y"}
    x, seed = np.array([[1, -1, 0.5]], np.float32), np.array([[1, 2]], np.float32)
    # (x / scale) · w · scale.
    found = gradient(proto, x, seed)
    np.testing.assert_allclose(found, seed @ np.array([[1, 3, -1], [-2, 0, 4]]), rtol=1e-6)


def test_casts_of_scaled_numbers_are_not() -> None:
    proto = counted(node("Mul", ["product", "scale"], ["real"]))
    proto.graph.node.insert(6, node("Cast", ["real"], ["whole"], to=TensorProto.INT32))
    found = active(proto)
    assert "real" in found
    assert not found & {"whole", "back", "y"}


def test_detached_tensors_are_constants() -> None:
    proto = chained([node("Exp", ["x"], ["e"]), node("Mul", ["x", "e"], ["y"])])
    nodes, known = list(proto.graph.node), KnownShapes(proto)
    assert "e" not in active_tensors(nodes, ["x"], known, {"e"}, straight_through=False)
    names = Names("__t")
    tape = Tape(known, names, {}, opset=18)
    found = sweep(tape, nodes, {"y": "e"}, ["x"], {"e"})
    # Of x · e, with e as a constant: one product with e.
    assert [n.op_type for n in tape.nodes] == ["Mul"]
    assert found == {"x": tape.nodes[0].output[0]}


def test_only_what_leads_to_a_seed_is_needed() -> None:
    proto = graphs.two_input_net()
    nodes = list(proto.graph.node)
    every = {"a", "ha", "ra", "both", "y"}
    assert needed_tensors(nodes, every, ["y"]) == every
    assert needed_tensors(nodes, every, ["ra"]) == {"a", "ha", "ra"}
    assert needed_tensors(nodes, every, ["rb"]) == set()


def test_copies_of_what_a_choice_leaves_out() -> None:
    nodes = [
        node("Exp", ["x"], ["e"]),
        node("Cast", ["e"], ["c"], to=TensorProto.FLOAT),
        node("Where", ["flag", "c", "x"], ["y"]),
    ]
    assert chosen_tensors(nodes) == {"e", "c", "x"}


# Sums


def test_a_tensor_read_several_times() -> None:
    nodes = [
        node("Mul", ["x", "x"], ["square"]),
        node("Add", ["square", "x"], ["more"]),
        node("Sub", ["more", "square"], ["less"]),
        node("Mul", ["less", "square"], ["y"]),
    ]
    x, seed = np.array([[1, -2, 3]], np.float32), np.array([[1, 2, -1]], np.float32)
    # (x² + x − x²) · x² = x³.
    np.testing.assert_allclose(gradient(chained(nodes), x, seed), 3 * x**2 * seed)


def test_a_seed_inside_and_one_at_the_end() -> None:
    proto = chained([node("Mul", ["x", "x"], ["h"]), node("Neg", ["h"], ["y"])])
    proto.graph.output.append(value("h", ["N", 3]))
    pulled, gradients, seeds = pulled_back(proto, ["x"])
    x = np.array([[1, 2, 3]], np.float32)
    feeds = {"x": x, seeds["y"]: np.ones_like(x), seeds["h"]: np.full_like(x, 5)}
    np.testing.assert_allclose(run(pulled, feeds)[gradients["x"]], (5 - 1) * 2 * x)


def test_an_inner_tensor_as_a_source() -> None:
    proto = graphs.residual_net()
    nodes = list(proto.graph.node)
    tape = Tape(KnownShapes(proto), Names("__t"), {}, opset=18)
    found = sweep(tape, nodes, {"sum": "c2"}, ["r0", "x"])
    assert set(found) == {"r0", "x"}
    assert found["r0"] != found["x"]


def test_sources_that_nothing_depends_on_are_left_out() -> None:
    proto = graphs.two_input_net()
    tape = Tape(KnownShapes(proto), Names("__t"), {}, opset=18)
    found = sweep(tape, list(proto.graph.node), {"ra": "seed"}, ["a", "b"])
    assert set(found) == {"a"}


def test_inputs_that_are_left_out_do_no_harm() -> None:
    nodes = [
        node("TopK", ["x", "two"], ["best", "places"]),
        node("Clip", ["best", "", "high"], ["y"]),
    ]
    proto = chained(nodes, two=np.array([2]), high=np.array(10, np.float32))
    x = np.array([[1, 3, 2], [9, 7, 8]], np.float32)
    seed = np.array([[1, 2], [3, 4]], np.float32)
    assert gradient(proto, x, seed).tolist() == [[0, 1, 2], [3, 0, 4]]


# What is missing


def test_what_is_missing_is_found_in_one_go_and_in_order() -> None:
    training = {"ratio": np.array(0.5, np.float32), "on": np.array(True)}
    nodes = [
        node("Odd", ["x"], ["first"], domain="test"),
        node("Dropout", ["first", "ratio", "on"], ["second"]),
        node("Relu", ["second"], ["third"]),
        node("Odd", ["third"], ["side"], domain="test"),
        node("Odd", ["third"], ["fourth"], domain="test"),
        node("Add", ["fourth", "third"], ["y"]),
    ]
    proto = chained(nodes, **training)
    proto.opset_import.add(domain="test", version=1)
    with pytest.raises(MissingRules, match="3 nodes without an adjoint") as caught:
        pulled_back(proto, ["x"])
    # "side" leads nowhere.
    assert [m.node.output[0] for m in caught.value.nodes] == ["first", "second", "fourth"]
    reasons = [m.reason for m in caught.value.nodes]
    assert reasons[0] == reasons[2] == "it has no adjoint rule"
    assert "training" in reasons[1]


# The table


def test_operators_without_a_slope_have_no_rule() -> None:
    assert not ZERO_GRADIENT & set(ruled_operators())
    assert set(ruled_operators()) >= STEPS


def test_rules_are_found_by_domain_and_type() -> None:
    relu = node("Relu", ["x"], ["y"])
    assert find_rule(relu, 18) is not None
    relu.domain = "ai.onnx"
    assert find_rule(relu, 18) is find_rule(node("Relu", ["a"], ["b"]), 22)
    relu.domain = "com.microsoft"
    assert find_rule(relu, 18) is None


def test_nodes_as_rules_read_them() -> None:
    op = Op(node("Clip", ["x", "", "high"], ["y"], text="abc", number=2, numbers=[1, 2]))
    assert (op.type, op.x, op.y) == ("Clip", "x", "y")
    assert (op.inputs, op.outputs) == (["x", "", "high"], ["y"])
    assert [op.input(i) for i in range(4)] == ["x", None, "high", None]
    assert [op.output(i) for i in range(2)] == ["y", None]
    assert op.attribute("text") == "abc"
    assert op.attribute("number") == 2
    assert op.attribute("numbers") == [1, 2]
    assert op.attribute("nothing", 7) == 7
