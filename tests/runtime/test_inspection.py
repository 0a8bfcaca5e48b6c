"""Types and shapes of inner tensors, as the runtime knows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.runtime.inspection import observed_ranks, tensor_types
from tests import graphs
from tests.graphs import model, node, value, weight
from tests.runtime.rig import CPU


def test_every_tensor_of_the_main_graph_is_described(tmp_path: Path) -> None:
    assert tensor_types(graphs.conv_net(), tmp_path, CPU) == {
        "conv": ("float32", ["N", 4, 3, 5]),
        "relu": ("float32", ["N", 4, 3, 5]),
        "flat": ("float32", ["N", 60]),
        "y": ("float32", ["N", 6]),
    }


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_element_types_have_numpys_names(dtype: str, tmp_path: Path) -> None:
    kinds = {kind for kind, _ in tensor_types(graphs.typed_net(dtype), tmp_path, CPU).values()}
    assert kinds == {dtype}


def test_operators_that_onnx_does_not_know_are_typed_by_the_runtime(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("BiasGelu", ["h", "b"], ["g"], domain="com.microsoft"),
        node("Relu", ["g"], ["y"]),
    ]
    weights = {"w": weight(0, 5, 4), "b": weight(1, 4)}
    inputs, outputs = [value("x", ["N", 5])], [value("y", None)]
    proto = model(nodes, inputs, outputs, weights, imports={"com.microsoft": 1})
    types = tensor_types(proto, tmp_path, CPU)
    assert types["g"] == ("float32", ["N", 4])


def test_containers_keep_the_runtimes_spelling(tmp_path: Path) -> None:
    nodes = [node("SplitToSequence", ["x"], ["q"], axis=1), node("Relu", ["x"], ["y"])]
    proto = model(nodes, [value("x", ["N", 5])], [value("y", None)])
    assert tensor_types(proto, tmp_path, CPU)["q"][0] == "seq(tensor(float))"


def test_an_optional_value_does_not_hide_the_others(tmp_path: Path) -> None:
    nodes = [
        node("Optional", ["x"], ["o"]),
        node("OptionalGetElement", ["o"], ["g"]),
        node("Relu", ["g"], ["y"]),
    ]
    proto = model(nodes, [value("x", ["N", 5])], [value("y", ["N", 5])], opset=18)
    assert tensor_types(proto, tmp_path, CPU)["g"] == ("float32", ["N", 5])


def test_an_unknown_rank_is_not_taken_for_a_scalar(tmp_path: Path) -> None:
    types = tensor_types(graphs.if_net(), tmp_path, CPU)
    assert types["mean"] == ("float32", [])
    assert types["z"][1] != []
    assert observed_ranks(graphs.if_net(), tmp_path, CPU, ["z", "mean"]) == {"z": 2, "mean": 0}


def test_a_model_that_the_runtime_refuses_is_refused(tmp_path: Path) -> None:
    proto = model(
        [node("Foo", ["x"], ["y"], domain="mine")],
        [value("x", ["N", 5])],
        [value("y", None)],
        imports={"mine": 1},
    )
    with pytest.raises(ModelError, match="'Foo' of domain 'mine'"):
        tensor_types(proto, tmp_path, CPU)
