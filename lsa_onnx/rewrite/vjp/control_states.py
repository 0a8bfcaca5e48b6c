"""The states at the start of each step of a Loop or Scan, kept for the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx import helper

from lsa_onnx.rewrite.vjp.control_bodies import declared, live_nodes
from lsa_onnx.rewrite.vjp.control_steps import State, Steps, settled
from lsa_onnx.rewrite.vjp.tape import Tape

if TYPE_CHECKING:
    import onnx


def states_behind(steps: Steps, results: Sequence[str]) -> list[int]:
    """Indices of the states on which ``results`` of the body depend after any number of steps."""
    nodes = list(steps.body.node)

    def read(states: set[State]) -> set[State]:
        names = live_nodes(nodes, [*results, *(state.end for state in states)])[1]
        return {state for state in steps.states if state.start in names}

    behind = settled(set(), read)
    return [index for index, state in enumerate(steps.states) if state in behind]


def copies_of(
    t: Tape, names: Sequence[str]
) -> tuple[list[onnx.NodeProto], list[onnx.ValueInfoProto]]:
    """Nodes that copy ``names``, and the copies as results of a body."""
    copies = [t.names.fresh(name) for name in names]
    nodes = [
        helper.make_node("Identity", [name], [copy], copy)
        for name, copy in zip(names, copies, strict=True)
    ]
    values = [
        declared(t, copy, name, adjoint=False) for name, copy in zip(names, copies, strict=True)
    ]
    return nodes, values
