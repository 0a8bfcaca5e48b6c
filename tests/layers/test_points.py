"""Which tensors are layers: one per learnable node, after its activation, as in the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.layers import LayerPlan, plan_layers
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.inspection import survey
from tests import graphs

CPU = resolve_device("cpu")


def plan(proto: onnx.ModelProto, *selectors: str, folder: Any = ".") -> LayerPlan:
    return plan_layers(survey(proto, folder, CPU), selectors or ("activations",))


def chosen(proto: onnx.ModelProto, *selectors: str) -> dict[str, list[str]]:
    """Tensor → the learnable nodes it stands for."""
    return {info.tensor: info.learnable for info in plan(proto, *selectors).layers}


def test_the_papers_model_a_has_three_points() -> None:
    found = plan(graphs.elu_mlp()).layers
    assert [info.tensor for info in found] == ["elu0", "elu1", "elu2"]
    assert [info.learnable for info in found] == [["n_fc0"], ["n_fc1"], ["n_fc2"]]
    assert [info.parameters for info in found] == [300, 10100, 10100]
    assert [info.previous for info in found] == [[], ["elu0"], ["elu1"]]
    assert {(info.op, info.dtype) for info in found} == {("Elu", "float32")}
    assert [info.shape for info in found] == [["N", 100]] * 3


def test_the_papers_model_b_has_four_points() -> None:
    assert chosen(graphs.mnist_cnn(28, 24)) == {
        "r0": ["n_c0"],
        "r1": ["n_c1"],
        "r2": ["n_c2"],
        "r3": ["n_f3"],
    }


def test_two_layers_share_the_activation_after_their_sum() -> None:
    found = plan(graphs.residual_net()).layers
    learnable = {info.tensor: info.learnable for info in found}
    assert learnable == {"r0": ["n_c0"], "r1": ["n_c1"], "r2": ["n_c2", "n_cd"]}
    assert found[2].parameters == 8 * 8 * 9 + 8 * 4
    assert found[2].previous == ["r1", "r0"]


GELU = [
    graphs.node("Div", ["h", "root"], ["d"]),
    graphs.node("Erf", ["d"], ["e"]),
    graphs.node("Add", ["e", "unit"], ["g"]),
    graphs.node("Mul", ["h", "g"], ["m"]),
    graphs.node("Mul", ["m", "half"], ["a"]),
]
TANH_GELU = [
    graphs.node("Pow", ["h", "three"], ["p"]),
    graphs.node("Add", ["h", "p"], ["s"]),
    graphs.node("Tanh", ["s"], ["t"]),
    graphs.node("Add", ["t", "unit"], ["g"]),
    graphs.node("Mul", ["h", "g"], ["m"]),
    graphs.node("Mul", ["m", "half"], ["a"]),
]
SILU = [graphs.node("Sigmoid", ["h"], ["s"]), graphs.node("Mul", ["h", "s"], ["a"])]
MISH = [
    graphs.node("Softplus", ["h"], ["s"]),
    graphs.node("Tanh", ["s"], ["t"]),
    graphs.node("Mul", ["h", "t"], ["a"]),
]
HARD_SWISH = [
    graphs.node("Add", ["h", "three"], ["s"]),
    graphs.node("Clip", ["s", "zero", "six"], ["c"]),
    graphs.node("Mul", ["h", "c"], ["m"]),
    graphs.node("Div", ["m", "six"], ["a"]),
]
NUMBERS = {"root": 2**0.5, "unit": 1.0, "half": 0.5, "three": 3.0, "zero": 0.0, "six": 6.0}


@pytest.mark.parametrize(
    "nodes",
    [GELU, TANH_GELU, SILU, MISH, HARD_SWISH],
    ids=["gelu", "tanh-gelu", "silu", "mish", "hardswish"],
)
def test_a_gate_in_primitives_is_read_after_its_product(nodes: list[onnx.NodeProto]) -> None:
    proto = graphs.activated(nodes, NUMBERS)
    onnx.checker.check_model(proto)
    assert chosen(proto) == {"a": ["n_h"]}


def test_a_plain_sigmoid_is_no_gate() -> None:
    assert chosen(graphs.activated([graphs.node("Sigmoid", ["h"], ["a"])])) == {"a": ["n_h"]}


def test_a_transformer_block() -> None:
    assert chosen(graphs.transformer()) == {
        "q": ["n_m_q"],
        "k": ["n_m_k"],
        "v": ["n_m_v"],
        "out": ["n_out"],
        "gelu": ["n_fc1"],
        "fc2": ["n_fc2"],
    }


def test_products_of_two_representations_are_not_learnable() -> None:
    learnable = {
        name for names in chosen(graphs.transformer(), "learnable").values() for name in names
    }
    assert learnable == {"n_m_q", "n_m_k", "n_m_v", "n_out", "n_fc1", "n_fc2", "n_y"}


def test_a_single_linear_layer_falls_back_on_its_output() -> None:
    weights = {"w": graphs.weight(0, 5, 3)}
    nodes = [graphs.node("MatMul", ["x", "w"], ["y"])]
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 3])], weights
    )
    assert chosen(proto) == {"y": ["n_y"]}


def test_a_sigmoid_head_is_no_hidden_layer() -> None:
    weights = {"w": graphs.weight(0, 5, 6), "v": graphs.weight(1, 6, 3)}
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("Relu", ["h"], ["r"]),
        graphs.node("MatMul", ["r", "v"], ["z"]),
        graphs.node("Sigmoid", ["z"], ["y"]),
    ]
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 3])], weights
    )
    found = plan(proto)
    assert [info.tensor for info in found.layers] == ["r"]
    reasons = {entry.tensor: entry.reason for entry in found.not_scored}
    assert reasons["y"] == "output head: no hidden representation follows it"


def test_an_lstm_is_read_at_the_output_it_has() -> None:
    found = plan(graphs.lstm_net()).layers
    assert [(info.tensor, info.op, info.learnable) for info in found] == [
        ("last", "LSTM", ["lstm"])
    ]
    assert found[0].parameters == 16 * 3 + 16 * 4


def test_weights_behind_a_constant_expression_are_learnable() -> None:
    weights = {"w": graphs.weight(0, 6, 5), "v": graphs.weight(1, 6, 3)}
    nodes = [
        graphs.node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        graphs.node("MatMul", ["x", "wt"], ["h"]),
        graphs.node("Relu", ["h"], ["r"]),
        graphs.node("MatMul", ["r", "v"], ["y"]),
    ]
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 3])], weights
    )
    found = plan(proto)
    assert [(i.tensor, i.parameters) for i in found.layers] == [("r", 30)]
    reasons = {entry.tensor: entry.reason for entry in found.not_scored}
    assert reasons["wt"] == "constant: it does not depend on the input"


def test_names_of_unnamed_nodes_count_their_position_and_avoid_taken_ones() -> None:
    proto = graphs.mnist_cnn(28, 24)
    for node in proto.graph.node:
        node.name = ""
    proto.graph.node[4].name = "Conv_0"
    assert [(i.node, i.learnable) for i in plan(proto).layers] == [
        ("Relu_1", ["Conv_0_"]),
        ("Relu_3", ["Conv_2"]),
        ("Relu_6", ["Conv_5"]),
        ("Relu_10", ["Gemm_9"]),
    ]


def test_the_scope_of_an_exporter_is_kept() -> None:
    proto = graphs.elu_mlp()
    elu = next(n for n in proto.graph.node if n.output[0] == "elu1")
    elu.metadata_props.add(key="namespace", value="net.features/1")
    assert [info.scope for info in plan(proto).layers] == [None, "net.features/1", None]


def test_previous_skips_what_is_not_scored() -> None:
    found = plan(graphs.mnist_cnn(28, 24), "r0", "p2", "y").layers
    assert {info.tensor: info.previous for info in found} == {"r0": [], "p2": ["r0"], "y": ["p2"]}


@pytest.mark.parametrize("selector", ["activations", "learnable", "all", "op:Relu"])
@pytest.mark.parametrize(
    "build", [graphs.residual_net, graphs.if_net, graphs.loop_net, graphs.two_input_net]
)
def test_every_tensor_is_accounted_for_once(build: Any, selector: str) -> None:
    proto = build()
    found = plan(proto, selector)
    listed = [i.tensor for i in found.layers] + [e.tensor for e in found.not_scored]
    made = [name for node in proto.graph.node for name in node.output]
    bodies = [a.g for n in proto.graph.node for a in n.attribute if a.HasField("g")]
    made += [name for body in bodies for node in body.node for name in node.output]
    assert sorted(listed) == sorted(made)
    assert all(entry.reason for entry in found.not_scored)


def test_tensors_in_a_body_are_layers_and_say_where_they_are() -> None:
    found = plan(graphs.if_net(), "all")
    bodies = {info.tensor: info.body for info in found.layers}
    assert bodies == {
        "h": None,
        "mean": None,
        "inner_Neg": "n_z/then_branch",
        "inner_Abs": "n_z/else_branch",
        "z": None,
        "y": None,
    }
    assert {e.tensor: e.reason for e in found.not_scored} == {
        "positive": "not floating point (bool)"
    }
    previous = {info.tensor: info.previous for info in found.layers}
    assert previous["inner_Abs"] == ["h"]
    assert previous["z"] == ["inner_Neg", "inner_Abs", "mean", "h"]


def test_random_and_value_shaped_tensors_are_not_scored() -> None:
    weights = {"w": graphs.weight(0, 5, 4), "axes": np.array([0], np.int64)}
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("RandomNormalLike", ["h"], ["noise"]),
        graphs.node("Add", ["h", "noise"], ["noisy"]),
        graphs.node("NonZero", ["h"], ["where"]),
        graphs.node("Cast", ["where"], ["positions"], to=graphs.FLOAT),
        graphs.node("Relu", ["h"], ["y"]),
    ]
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 4])], weights
    )
    found = plan(proto, "all")
    assert [info.tensor for info in found.layers] == ["h", "y"]
    reasons = {entry.tensor: entry.reason for entry in found.not_scored}
    assert reasons["noisy"].startswith("random: it depends on RandomNormalLike node 'n_noise'")
    assert reasons["positions"].endswith("depends on the input's values, by NonZero node 'n_where'")
