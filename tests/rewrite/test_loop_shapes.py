"""Shapes inside of Loops and behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from lsa_onnx.rewrite.shapes import KnownShapes
from tests.graphs import FLOAT, Shape, loop_net, model, node, value, weight

Array = NDArray[Any]


def looping(
    nodes: list[onnx.NodeProto], states: list[str], outputs: list[str], prefix: str = ""
) -> onnx.GraphProto:
    """A body that always goes on."""
    go, go_on = f"{prefix}go", f"{prefix}go_on"
    return helper.make_graph(
        [*nodes, helper.make_node("Identity", [go], [go_on])],
        "body",
        [
            value(f"{prefix}i", [], "int64"),
            value(go, [], "bool"),
            *(value(s, None) for s in states),
        ],
        [value(go_on, [], "bool"), *(value(o, None) for o in outputs)],
    )


def known(nodes: list[onnx.NodeProto], shape: Shape, **weights: Array) -> KnownShapes:
    constants = {"n": np.asarray(3, np.int64)} | weights
    return KnownShapes(model(nodes, [value("x", shape)], [value("y", None)], constants))


def test_a_state_that_keeps_its_shape() -> None:
    body = looping(
        [node("MatMul", ["s", "w"], ["m"]), node("Relu", ["m"], ["next"])], ["s"], ["next", "m"]
    )
    main = [node("Loop", ["n", "", "x"], ["y", "all"], body=body), node("Relu", ["y"], ["z"])]
    shapes = known(main, ["N", 4], w=weight(0, 4, 4))
    for name in ("s", "m", "next", "y", "z"):
        assert shapes.dims(name) == (None, 4)
        assert shapes.same_shape(name, "x")
    # How many steps there are is not known.
    assert shapes.dims("all") == (None, None, 4)
    assert not shapes.same_dim("all", 0, "x", 0)


def test_a_state_that_changes_its_shape_beside_one_that_does_not() -> None:
    body = looping(
        [node("Concat", ["list", "x"], ["longer"], axis=0), node("Neg", ["s"], ["next"])],
        ["list", "s"],
        ["longer", "next"],
    )
    main = [
        node("Loop", ["n", "", "x", "x"], ["y", "last"], body=body),
        node("Relu", ["y"], ["z"]),
    ]
    shapes = known(main, [2, 3])
    assert [shapes.dims(name) for name in ("list", "longer", "y", "z")] == [None] * 4
    assert [shapes.dims(name) for name in ("s", "next", "last")] == [(2, 3)] * 3


@pytest.mark.parametrize("first", [(), (1,), (1, 3)])
def test_a_state_that_is_broadcast_in_the_first_step(first: tuple[int, ...]) -> None:
    body = looping([node("Add", ["s", "x"], ["next"])], ["s"], ["next"])
    shapes = known(
        [node("Loop", ["n", "", "zero"], ["y"], body=body)],
        [2, 3],
        zero=np.zeros(first, np.float32),
    )
    assert shapes.dims("s") is None
    assert shapes.dims("y") is None


def test_a_state_that_follows_one_that_changes() -> None:
    """What is wrong with the first shows only where its shape reaches the second."""
    body = looping(
        [node("Concat", ["a", "x"], ["a_next"], axis=0), node("Identity", ["a"], ["b_next"])],
        ["a", "b"],
        ["a_next", "b_next"],
    )
    shapes = known([node("Loop", ["n", "", "x", "x"], ["y", "z"], body=body)], [2, 3])
    assert shapes.dims("a") is None
    assert shapes.dims("y") is None


def test_loops_one_behind_the_other_and_inside() -> None:
    inner = looping([node("Relu", ["t"], ["t_next"])], ["t"], ["t_next"], prefix="in_")
    outer = looping(
        [
            node("Loop", ["n", "", "s"], ["last", "steps"], body=inner),
            node("Relu", ["last"], ["next"]),
        ],
        ["s"],
        ["next"],
    )
    again = looping([node("Neg", ["u"], ["u_next"])], ["u"], ["u_next", "u"], prefix="on_")
    main = [
        node("Loop", ["n", "", "x"], ["h"], body=outer),
        node("Loop", ["n", "", "h"], ["y", "all"], body=again),
    ]
    shapes = known(main, ["N", 4])
    for name in ("s", "t", "t_next", "last", "next", "h", "u", "y"):
        assert shapes.same_shape(name, "x"), name
    assert shapes.dims("all") == (None, None, 4)


def test_two_loops_may_be_of_different_length() -> None:
    bodies = [
        looping([node("Neg", [f"s{k}"], [f"t{k}"])], [f"s{k}"], [f"t{k}", f"s{k}"], prefix=f"p{k}")
        for k in range(2)
    ]
    main = [
        node("Loop", ["n", "", "x"], [f"last{k}", f"all{k}"], body=body)
        for k, body in enumerate(bodies)
    ]
    shapes = known([*main, node("Neg", ["x"], ["y"])], [2, 3])
    assert shapes.dims("all0") == shapes.dims("all1") == (None, 2, 3)
    assert not shapes.same_shape("all0", "all1")


def test_bodies_that_read_axes_of_the_graph_around_them() -> None:
    (loop,) = (n for n in loop_net().graph.node if n.op_type == "Loop")
    body = loop.attribute[0].g
    body.node[0].CopyFrom(node("Unsqueeze", ["h", "axes"], ["wide"]))
    body.node.insert(1, node("ReduceSum", ["wide", "axes"], ["flat"], keepdims=0))
    body.node.insert(2, node("Add", ["state", "flat"], ["next"]))
    nodes = [node("MatMul", ["x", "w"], ["h"]), loop]
    weights = {"w": weight(0, 5, 4), "rounds": np.asarray(3), "axes": np.array([1])}
    proto = model(nodes, [value("x", ["N", 5])], [value("total", None)], weights, opset=18)
    before = proto.SerializeToString()
    known = KnownShapes(proto)
    assert known.dims("wide") == (None, 1, 4)
    assert known.dims("next") == known.dims("total") == (None, 4)
    assert proto.SerializeToString() == before


# What bodies declare of a batch that has been freed since


def baked(graph: onnx.GraphProto, batch: int) -> onnx.GraphProto:
    """A body that says of every state, and of what it returns, that it is (batch, 4)."""
    for each in (*graph.input, *graph.output):
        if each.name not in ("i", "go", "go_on"):
            each.type.CopyFrom(value(each.name, [batch, 4]).type)
    return graph


@pytest.mark.parametrize("batch", [1, 4])
def test_a_batch_that_is_baked_into_a_body_is_not_believed(batch: int) -> None:
    nodes = [node("MatMul", ["s", "w"], ["m"]), node("Relu", ["m"], ["next"])]
    body = baked(looping(nodes, ["s"], ["next", "m"]), batch)
    shapes = known(
        [node("Loop", ["n", "", "x"], ["y", "all"], body=body)], ["N", 4], w=weight(0, 4, 4)
    )
    for name in ("s", "m", "next", "y"):
        assert shapes.same_shape(name, "x"), name
    assert shapes.dims("all") == (None, None, 4)
    assert shapes.element("s") == onnx.TensorProto.FLOAT


def test_the_counter_of_a_loop_is_still_a_scalar() -> None:
    """It says how many dimensions a row that it chooses has."""
    nodes = [node("Gather", ["x", "i"], ["row"]), node("Add", ["s", "row"], ["next"])]
    body = baked(looping(nodes, ["s"], ["next"]), 1)
    shapes = known([node("Loop", ["n", "", "x"], ["y"], body=body)], ["N", 4])
    assert shapes.dims("i") == ()
    assert shapes.dims("row") == (4,)
    assert shapes.same_shape("next", "x")


def test_a_batch_that_is_baked_into_a_list_is_not_believed() -> None:
    nodes = [
        node("SequenceInsert", ["list", "x"], ["longer"]),
        node("SequenceAt", ["longer", "i"], ["one"]),
    ]
    body = looping(nodes, ["list"], ["longer", "one"])
    for each in (body.input[2], body.output[1]):
        each.CopyFrom(helper.make_tensor_sequence_value_info(each.name, FLOAT, [1, 4]))
    main = [
        node("SequenceConstruct", ["x"], ["first"]),
        node("Loop", ["n", "", "first"], ["last", "all"], body=body),
        node("SequenceAt", ["last", "n"], ["y"]),
    ]
    shapes = known(main, ["N", 4])
    for name in ("one", "y"):
        assert shapes.dims(name) in (None, (None, 4)), name
        assert shapes.element(name) == FLOAT, name
