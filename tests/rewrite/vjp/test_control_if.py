"""Adjoints of If against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import model, node, value
from tests.rewrite.gradients import pulled_back
from tests.rewrite.vjp.bodies import DOUBLE, body, checked, double

Array = NDArray[Any]

THEN = body([node("Mul", ["h", "x"], ["a"]), node("Tanh", ["a"], ["b"])], [], ["b"])
ELSE = body([node("MatMul", ["h", "w"], ["c"]), node("Sin", ["c"], ["d"])], [], ["d"])


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("taken", [True, False])
def test_branches_read_tensors_of_the_graph_around(taken: bool, free: bool) -> None:
    nodes = [
        node("Exp", ["x"], ["h"]),
        node("If", ["taken"], ["z"], then_branch=THEN, else_branch=ELSE),
        node("Mul", ["z", "h"], ["y"]),
    ]
    feeds = {"x": double(0, 2, 3), "w": double(1, 3, 3), "taken": np.asarray(taken)}
    checked(nodes, feeds, shapes={"x": ["N", 3]} if free else {})


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_may_ignore_the_input(taken: bool) -> None:
    one = np.ones((2, 3))
    constant = body([node("Neg", ["one"], ["a"])], [], ["a"], {"one": one})
    nodes = [
        node("Exp", ["x"], ["h"]),
        node("If", ["taken"], ["y"], then_branch=constant, else_branch=ELSE),
    ]
    feeds = {"x": double(0, 2, 3), "w": double(1, 3, 3), "taken": np.asarray(taken)}
    checked(nodes, feeds)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_condition_may_depend_on_the_input(sign: int) -> None:
    halves = [body([node(kind, ["x"], [kind])], [], [kind]) for kind in ("Exp", "Tanh")]
    nodes = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=halves[0], else_branch=halves[1]),
    ]
    checked(nodes, {"x": sign * np.abs(double(2, 3, 2))}, weights={"zero": np.asarray(0.0)})


@pytest.mark.parametrize("taken", [True, False])
def test_branches_of_different_shapes_and_several_outputs(taken: bool) -> None:
    wide = body(
        [
            node("MatMul", ["x", "m"], ["two"]),
            node("Mul", ["two", "two"], ["a"]),
            node("Exp", ["x"], ["b"]),
        ],
        [],
        ["a", "b"],
        {"m": double(5, 3, 4)},
    )
    # Returns one tensor as it is read, and one that both of its results are made of.
    same = body(
        [node("Identity", ["x"], ["c"]), node("Mul", ["c", "c"], ["d"])],
        [],
        ["c", "d"],
    )
    nodes = [
        node("If", ["taken"], ["p", "q"], then_branch=wide, else_branch=same),
        node("Sin", ["p"], ["y"]),
    ]
    feeds = {"x": double(3, 2, 3), "taken": np.asarray(taken)}
    checked(nodes, feeds, ["y", "q"])
    checked(nodes, feeds, ["q"])


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_if_in_if(outer: bool, inner: bool) -> None:
    scaled = body([node("Mul", ["e", "three"], ["s"])], [], ["s"], {"three": np.asarray(3.0)})
    shifted = body([node("Mul", ["e", "x"], ["t"])], [], ["t"])
    nested = body(
        [
            node("Exp", ["x"], ["e"]),
            node("If", ["inner"], ["f"], then_branch=scaled, else_branch=shifted),
            node("Mul", ["f", "e"], ["g"]),
        ],
        [],
        ["g"],
    )
    plain = body([node("Neg", ["x"], ["k"])], [], ["k"])
    nodes = [node("If", ["outer"], ["y"], then_branch=nested, else_branch=plain)]
    feeds = {"x": double(4, 2, 3), "outer": np.asarray(outer), "inner": np.asarray(inner)}
    checked(nodes, feeds)


def test_operators_without_a_rule_are_named_for_both_branches() -> None:
    halves = [
        body([node("Strange", ["x"], [n], name=n, domain="elsewhere")], [], [n])
        for n in ("first", "second")
    ]
    proto = model(
        [node("If", ["taken"], ["y"], then_branch=halves[0], else_branch=halves[1])],
        [value("x", [2, 3], DOUBLE), value("taken", [], "bool")],
        [value("y", None, DOUBLE)],
        opset=18,
        imports={"elsewhere": 1},
    )
    with pytest.raises(MissingRules) as raised:
        pulled_back(proto, ["x"])
    assert [missing.node.name for missing in raised.value.nodes] == ["first", "second"]
