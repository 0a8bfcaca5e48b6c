"""The adjoint of a body that runs step by step, as those of Loop and Scan do.

It runs over the same steps, last one first. Each step back computes the forward step again, from the
states at its start, and pulls the adjoints of its results back. The adjoints of the states are carried
from step to step, and so are the sums for tensors of the graphs around.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.vjp.control_bodies import (
    captured,
    declared,
    live_nodes,
    merged,
    returned,
)
from lsa_onnx.rewrite.vjp.registry import RuleRefused
from lsa_onnx.rewrite.vjp.sweep import active_tensors, needed_tensors, sweep
from lsa_onnx.rewrite.vjp.tape import Tape

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class State:
    """A tensor that is carried from step to step.

    Attributes:
        initial: Its first value, outside of the body.
        start: It at the start of a step, inside.
        end: It at the end of a step, inside.
    """

    initial: str
    start: str
    end: str


@dataclass(frozen=True)
class Sliced:
    """A tensor of which each step reads or makes one slice.

    Attributes:
        whole: The tensor outside of the body.
        slice: The slice inside.
        axis: The axis that counts the steps.
        direction: 0 where the first step has the first slice, 1 where it has the last.
    """

    whole: str
    slice: str
    axis: int = 0
    direction: int = 0


@dataclass(frozen=True)
class Steps:
    """A forward Loop or Scan.

    Attributes:
        body: What each step does.
        states: What is carried.
        items: What each step reads a slice of.
        results: What each step makes a slice of.
    """

    body: onnx.GraphProto
    states: Sequence[State]
    items: Sequence[Sliced]
    results: Sequence[Sliced]


@dataclass(frozen=True)
class StepBack:
    """The adjoint of one step, ready to become the body of a Loop or Scan.

    Attributes:
        nodes: Those of the forward step, then those of the adjoint.
        inputs: What is carried: adjoints of states, and sums for tensors of the graphs around.
        initial: ``inputs`` of the first step back, outside of the body.
        results: Adjoints of results, of which each step reads a slice.
        outputs: What becomes of ``inputs``, then the adjoints of ``items``.
        items: The items that have adjoints.
        sources: To which tensor outside of the body the adjoint in each of ``outputs`` belongs.
    """

    nodes: Sequence[onnx.NodeProto]
    inputs: Sequence[onnx.ValueInfoProto]
    initial: Sequence[str]
    results: Sequence[Sliced]
    outputs: Sequence[onnx.ValueInfoProto]
    items: Sequence[Sliced]
    sources: Sequence[str]

    @cached_property
    def read(self) -> set[str]:
        """All names that ``outputs`` depend on."""
        return live_nodes(self.nodes, [value.name for value in self.outputs])[1]


@dataclass(frozen=True)
class _Carried:
    """An adjoint of ``of`` that is carried from step to step; the other names as in ``StepBack``."""

    input: str
    of: str
    initial: str
    output: str
    source: str


def step_back(t: Tape, steps: Steps, adjoints: Sequence[str | None]) -> StepBack:
    """Write the adjoint of one step.

    Args:
        t: The tape of the graph around.
        steps: The forward node.
        adjoints: Of what that returns: states after the last step, then results.

    Raises:
        MissingRules: Nodes of the body have no adjoint.
        RuleRefused: A state that is no tensor would have to be carried or kept.
    """
    t.constants.update({tensor.name: tensor for tensor in steps.body.initializer})
    final = {s: g for s, g in zip(steps.states, adjoints, strict=False) if g is not None}
    given = _given(t, steps, adjoints)
    outside = [name for name in captured([steps.body]) if t.active(name)]
    items = [item for item in steps.items if t.active(item.whole)]
    sources = [*outside, *(item.slice for item in items)]
    flowing = _flowing(t, steps, sources, final, [name for name, _ in given])
    ends = {state: _like(t, state.start) for state in flowing}

    inner = t.child()
    seeds = [(state.end, end) for state, end in ends.items()]
    seeds += [(name, result.slice) for name, result in given]
    sources += [state.start for state in flowing]
    found = sweep(inner, list(steps.body.node), merged(inner, seeds), sources)

    carried = [_state(t, inner, s, end, final.get(s), found) for s, end in ends.items()]
    carried += [_sum(t, inner, name, found[name]) for name in outside if name in found]
    items = [item for item in items if item.slice in found]
    pairs = [(c.output, c.of) for c in carried] + [(found[i.slice], i.slice) for i in items]
    outputs = returned(inner, pairs)
    back = StepBack(
        nodes=[*steps.body.node, *inner.nodes],
        inputs=[declared(t, c.input, c.of, adjoint=True) for c in carried],
        initial=[c.initial for c in carried],
        results=[result for _, result in given],
        outputs=outputs,
        items=items,
        sources=[*(c.source for c in carried), *(item.whole for item in items)],
    )
    _require_tensors(steps.body, {*back.read, *(state.start for state in flowing)})
    return back


def _given(t: Tape, steps: Steps, adjoints: Sequence[str | None]) -> list[tuple[str, Sliced]]:
    """(Result of the body, its adjoint) of all results that have one."""
    results = zip(steps.results, adjoints[len(steps.states) :], strict=False)
    return [
        (result.slice, replace(result, whole=g, slice=_like(t, result.slice)))
        for result, g in results
        if g is not None
    ]


def _like(t: Tape, name: str) -> str:
    """A new name for an adjoint of ``name``."""
    fresh = t.names.fresh(name)
    t.known.alias(fresh, name)
    return fresh


def _state(
    t: Tape, inner: Tape, state: State, end: str, final: str | None, found: dict[str, str]
) -> _Carried:
    """The adjoint of ``state``, which is ``end`` before a step back."""
    initial = final or t.zeros_like(state.initial)
    start = found.get(state.start) or inner.zeros_like(end)
    return _Carried(end, state.start, initial, start, state.initial)


def _sum(t: Tape, inner: Tape, name: str, adjoint: str) -> _Carried:
    """The adjoint of a tensor of the graphs around, to which each step adds."""
    before = _like(t, name)
    return _Carried(before, name, t.zeros_like(name), inner.op("Add", before, adjoint), name)


def _flowing(
    t: Tape,
    steps: Steps,
    sources: Sequence[str],
    seeded: Collection[State],
    results: Sequence[str],
) -> list[State]:
    """The states through which adjoints flow: from ``seeded`` and ``results``, to ``sources``.

    What one step does to a state may reach the sources, or the results, only in another step.
    """
    nodes = list(steps.body.node)

    def reached(states: set[State]) -> set[str]:
        starts = {state.start for state in states}
        straight = t.straight_through
        return active_tensors(nodes, starts | {*sources}, t.known, straight_through=straight)

    active = settled(
        {state for state in steps.states if t.active(state.initial)},
        lambda states: {state for state in steps.states if state.end in reached(states)},
    )
    through = reached(active)

    def needed(states: set[State]) -> set[str]:
        return needed_tensors(nodes, through, [*results, *(state.end for state in states)])

    wanted = settled(
        active & set(seeded),
        lambda states: {state for state in active if state.start in needed(states)},
    )
    return [state for state in steps.states if state in wanted]


def settled(states: set[State], more: Callable[[set[State]], set[State]]) -> set[State]:
    """``states`` and what ``more`` makes of them, until nothing is added."""
    while (grown := states | more(states)) != states:
        states = grown
    return states


def _require_tensors(body: onnx.GraphProto, names: Collection[str]) -> None:
    for value in body.input:
        if value.name in names and value.type.WhichOneof("value") not in (None, "tensor_type"):
            raise RuleRefused(f"it carries {value.name!r}, which is not a tensor")
