"""What ``differentiate`` refuses, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import NotDifferentiable, differentiate, read_rows
from lsa_onnx.rewrite.objectives import Kind, Objective
from tests import graphs
from tests.graphs import model, node, run, samples, value, weight

CE = Objective("ce", (Scored("y"),))


def through(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> onnx.ModelProto:
    """A Gemm "h" of "x", ``nodes`` that make "a" of it, and a Gemm "y"."""
    every = [node("Gemm", ["x", "w"], ["h"]), *nodes, node("Gemm", ["a", "v"], ["y"])]
    constants = {"w": weight(0, 5, 6), "v": weight(1, 6, 3), **weights}
    return model(every, [value("x", ["N", 5])], [value("y", ["N", 3])], constants, opset=18)


@pytest.mark.parametrize("wrt", ["image", "y", "w"])
def test_unknown_inputs_are_named_beside_the_known_ones(wrt: str) -> None:
    with pytest.raises(ModelError, match=f"no input '{wrt}'; its inputs are 'x'$"):
        differentiate(graphs.conv_net(8, ir=3), CE, [wrt])


@pytest.mark.parametrize("kind", ["ce", "kl", "layer"])
@pytest.mark.parametrize("tensor", ["logits", "inner_Neg", "x"])
def test_unknown_tensors(kind: Kind, tensor: str) -> None:
    with pytest.raises(ModelError, match=f"no tensor '{tensor}' to aim at"):
        differentiate(graphs.if_net(), Objective(kind, (Scored(tensor),)), ["x"])
    with pytest.raises(ModelError, match=f"no tensor '{tensor}' to aim at"):
        read_rows(graphs.if_net(), [Scored(tensor)])


def test_all_nodes_without_a_rule_are_listed_at_once() -> None:
    unknown = [
        node("First", ["h"], ["a1"], domain="test", name="one"),
        node("Second", ["a1"], ["a2"], domain="test", name="two"),
        node("Relu", ["a2"], ["a3"]),
        node("First", ["a3"], ["a"], domain="test", name=""),
        node("Aside", ["h"], ["unused"], domain="test", name="no part of it"),
    ]
    proto = through(unknown)
    proto.opset_import.add(domain="test", version=1)
    with pytest.raises(NotDifferentiable) as caught:
        differentiate(proto, CE, ["x"])
    assert [missing.node.output[0] for missing in caught.value.nodes] == ["a1", "a2", "a"]
    assert str(caught.value) == (
        "3 nodes have no gradient: First 'one' (it has no adjoint rule), Second 'two' (it has no "
        "adjoint rule), First 'a' (it has no adjoint rule); black-box attacks and noise need none: "
        "use --attack square"
    )


def test_long_lists_are_cut_but_kept() -> None:
    names = ["h", *(f"t{index}" for index in range(10)), "a"]
    nodes = [node("Odd", [names[i]], [names[i + 1]], domain="test") for i in range(11)]
    proto = through(nodes)
    proto.opset_import.add(domain="test", version=1)
    with pytest.raises(NotDifferentiable, match=r"^11 nodes have .* and 3 more; ") as caught:
        differentiate(proto, CE, ["x"])
    assert len(caught.value.nodes) == 11


def test_reasons_of_rules_that_refuse_stand_beside_missing_ones() -> None:
    training = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    nodes = [
        node("Dropout", ["h", "ratio", "training"], ["d"], name="drop"),
        node("Odd", ["d"], ["a"], domain="test", name="odd"),
    ]
    proto = through(nodes, **training)
    proto.opset_import.add(domain="test", version=1)
    with pytest.raises(NotDifferentiable, match=r"Dropout 'drop' .*training.*, Odd 'odd'"):
        differentiate(proto, CE, ["x"])


def test_nodes_inside_bodies_are_listed_too() -> None:
    proto = graphs.if_net()
    proto.opset_import.add(domain="test", version=1)
    for attribute in proto.graph.node[3].attribute:
        attribute.g.node[0].domain = "test"
    with pytest.raises(NotDifferentiable) as caught:
        differentiate(proto, CE, ["x"])
    assert [missing.node.op_type for missing in caught.value.nodes] == ["Neg", "Abs"]
    assert "2 nodes have no gradient: Neg 'n_Neg' (it has no adjoint rule)" in str(caught.value)


ENDS = {
    "ArgMax": [
        node("ArgMax", ["h"], ["top"], axis=1, name="end"),
        node("Cast", ["top"], ["a"], to=TensorProto.FLOAT),
    ],
    "Round": [node("Round", ["h"], ["a"], name="end")],
    "Cast": [
        node("Cast", ["h"], ["whole"], to=TensorProto.INT32, name="end"),
        node("Cast", ["whole"], ["a"], to=TensorProto.FLOAT),
    ],
    "Sign": [node("Sign", ["h"], ["a"], name="end")],
    "Shape": [
        node("Shape", ["h"], ["size"], name="end"),
        node("ConstantOfShape", ["size"], ["a"]),
    ],
}


@pytest.mark.parametrize("kind", ENDS)
def test_where_paths_end_is_said(kind: str) -> None:
    proto = through(ENDS[kind])
    if kind == "ArgMax":
        proto.graph.initializer[1].CopyFrom(
            onnx.numpy_helper.from_array(weight(1, 1, 3), "v"),
        )
    with pytest.raises(
        NotDifferentiable, match=f"to input 'x': every one ends at {kind} 'end'; use"
    ):
        differentiate(proto, CE, ["x"])


def test_an_input_that_nothing_reads_has_no_path() -> None:
    proto = graphs.two_input_net()
    objective = Objective("output", (Scored("ra"),))
    with pytest.raises(NotDifferentiable, match="to input 'b': every one ends at a constant"):
        differentiate(proto, objective, ["a", "b"])
    assert set(differentiate(proto, objective, ["a"]).gradients) == {"a"}


@pytest.mark.parametrize(
    ("kind", "step"),
    [("Round", np.round), ("Sign", np.sign), ("Floor", np.floor), ("Ceil", np.ceil)],
)
def test_straight_through_opens_paths(kind: str, step: Any) -> None:
    proto, x = through([node(kind, ["h"], ["a"])]), samples(0, 4, 5)
    made = differentiate(proto, CE, ["x"], straight_through=True)
    # The same as if the node were not there, at what comes out of it.
    identity = through([node("Sub", ["h", "off"], ["a"])], off=np.zeros((4, 6), np.float32))
    stepped = run(proto, {"x": x})
    h = x @ weight(0, 5, 6)
    identity.graph.initializer[2].CopyFrom(
        onnx.numpy_helper.from_array((h - step(h)).astype(np.float32), "off")
    )
    plain = differentiate(identity, CE, ["x"])
    labels = np.array([0, 1, 2, 0])
    found, wanted = (
        run(m.model, {"x": x, m.goals["labels"]: labels})[m.gradients["x"]] for m in (made, plain)
    )
    np.testing.assert_allclose(run(identity, {"x": x})["y"], stepped["y"], atol=1e-5)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
