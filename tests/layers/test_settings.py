"""Which inputs set shapes and axes."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from lsa_onnx.layers.settings import setting_inputs
from tests import graphs
from tests.graphs import node, value


def found(nodes: list[onnx.NodeProto], *others: onnx.ValueInfoProto) -> set[str]:
    inputs = [value("x", [3, 4]), *others]
    return setting_inputs(graphs.model(nodes, inputs, [value("y", None)], opset=18).graph)


@pytest.mark.parametrize(
    ("op", "given"),
    [
        ("Reshape", ["x", "s"]),
        ("Expand", ["x", "s"]),
        ("Unsqueeze", ["x", "s"]),
        ("Squeeze", ["x", "s"]),
        ("Split", ["x", "s"]),
        ("ReduceSum", ["x", "s"]),
        ("ReduceMax", ["x", "s"]),
        ("CumSum", ["x", "s"]),
        ("Slice", ["x", "c", "c", "s"]),
        ("Pad", ["x", "c", "", "s"]),
        ("Resize", ["x", "", "s"]),
    ],
)
def test_what_an_operator_reads_as_a_shape_or_as_axes(op: str, given: list[str]) -> None:
    assert "s" in found([node(op, given, ["y"])], value("s", [3], "int64"))


@pytest.mark.parametrize(
    ("op", "given"),
    [("Gather", ["x", "s"]), ("Add", ["x", "s"]), ("ReverseSequence", ["x", "s"])],
)
def test_what_it_reads_as_values(op: str, given: list[str]) -> None:
    assert found([node(op, given, ["y"])], value("s", [3], "int64")) == set()


def test_sizes_are_computed() -> None:
    """The tensor that is reshaped is none of them, nor the lengths whose maximum is a size."""
    nodes = [
        node("Cast", ["size"], ["wide"], to=onnx.TensorProto.INT64),
        node("Concat", ["wide", "depth"], ["both"], axis=0),
        node("ReduceMax", ["lengths"], ["most"], keepdims=1),
        node("Concat", ["both", "most"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    others = [
        value("size", [1], "int32"),
        value("depth", [1], "int64"),
        value("lengths", [3], "int64"),
    ]
    assert found(nodes, *others) == {"size", "depth"}


def test_a_matrix_is_no_list_of_sizes() -> None:
    assert found([node("Reshape", ["x", "s"], ["y"])], value("s", [3, 1], "int64")) == set()


def test_bodies_read_shapes_of_the_outer_graph() -> None:
    branch = helper.make_graph(
        [node("Reshape", ["x", "s"], ["inner"])], "b", [], [value("inner", None)]
    )
    nodes = [node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)]
    others = [value("flag", [1], "bool"), value("s", [3], "int64")]
    assert found(nodes, *others) == {"flag", "s"}
