"""Where the layers of quantised networks are read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime import quantization

from lsa_onnx.layers.graph_view import GraphView
from lsa_onnx.layers.points import Point, reading_point
from lsa_onnx.rewrite import expose
from tests import graphs, quantised


def points(proto: onnx.ModelProto) -> list[Point]:
    """The points of the learnable nodes, in graph order."""
    view = GraphView.of(proto)
    return [reading_point(view, node) for node in proto.graph.node if view.is_learnable(node)]


def parameters(proto: onnx.ModelProto) -> list[int]:
    view = GraphView.of(proto)
    return [view.parameters(node) for node in proto.graph.node if view.is_learnable(node)]


IMAGES = (2, 3, 5, 7)


def test_a_pair_is_passed_and_weights_behind_one_are_learnable() -> None:
    proto = quantised.static(graphs.conv_net(), IMAGES)
    assert points(proto) == [
        Point("relu_DequantizeLinear_Output", None, head=False),
        Point("y", None, head=True),
    ]
    assert parameters(proto) == [4 * 3 * 3 * 3, 6 * 4 * 3 * 5 + 6]


@pytest.mark.parametrize("per_channel", [False, True])
def test_reading_behind_the_pair_keeps_the_integer_operators(
    per_channel: bool, tmp_path: Path
) -> None:
    # Signed activations are first made unsigned on some processors, and then only if nothing else
    # reads them.
    unsigned = quantization.QuantType.QUInt8
    proto = quantised.static(
        graphs.conv_net(), IMAGES, per_channel=per_channel, activation_type=unsigned
    )
    point = points(proto)[0].tensor
    assert _optimised(proto, tmp_path)["QLinearConv"] == 1
    assert _optimised(expose(proto, [point]), tmp_path)["QLinearConv"] == 1
    before_the_pair = next(n.output[0] for n in proto.graph.node if n.op_type == "Conv")
    assert _optimised(expose(proto, [before_the_pair]), tmp_path)["QLinearConv"] == 0


def _optimised(proto: onnx.ModelProto, folder: Path) -> Counter[str]:
    """How often ONNX Runtime runs each operator."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def test_pairs_of_their_own_for_every_reader() -> None:
    pairs = {"DedicatedQDQPair": True}
    proto = quantised.static(graphs.residual_net(), (2, 3, 6, 8), extra_options=pairs)
    found = points(proto)
    assert [point.tensor for point in found] == [
        "r0_DequantizeLinear_Output_1",
        "r1_DequantizeLinear_Output",
        "cd_DequantizeLinear_Output",
        "c2_DequantizeLinear_Output",
        "y",
    ]
    assert [point.head for point in found] == [False] * 4 + [True]


def test_a_pair_whose_own_reader_ends_is_no_head_if_another_goes_on() -> None:
    """The first pair of the sigmoid leads to an output, the second to a layer."""
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("Sigmoid", ["h"], ["a"]),
        graphs.node("QuantizeLinear", ["a", "s"], ["q1"]),
        graphs.node("DequantizeLinear", ["q1", "s"], ["d1"]),
        graphs.node("QuantizeLinear", ["a", "s"], ["q2"]),
        graphs.node("DequantizeLinear", ["q2", "s"], ["d2"]),
        graphs.node("MatMul", ["d2", "v"], ["y"]),
    ]
    weights = {"w": graphs.weight(0, 5, 6), "v": graphs.weight(1, 6, 3)}
    weights["s"] = np.asarray(1 / 255, np.float32)
    proto = graphs.model(
        nodes,
        [graphs.value("x", ["N", 5])],
        [graphs.value("d1", ["N", 6]), graphs.value("y", ["N", 3])],
        weights,
    )
    assert points(proto)[0] == Point("d1", "Sigmoid", head=False)


def test_a_gate_of_pairs_is_read_after_its_product() -> None:
    silu = [graphs.node("Sigmoid", ["h"], ["s"]), graphs.node("Mul", ["h", "s"], ["a"])]
    proto = quantised.static(graphs.activated(silu), (2, 5))
    assert points(proto)[0] == Point("a_DequantizeLinear_Output", "Sigmoid", head=False)


