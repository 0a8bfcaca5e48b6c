"""The bodies of If, Loop and Scan: where they are, and what in them depends on the model's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import onnx

from lsa_onnx.rewrite.graph import (
    attribute,
    dependents,
    is_standard,
    local_names,
    node_inputs,
    node_key,
    stable_names,
    true_inputs,
)

# Which input of their bodies is fed by what is known.
_LINKED = frozenset({"If", "Loop", "Scan", "SequenceMap"})


@dataclass(frozen=True)
class Body:
    """A graph inside of a node.

    Attributes:
        path: Names that lead from the main graph to it, such as "loop_0/body/If_2/then_branch".
        outer: Path of the body around it, ``None`` in the main graph.
        graph: The body.
        node: The node that carries it.
        varying: Those of its inputs, its own tensors and the outer ones it reads that depend on the
            values of the model's inputs.
        executed_by_values: Whether these values decide how often it runs, or a body around it does.
    """

    path: str
    outer: str | None
    graph: onnx.GraphProto
    node: onnx.NodeProto
    varying: frozenset[str]
    executed_by_values: bool


@dataclass(frozen=True)
class Place:
    """Where a body is: in the node at ``position`` of the graph around it. ``inner`` lie in it."""

    path: str
    position: int
    node: onnx.NodeProto
    graph: onnx.GraphProto
    inner: list[Place]


@dataclass(frozen=True)
class Link:
    """An input of a body: it gets ``fed`` from outside, then ``returned`` (or "") of the body."""

    name: str
    fed: str
    returned: str


def bodies(model: onnx.ModelProto) -> list[Body]:
    """All bodies of ``model``, in graph order, each before those inside of it."""
    inputs = [value.name for value in true_inputs(model.graph)]
    varying = dependents(model.graph, inputs, by_value=True)
    return list(_bodies(places(model.graph), None, varying, executed_by_values=False))


def places(graph: onnx.GraphProto) -> list[Place]:
    """Where the bodies in ``graph`` are; the paths depend on nothing but the graph."""
    return _places(graph, "", set())


def flat(where: Iterable[Place]) -> list[Place]:
    """These and all inside of them, in graph order, each before those inside of it."""
    return [each for place in where for each in (place, *flat(place.inner))]


def by_position(where: Iterable[Place]) -> dict[int, list[Place]]:
    """The bodies in one graph by the position of the node that carries them."""
    found: dict[int, list[Place]] = {}
    for place in where:
        found.setdefault(place.position, []).append(place)
    return found


def _places(graph: onnx.GraphProto, around: str, taken: set[str]) -> list[Place]:
    names = stable_names(graph)
    found = []
    for position, node in enumerate(graph.node):
        for name, body in _attributes(node):
            path = f"{around}{names[node_key(node)]}/{name}"
            # Nothing stops two nodes from having one name.
            while path in taken:
                path += "_"
            taken.add(path)
            inner = _places(body, f"{path}/", taken)
            found.append(Place(path, position, node, body, inner))
    return found


def _attributes(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies of ``node`` in the order of ``subgraphs``, with what leads to each."""
    for held in node.attribute:
        if held.type == onnx.AttributeProto.GRAPH:
            yield held.name, held.g
        elif held.type == onnx.AttributeProto.GRAPHS:
            yield from ((f"{held.name}_{index}", graph) for index, graph in enumerate(held.graphs))


def _bodies(
    where: Iterable[Place],
    outer: str | None,
    outside: AbstractSet[str],
    *,
    executed_by_values: bool,
) -> Iterator[Body]:
    for place in where:
        node, graph = place.node, place.graph
        varying = varying_inside(node, graph, outside)
        by_values = executed_by_values or _runs_by(node, graph, outside, varying)
        yield Body(place.path, outer, graph, node, frozenset(varying), by_values)
        yield from _bodies(place.inner, place.path, varying, executed_by_values=by_values)


def _runs_by(
    node: onnx.NodeProto,
    body: onnx.GraphProto,
    outside: AbstractSet[str],
    inside: AbstractSet[str],
) -> bool:
    """Whether how often ``body`` runs depends on what varies around and in it."""
    if is_standard(node, ("Scan",)):
        return False
    if is_standard(node, ("Loop",)):
        goes_on = {value.name for value in body.output[:1]}
        return not outside.isdisjoint(node.input[:2]) or not inside.isdisjoint(goes_on)
    return not outside.isdisjoint(node.input)


def varying_inside(
    node: onnx.NodeProto,
    body: onnx.GraphProto,
    outside: AbstractSet[str],
    *,
    also: Iterable[str] = (),
    by_value: bool = True,
) -> set[str]:
    """What of a body varies if ``outside`` of it does.

    A state varies as well if what the body returns for it does. The number of the iteration does not:
    it goes through the same values in every run. Nor does the condition: the body runs while it holds.

    Args:
        node: The node that carries the body.
        body: The body.
        outside: Tensors of the graph around it.
        also: Tensors of the body that vary whatever else does.
        by_value: As for ``dependents``.

    Returns:
        Names as the body sees them: its inputs, its own tensors and the outer ones it reads.
    """
    connected = links(node, body)
    sources = {*also, *(outer_reads(body) & outside)}
    sources |= {link.name for link in connected if link.fed in outside}
    if not is_standard(node, _LINKED) and not outside.isdisjoint(node.input):
        sources |= {value.name for value in body.input}
    while True:
        reached = dependents(body, sources, by_value=by_value)
        found = {link.name for link in connected if link.returned in reached}
        if found <= sources:
            return reached
        sources |= found


def links(node: onnx.NodeProto, body: onnx.GraphProto) -> list[Link]:
    """The inputs of a body that tensors of the graph around it feed, as far as that is known."""
    names = [value.name for value in body.input]
    ends = [value.name for value in body.output]
    if is_standard(node, ("Loop",)):
        return _links(names[2:], list(node.input)[2:], ends[1:])
    if is_standard(node, ("Scan",)):
        states = len(names) - attribute(node, "num_scan_inputs", 0)
        # Until opset 9 the lengths of the sequences came first.
        fed = list(node.input)[len(node.input) - len(names) :]
        return _links(names, fed, ends[:states])
    if is_standard(node, ("SequenceMap",)):
        return _links(names, list(node.input), [])
    return []


def _links(names: list[str], fed: list[str], returned: list[str]) -> list[Link]:
    padded = [*returned, *[""] * len(names)]
    return [Link(*row) for row in zip(names, fed, padded, strict=False)]


def outer_reads(body: onnx.GraphProto) -> set[str]:
    """The tensors of the graphs around it that a body reads, or returns as they are."""
    read = {name for node in body.node for name in node_inputs(node)}
    return (read | {value.name for value in body.output}) - local_names(body)
