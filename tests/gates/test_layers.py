"""What a user may call a layer."""

from __future__ import annotations

import dataclasses
import re

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.gates.layers import find_layers
from lsa_onnx.report.document import LayerInfo
from tests.report.parts import layer_info

NAMES = [
    "/layer1/layer1.0/Relu_output_0",
    "/layer4/layer4.0/Relu_output_0",
    "/layer4/layer4.1/Relu_output_0",
    "conv[0].relu",
    "3",
]


def layers() -> list[LayerInfo]:
    found = [layer_info(name, at, NAMES[max(0, at - 1) : at]) for at, name in enumerate(NAMES)]
    # Its learnable node is called as another layer's tensor is.
    return [*found[:-1], dataclasses.replace(found[-1], learnable=["/layer4/conv"])]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/layer4/layer4.1/Relu_output_0", [2]),
        ("Relu_1", [1]),
        ("Conv_2", [2]),
        # A tensor of that name comes before the number.
        ("3", [4]),
        ("0", [0]),
        ("layer4.1", [2]),
        ("layer4.1/Relu_output_0", [2]),
        ("layer1", [0]),
        ("*layer4*", [1, 2, 4]),
        ("conv[?].relu", [3]),
        ("conv[*", [3]),
        ("].relu", [3]),
    ],
)
def test_names_that_mean_something(name: str, found: list[int]) -> None:
    assert [each.tensor for each in find_layers(name, layers(), "gate")] == [
        NAMES[at] for at in found
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "layer4",
            "gate: layer 'layer4' may be any of '/layer4/layer4.0/Relu_output_0', '/layer4/layer4.1/Re",
        ),
        ("Relu_output_0", "may be any of '/layer1/layer1.0/Relu_output_0', '/layer4/"),
        ("Conv_7", "there is no layer 'Conv_7'; did you mean 'Conv_3' or 'Conv_2' or 'Conv_1'?"),
        ("9", "there is no layer '9'; accepted are"),
        ("*x*", "there is no layer '*x*'"),
        ("layer", "there is no layer 'layer'"),
    ],
)
def test_names_that_mean_nothing_or_too_much(name: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        find_layers(name, layers(), "gate")


def test_without_layers_that_is_said() -> None:
    with pytest.raises(DataError, match="no layer was scored, so there is no 'conv'"):
        find_layers("conv", [], "gate")