def test_a_bias_behind_a_pair_belongs_to_its_layer() -> None:
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["m"]),
        graphs.node("Add", ["m", "b"], ["h"]),
        graphs.node("MatMul", ["h", "v"], ["y"]),
    ]
    weights = {"w": graphs.weight(0, 5, 6), "b": graphs.weight(2, 6), "v": graphs.weight(1, 6, 3)}
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 3])], weights
    )
    assert points(quantised.static(proto, (2, 5)))[0].tensor == "h_DequantizeLinear_Output"


def test_quantised_operators_are_read_in_their_own_integers() -> None:
    proto = quantised.static(graphs.residual_net(), (2, 3, 6, 8), pairs=False)
    found = points(proto)
    names = ["c0_quantized", "c1_quantized", "cd_quantized", "c2_quantized", "y"]
    assert [point.tensor for point in found] == names
    assert [point.head for point in found] == [False] * 4 + [True]


def test_a_gate_of_quantised_operators_is_read_after_its_product() -> None:
    silu = [graphs.node("Sigmoid", ["h"], ["s"]), graphs.node("Mul", ["h", "s"], ["a"])]
    proto = quantised.static(graphs.activated(silu), (2, 5), pairs=False)
    assert points(proto)[0] == Point("a_quantized", "QLinearSigmoid", head=False)


def test_integer_sums_are_read_behind_their_scale_and_bias() -> None:
    found = {point.tensor for point in points(quantised.dynamic(graphs.transformer()))}
    assert found == {"q", "k", "v", "out", "gelu", "fc2", "y"}
    activations = [point.activation for point in points(quantised.dynamic(graphs.conv_net()))]
    assert activations == ["Relu", None]


def test_a_fused_normalisation_after_a_skip_is_passed_on_the_way_to_the_activation() -> None:
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node(
            "SkipLayerNormalization", ["h", "x", "g"], ["n"], domain="com.microsoft", epsilon=1e-5
        ),
        graphs.node("Relu", ["n"], ["a"]),
        graphs.node("MatMulNBits", ["a", "p", "k"], ["y"], domain="com.microsoft", **_FOUR_BITS),
    ]
    weights = {
        "w": graphs.weight(0, 16, 16),
        "g": np.ones(16, np.float32),
        "p": np.full((3, 1, 8), 0x9A, np.uint8),
        "k": np.ones(3, np.float32),
    }
    proto = graphs.model(
        nodes,
        [graphs.value("x", ["N", 16])],
        [graphs.value("y", ["N", 3])],
        weights,
        imports={"com.microsoft": 1},
    )
    assert graphs.run(proto, {"x": graphs.samples(0, 2, 16)})["y"].shape == (2, 3)
    assert points(proto) == [Point("a", "Relu", head=False), Point("y", None, head=True)]


_FOUR_BITS = {"K": 16, "N": 3, "bits": 4, "block_size": 16}


def test_heads_that_attend_go_on_to_no_layer_but_a_product() -> None:
    """The keys reach no weights again, only ONNX Runtime's fused attention."""
    nodes = [graphs.node("MatMul", ["x", f"w_{n}"], [n]) for n in "qkv"]
    nodes.append(
        graphs.node(
            "MultiHeadAttention", ["q", "k", "v"], ["y"], domain="com.microsoft", num_heads=2
        )
    )
    weights = {f"w_{n}": graphs.weight(i, 6, 4) for i, n in enumerate("qkv")}
    proto = graphs.model(
        nodes,
        [graphs.value("x", ["N", 3, 6])],
        [graphs.value("y", ["N", 3, 4])],
        weights,
        imports={"com.microsoft": 1},
    )
    assert graphs.run(proto, {"x": graphs.samples(0, 2, 3, 6)})["y"].shape == (2, 3, 4)
    assert points(proto) == [Point(name, None, head=False) for name in "qkv"]
