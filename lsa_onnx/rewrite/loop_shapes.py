"""Shape inference that goes through Loops.

ONNX's own stops at a Loop, since the shape of a state may change from step to step. Most do not: a
state is taken to keep the shape of its first value unless the body is found to give it another one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import onnx

from lsa_onnx.rewrite.graph import copy_model, dimensions, inferred, is_standard, subgraphs

Types = Mapping[str, onnx.TypeProto]


@dataclass(frozen=True)
class _Loop:
    """A Loop of ``graph`` and what it makes.

    Attributes:
        graph: The graph around it.
        states: (first value, input of the body, output of the body, output of the node) of each state.
        results: (output of the body, output of the node) of what it stacks.
        length: What stands for the number of steps.
    """

    graph: onnx.GraphProto
    states: list[tuple[str, onnx.ValueInfoProto, str, str]]
    results: list[tuple[str, str]]
    length: int


def infer_through_loops(model: onnx.ModelProto, lengths: int) -> onnx.ModelProto:
    """Infer types and shapes.

    Args:
        model: A model whose names are unique; it is not changed.
        lengths: What stands for the number of steps of the first Loop; the others count from there.

    Returns:
        A copy of the model with all that was found.
    """
    if not any(_loops(model.graph, count(lengths))):
        return inferred(model)
    changing: set[str] = set()
    while True:
        shaped = _inferred(copy_model(model), lengths, changing)
        types = dict(_types(shaped.graph))
        wrong = {
            start.name
            for loop in _loops(shaped.graph, count(lengths))
            for _, start, end, _ in loop.states
            if start.name in types and end in types
            if _numbers(types[end]) != _numbers(types[start.name])
        }
        # A body may declare shapes that contradict each other; nothing is assumed of those.
        if wrong <= changing:
            return shaped
        changing |= wrong


def _inferred(model: onnx.ModelProto, lengths: int, changing: Container[str]) -> onnx.ModelProto:
    """Infer, and write into ``model`` what that lets assume of Loops, until it is nothing new."""
    loops = list(_loops(model.graph, count(lengths)))
    while True:
        shaped = inferred(model)
        types = dict(_types(shaped.graph))
        assumed = [_assume(loop, types, changing) for loop in loops]
        if not any(assumed):
            return shaped


def _loops(graph: onnx.GraphProto, lengths: Iterator[int]) -> Iterator[_Loop]:
    """The Loops of ``graph`` and its bodies, outer ones first."""
    for node in graph.node:
        if is_standard(node, ("Loop",)):
            (body,) = subgraphs(node)
            initial = list(node.input)[2:]
            ends = [value.name for value in body.output][1:]
            states = zip(initial, list(body.input)[2:], ends, node.output, strict=False)
            stacked = zip(ends[len(initial) :], node.output[len(initial) :], strict=False)
            yield _Loop(graph, list(states), list(stacked), next(lengths))
        for body in subgraphs(node):
            yield from _loops(body, lengths)


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto]]:
    """The types of all tensors whose shapes are numbers, bodies included."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        if _numbers(value.type) is not None:
            yield value.name, value.type
    for tensor in graph.initializer:
        yield tensor.name, onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    for node in graph.node:
        for body in subgraphs(node):
            yield from _types(body)


def _numbers(kind: onnx.TypeProto | None) -> list[int] | None:
    """A shape all of whose dimensions are numbers, else ``None``."""
    dims = dimensions(onnx.ValueInfoProto(type=kind))
    numbers = [d for d in dims or () if isinstance(d, int)]
    return numbers if dims is not None and len(numbers) == len(dims) else None


def _assume(loop: _Loop, types: Types, changing: Container[str]) -> bool:
    """Declare what follows from the shapes that are known by now; whether anything did."""
    known = [(s, types[i], o) for i, s, _, o in loop.states if i in types]
    new = [(s, t, o) for s, t, o in known if s.name not in changing and _numbers(s.type) is None]
    for start, kind, output in new:
        start.type.CopyFrom(kind)
        _declare(loop.graph, output, kind)
    stacked = [(o, types[r]) for r, o in loop.results if o and r in types and o not in types]
    for output, kind in stacked:
        dims = [loop.length, *(_numbers(kind) or ())]
        made = onnx.helper.make_tensor_type_proto(kind.tensor_type.elem_type, dims)
        _declare(loop.graph, output, made)
    return bool(new or stacked)


def _declare(graph: onnx.GraphProto, name: str, kind: onnx.TypeProto) -> None:
    """Say what type a tensor that a node of ``graph`` makes has."""
    declared = [value for value in graph.output if value.name == name]
    if not declared and name:
        declared = [graph.value_info.add(name=name)]
    for value in declared:
        value.type.CopyFrom(kind)
