"""Adjoints of Loop against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import Shape, model, node, value
from tests.rewrite.gradients import pulled_back
from tests.rewrite.vjp.bodies import DOUBLE, body, checked, double, loop_body

Array = NDArray[Any]

ON = node("Identity", ["go"], ["go_on"])


def rounds(number: int) -> Array:
    return np.asarray(number, np.int64)


def refused(nodes: list[onnx.NodeProto], weights: dict[str, Array]) -> list[tuple[str, str]]:
    """(Node, reason) of what has no adjoint by "x", a 2×3 matrix."""
    x, y = value("x", [2, 3], DOUBLE), value("y", None, DOUBLE)
    with pytest.raises(MissingRules) as raised:
        pulled_back(model(nodes, [x], [y], weights, opset=18), ["x"])
    return [(missing.node.name, missing.reason) for missing in raised.value.nodes]


def cell() -> onnx.GraphProto:
    """s ← tanh(s w) + x, which it also returns each time, doubled."""
    nodes = [
        ON,
        node("MatMul", ["s", "w"], ["m"]),
        node("Tanh", ["m"], ["a"]),
        node("Add", ["a", "x"], ["next"]),
        node("Add", ["next", "next"], ["twice"]),
    ]
    return loop_body(nodes, ["s"], ["next", "twice"])


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("outputs", [["y"], ["all"], ["y", "all"]])
def test_fixed_count(outputs: list[str], number: int, free: bool) -> None:
    nodes = [
        node("Exp", ["x"], ["h"]),
        node("Loop", ["n", "", "h"], ["y", "all"], body=cell()),
    ]
    feeds = {"x": double(0, 2, 3), "w": double(1, 3, 3)}
    open_batch: dict[str, Shape] = {"x": ["N", 3]} if free else {}
    checked(nodes, feeds, outputs, {"n": rounds(number)}, shapes=open_batch)


@pytest.mark.parametrize("scale", [0.5, 2.0, 40.0])
def test_the_data_decide_when_it_stops(scale: float) -> None:
    """Doubles until the sum passes 30, and has no largest count of steps."""
    nodes = [
        node("Mul", ["s", "two"], ["t"]),
        node("Sin", ["t"], ["u"]),
        node("Add", ["t", "u"], ["next"]),
        node("ReduceSum", ["next"], ["total"], keepdims=0),
        node("Less", ["total", "limit"], ["go_on"]),
    ]
    grow = loop_body(nodes, ["s"], ["next"], {"two": np.asarray(2.0)})
    main = [
        node("ReduceSum", ["x"], ["before"], keepdims=0),
        node("Less", ["before", "limit"], ["start"]),
        node("Loop", ["", "start", "x"], ["y"], body=grow),
    ]
    feeds = {"x": scale * (np.abs(double(2, 2, 3)) + 0.3)}
    checked(main, feeds, weights={"limit": np.asarray(30.0)})


def test_the_body_reads_its_number_and_condition_and_counts() -> None:
    nodes = [
        ON,
        node("Cast", ["i"], ["number"], to=onnx.TensorProto.DOUBLE),
        node("Cast", ["go"], ["one"], to=onnx.TensorProto.DOUBLE),
        node("Cast", ["k"], ["count"], to=onnx.TensorProto.DOUBLE),
        node("Add", ["number", "one"], ["more"]),
        node("Mul", ["s", "more"], ["a"]),
        node("Mul", ["a", "count"], ["b"]),
        node("Sin", ["b"], ["next"]),
        node("Add", ["k", "three"], ["k_next"]),
    ]
    counting = loop_body(nodes, ["s", "k"], ["next", "k_next"])
    # The counter is a whole number, unlike what the helper declares.
    for values in (counting.input[3], counting.output[2]):
        values.type.tensor_type.elem_type = onnx.TensorProto.INT64
    main = [node("Loop", ["n", "on", "x", "one_k"], ["y", "k_last"], body=counting)]
    weights = {
        "n": rounds(4),
        "on": np.asarray(True),
        "one_k": rounds(1),
        "three": rounds(3),
    }
    checked(main, {"x": double(3, 2, 3)}, weights=weights)


def test_a_sum_needs_no_states_and_starts_from_a_constant() -> None:
    """Only the tensor of the graph around is differentiable before the first step."""
    nodes = [ON, node("Mul", ["x", "x"], ["a"]), node("Add", ["s", "a"], ["next"])]
    main = [node("Loop", ["n", "", "zero"], ["y"], body=loop_body(nodes, ["s"], ["next"]))]
    weights = {"n": rounds(3), "zero": np.zeros((2, 3))}
    checked(main, {"x": double(4, 2, 3)}, weights=weights)


def test_a_state_that_changes_its_shape_is_refused_where_it_is_read() -> None:
    """A scalar becomes a matrix in the first step, so its adjoint must become a scalar again."""
    nodes = [ON, node("Add", ["s", "x"], ["next"])]
    main = [
        node("Loop", ["n", "", "zero"], ["y"], body=loop_body(nodes, ["s"], ["next"]), name="grow")
    ]
    missing = refused(main, {"n": rounds(3), "zero": np.asarray(0.0)})
    assert missing == [("grow", "the shape of its state 's' changes from step to step")]


def test_states_that_change_places() -> None:
    """(a, b) ← (b, sin a · b): what one step does to a state reaches the other in the next one."""
    nodes = [
        ON,
        node("Identity", ["b"], ["a_next"]),
        node("Sin", ["a"], ["c"]),
        node("Mul", ["c", "b"], ["b_next"]),
    ]
    swap = loop_body(nodes, ["a", "b"], ["a_next", "b_next"])
    main = [node("Loop", ["n", "", "p", "q"], ["y", "z"], body=swap)]
    feeds = {"p": double(5, 2, 3), "q": double(6, 2, 3)}
    checked(main, feeds, ["y"], {"n": rounds(3)})
    checked(main, feeds, ["z"], {"n": rounds(3)})


def test_one_tensor_starts_two_states_and_is_read_inside() -> None:
    nodes = [
        ON,
        node("Mul", ["a", "x"], ["a_next"]),
        node("Sin", ["b"], ["b_sin"]),
        node("Add", ["b_sin", "a"], ["b_next"]),
    ]
    both = loop_body(nodes, ["a", "b"], ["a_next", "b_next"])
    main = [node("Loop", ["n", "", "x", "x"], ["y", "z"], body=both)]
    checked(main, {"x": double(7, 2, 3)}, ["y", "z"], {"n": rounds(3)})


def test_the_adjoint_has_the_constants_of_the_body() -> None:
    nodes = [ON, node("MatMul", ["s", "w"], ["m"]), node("Tanh", ["m"], ["next"])]
    square = loop_body(nodes, ["s"], ["next"], {"w": double(8, 3, 3)})
    main = [node("Loop", ["n", "", "x"], ["y"], body=square)]
    checked(main, {"x": double(9, 2, 3)}, weights={"n": rounds(3)})


def test_steps_that_choose_a_branch() -> None:
    """If in Loop: odd steps take another way than even ones."""
    odd = body([node("MatMul", ["s", "w"], ["m"]), node("Tanh", ["m"], ["o"])], [], ["o"])
    even = body([node("Mul", ["s", "x"], ["e"])], [], ["e"])
    nodes = [
        ON,
        node("Mod", ["i", "two"], ["rest"]),
        node("Cast", ["rest"], ["is_odd"], to=onnx.TensorProto.BOOL),
        node("If", ["is_odd"], ["next"], then_branch=odd, else_branch=even),
    ]
    main = [node("Loop", ["n", "", "x"], ["y"], body=loop_body(nodes, ["s"], ["next"]))]
    weights = {"n": rounds(3), "two": rounds(2)}
    checked(main, {"x": double(10, 2, 3), "w": double(11, 3, 3)}, weights=weights)


def test_loop_in_loop() -> None:
    """The inner Loop reads a state of the outer one and is as long as that has gone."""
    nodes = [
        node("Identity", ["go_in"], ["go_in_on"]),
        node("Mul", ["t", "s"], ["u"]),
        node("Sin", ["u"], ["t_next"]),
    ]
    inner = loop_body(nodes, ["t"], ["t_next"])
    inner.input[0].name, inner.input[1].name, inner.output[0].name = "j", "go_in", "go_in_on"
    outer = [
        ON,
        node("Loop", ["i", "", "x"], ["last"], body=inner),
        node("Add", ["last", "s"], ["next"]),
    ]
    main = [node("Loop", ["n", "", "x"], ["y"], body=loop_body(outer, ["s"], ["next"]))]
    checked(main, {"x": double(12, 2, 3)}, weights={"n": rounds(3)})


@pytest.mark.parametrize("taken", [True, False])
def test_loop_in_if(taken: bool) -> None:
    looped = body([node("Loop", ["n", "", "x"], ["last", "each"], body=cell())], [], ["last"])
    plain = body([node("Sin", ["x"], ["p"])], [], ["p"])
    main = [node("If", ["taken"], ["y"], then_branch=looped, else_branch=plain)]
    feeds = {"x": double(13, 2, 3), "w": double(14, 3, 3), "taken": np.asarray(taken)}
    checked(main, feeds, weights={"n": rounds(3)})


def test_sequences_are_refused() -> None:
    """One that is read is reported where it grows, and where it ends as well."""
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.DOUBLE, None)
    kind = onnx.helper.make_sequence_type_proto(tensor)
    nodes = [
        ON,
        node("SequenceAt", ["list", "i"], ["e"]),
        node("Mul", ["s", "e"], ["next"]),
        node("SequenceInsert", ["list", "x"], ["longer"]),
    ]
    graph = loop_body(nodes, ["s", "list"], ["next", "longer"])
    for values in (graph.input[3], graph.output[2]):
        values.type.CopyFrom(kind)
    first = node("SequenceConstruct", ["one"], ["list_0"])
    looped = node("Loop", ["n", "", "x", "list_0"], ["y", "all"], body=graph, name="listing")
    weights = {"n": rounds(2), "one": np.ones((2, 3))}
    missing = refused([first, looped], weights)
    assert ("n_longer", "it has no adjoint rule") in missing
    joined = node("ConcatFromSequence", ["all"], ["z"], axis=0, name="joined")
    last = node("ReduceSum", ["z"], ["y"])
    looped = node("Loop", ["n", "", "x", "list_0"], ["p", "all"], body=graph)
    reason = "it has no adjoint rule"
    missing = refused([first, looped, joined, last], weights)
    assert missing == [("n_longer", reason), ("joined", reason)]
