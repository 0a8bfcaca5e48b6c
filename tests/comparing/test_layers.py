"""Which layers of two models are one."""

from __future__ import annotations

import dataclasses

import pytest

from lsa_onnx.comparing.layers import pair_layers, plain
from lsa_onnx.report.document import LayerInfo
from tests.report.parts import layer_info


def layer(tensor: str, node: str, *learnable: str) -> LayerInfo:
    return dataclasses.replace(layer_info(tensor, 0, []), node=node, learnable=[*learnable])


# As onnxruntime's quantisers name what they make of "conv1.relu" of node "conv1_relu" behind "conv1".
FLOAT = [layer("conv1.relu", "conv1_relu", "conv1"), layer("fc1.relu", "fc1_relu", "fc1")]
PAIRS = [
    layer("conv1.relu_DequantizeLinear_Output", "conv1.relu_DequantizeLinear", "conv1"),
    layer("fc1.relu_DequantizeLinear_Output", "fc1.relu_DequantizeLinear", "fc1"),
]
OPERATORS = [
    layer("conv1.out_quantized", "conv1_quant", "conv1_quant"),
    layer("fc1.out_quantized", "fc1_quant", "fc1_quant"),
]
DYNAMIC = [
    layer("conv1.relu", "conv1_relu", "conv1_quant"),
    layer("fc1.relu", "fc1_relu", "fc1_MatMul_quant"),
]


@pytest.mark.parametrize(
    ("after", "how"), [(FLOAT, "name"), (PAIRS, "node"), (OPERATORS, "node"), (DYNAMIC, "name")]
)
def test_quantised_layers_are_found(after: list[LayerInfo], how: str) -> None:
    pairs, unmatched = pair_layers(FLOAT, after)
    assert [(pair.before, pair.after, pair.how) for pair in pairs] == [(0, 0, how), (1, 1, how)]
    assert unmatched == []


def test_a_path_that_is_the_end_of_another() -> None:
    before = [layer("/net/stem/Relu_output_0", "a"), layer("/net/body/Relu_output_0", "b")]
    after = [layer("stem/Relu", "c"), layer("/other/body/Relu", "d")]
    pairs, unmatched = pair_layers(before, after)
    assert [(pair.before, pair.after, pair.how) for pair in pairs] == [(0, 0, "path")]
    assert [(each.side, each.tensor) for each in unmatched] == [
        ("before", "/net/body/Relu_output_0"),
        ("after", "/other/body/Relu"),
    ]
    assert {each.reason for each in unmatched} == {
        "no layer of the other model has its name, its nodes or its path"
    }


def test_what_may_be_several_is_none_of_them() -> None:
    before = [layer("a", "n", "conv"), layer("b", "m", "gemm")]
    after = [layer("x", "p", "conv_quant"), layer("y", "q", "conv"), layer("z", "r", "gemm")]
    pairs, unmatched = pair_layers(before, after)
    assert [(pair.before, pair.after) for pair in pairs] == [(1, 2)]
    told = {each.tensor: each.reason for each in unmatched}
    doubt = "by its node it may be any of several layers of the other model"
    assert told == {"a": doubt, "x": doubt, "y": doubt}


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (["batch", 16, 56, 58], True),
        (["n", 16, None, "w"], True),
        (None, True),
        (["batch", 16, 56, 57], False),
        (["batch", 16, 56], False),
    ],
)
def test_what_has_another_shape_is_another_layer(
    shape: list[int | str | None] | None, found: bool
) -> None:
    """A node without a name is called by its place, which another node may have in another graph."""
    after = [dataclasses.replace(layer("other", "Relu_3"), shape=shape)]
    pairs, _ = pair_layers([layer("one", "Relu_3")], after)
    assert bool(pairs) == found


def test_a_name_counts_before_nodes() -> None:
    """A node that two layers swapped does not: the tensor is what was scored."""
    before = [layer("a", "n"), layer("b", "m")]
    after = [layer("b", "n"), layer("a", "m")]
    pairs, _ = pair_layers(before, after)
    assert [(pair.before, pair.after, pair.how) for pair in pairs] == [
        (0, 1, "name"),
        (1, 0, "name"),
    ]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/conv1/Relu_output_0", "/conv1/Relu"),
        ("conv1.relu_QuantizeLinear_Output", "conv1.relu"),
        ("fc1_MatMul_quant", "fc1"),
        ("y:0", "y"),
        ("quantized", "quantized"),
        ("_quant", "_quant"),
    ],
)
def test_what_tools_hang_on_is_taken_off(name: str, short: str) -> None:
    assert plain(name) == short
