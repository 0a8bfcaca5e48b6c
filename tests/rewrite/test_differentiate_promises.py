"""What ``differentiate`` refuses and in which words, and what it promises besides right numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

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


# Refusals


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


# Promises


@pytest.mark.parametrize("wrt", [["x"], []])
@pytest.mark.parametrize(
    "proto",
    [graphs.conv_net(8, ir=3), graphs.if_net(), graphs.lstm_net(), graphs.chain(3)],
    ids=["conv", "if", "lstm", "chain"],
)
def test_the_argument_is_not_changed(proto: onnx.ModelProto, wrt: list[str]) -> None:
    before = proto.SerializeToString(deterministic=True)
    differentiate(proto, Objective("output", (Scored("y"),)), wrt)
    read_rows(proto, [Scored("y")])
    assert proto.SerializeToString(deterministic=True) == before


def test_outputs_are_those_that_it_names() -> None:
    proto = graphs.two_input_net()
    proto.graph.output.append(value("ra", ["N", 4]))
    made = differentiate(proto, CE, ["a", "b"])
    assert made.margin is not None
    wanted = [made.loss, made.margin, made.gradients["a"], made.gradients["b"]]
    assert [output.name for output in made.model.graph.output] == wanted
    inputs = [given.name for given in made.model.graph.input]
    assert inputs == ["a", "b", made.goals["labels"]]


def test_what_the_objective_does_not_need_is_not_computed() -> None:
    proto = graphs.residual_net()
    made = differentiate(proto, Objective("layer", (Scored("r1"),)), ["x"])
    assert made.margin is None
    kept = {name for each in made.model.graph.node for name in each.output}
    assert "r1" in kept
    assert not kept & {"c2", "cd", "sum", "pool", "y"}


def test_without_a_gradient_only_the_forward_nodes_are_there() -> None:
    proto = graphs.mnist_cnn(20, 22)
    forward = differentiate(proto, CE, [])
    both = differentiate(proto, CE, ["x"])
    assert forward.gradients == {}
    assert len(forward.model.graph.node) < len(proto.graph.node) + 25 < len(both.model.graph.node)
    feeds = {"x": samples(0, 3, 1, 20, 22)}
    answers = [run(m.model, {**feeds, m.goals["labels"]: np.arange(3)}) for m in (forward, both)]
    np.testing.assert_array_equal(answers[0][forward.loss], answers[1][both.loss])


def test_names_of_the_model_are_not_taken() -> None:
    proto = graphs.conv_net()
    proto.graph.node[1].output[0] = proto.graph.node[2].input[0] = "labels__grad_1"
    made = differentiate(proto, CE, ["x"])
    names = [name for each in made.model.graph.node for name in each.output]
    assert len(set(names)) == len(names)
    found = run(made.model, {"x": samples(0, 2, 3, 5, 7), made.goals["labels"]: np.array([0, 1])})
    assert np.abs(found[made.gradients["x"]]).max() > 0


def test_external_weights_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs.save_external(graphs.residual_net(), tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    plain = differentiate(graphs.residual_net(), CE, ["x"])
    read = onnx.numpy_helper.to_array

    def only_inner(tensor: onnx.TensorProto, base_dir: str = "") -> np.ndarray:
        assert tensor.data_location != TensorProto.EXTERNAL, f"{tensor.name} was read"
        return np.asarray(read(tensor, base_dir))

    monkeypatch.setattr(onnx.numpy_helper, "to_array", only_inner)
    for module in ("load_external_data_for_tensor", "load_external_data_for_model"):
        monkeypatch.delattr(onnx.external_data_helper, module)
    made = differentiate(proto, CE, ["x"])
    outside = [t.name for t in made.model.graph.initializer if t.data_location]
    assert sorted(outside) == ["w0", "w1", "w2", "wd", "wf"]
    feeds = {"x": samples(0, 2, 3, 6, 8)}
    found, wanted = (
        run(m.model, {**feeds, m.goals["labels"]: np.array([0, 1])}, tmp_path)[m.gradients["x"]]
        for m in (made, plain)
    )
    np.testing.assert_array_equal(found, wanted)


def test_weights_are_the_same_bytes() -> None:
    proto = graphs.transformer()
    made = differentiate(proto, CE, ["x"])
    before = {t.name: t.SerializeToString() for t in proto.graph.initializer}
    after = {t.name: t.SerializeToString() for t in made.model.graph.initializer}
    weights = [name for name in before if name.startswith("w_")]
    assert [after[name] for name in weights] == [before[name] for name in weights]


def seconds(nodes: int) -> float:
    proto = graphs.chain(nodes // 2)
    start = time.perf_counter()
    differentiate(proto, CE, ["x"])
    return time.perf_counter() - start


def test_time_is_linear_in_nodes() -> None:
    few, many = seconds(2_000), seconds(8_000)
    assert many < 8
    # Four times the nodes; a quadratic step would show as 16.
    assert many < 10 * max(few, 0.2)


@pytest.mark.slow
def test_a_chain_of_20000_nodes_takes_less_than_10_seconds() -> None:
    assert seconds(20_000) < 10


def test_a_tensor_read_by_many_nodes() -> None:
    many = 300
    nodes = [node("Mul", ["h", "h"], [f"p{i}"]) for i in range(many)]
    total = node("Sum", [f"p{i}" for i in range(many)], ["a"])
    made = differentiate(through([*nodes, total]), Objective("output", (Scored("a"),)), ["x"])
    x = samples(0, 2, 5)
    h = (x @ weight(0, 5, 6)).astype(np.float64)
    reference = np.ones((2, 6), np.float32)
    found = run(made.model, {"x": x, made.goals["reference"]: reference})[made.gradients["x"]]
    outer = 2 * (many * h**2 - 1) / 6 * (2 * many * h)
    np.testing.assert_allclose(found, outer @ weight(0, 5, 6).T, rtol=1e-3)


def test_a_model_without_the_default_domain_can_be_read() -> None:
    proto = helper.make_model(
        helper.make_graph(
            [node("FusedGemm", ["x", "w"], ["y"], domain="com.microsoft", activation="Relu")],
            "g",
            [value("x", ["N", 4])],
            [value("y", ["N", 3])],
            [onnx.numpy_helper.from_array(weight(0, 4, 3), "w")],
        ),
        opset_imports=[helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    reader, (rows,) = read_rows(proto, [Scored("y")])
    x = samples(0, 2, 4)
    np.testing.assert_allclose(run(reader, {"x": x})[rows], run(proto, {"x": x})["y"])
    made = differentiate(proto, Objective("ce", (Scored("y"),)), ["x"])
    assert set(made.gradients) == {"x"}
