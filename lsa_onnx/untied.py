"""Tensors that were split, one for each reader: exporters merge what is equal, and training parts it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import is_standard, subgraphs
from lsa_onnx.structure import constant_tensor, first_output

if TYPE_CHECKING:
    import onnx

# Between the name of the tensor that was split and a number.
UNTIED = "__untied_"
_NAME = re.compile(rf"(.+){UNTIED}\d+", re.DOTALL)


def find_untied(old: onnx.ModelProto, new: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The initializers of ``new`` that were split off a tensor of ``old``.

    Returns:
        Name of an initializer that only ``new`` has → the tensor, of the same element type and shape,
        that every one of its readers reads at that place in ``old``.
    """
    before = _constants(old.graph)
    parts = dict(_parts(before, new.graph))
    makers = makers_of(old.graph)
    read: dict[str, bool] = {}
    for node, original in zip_longest(walk_nodes(new.graph), walk_nodes(old.graph)):
        for place, name in enumerate(node.input if node else ()):
            if name in parts:
                there = original.input[place : place + 1] if original else ()
                same = any(leads_to(makers, each, parts[name]) for each in there)
                read[name] = same and read.get(name, True)
    return {name: before[parts[name]] for name in parts if read.get(name)}


def _parts(
    before: Mapping[str, onnx.TensorProto], graph: onnx.GraphProto
) -> Iterator[tuple[str, str]]:
    """Initializers that ``before`` lacks, and the tensors there that they may be parts of, by name."""
    for tensor in graph.initializer:
        match = _NAME.fullmatch(tensor.name)
        whole = before.get(match[1]) if match and tensor.name not in before else None
        if match and whole is not None and _kind(whole) == _kind(tensor):
            yield tensor.name, match[1]


def _kind(tensor: onnx.TensorProto) -> tuple[int, list[int]]:
    return tensor.data_type, list(tensor.dims)


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """What initializers and ``Constant`` nodes hold, by the name under which it is read."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in walk_nodes(graph):
        found |= {tensor.name: tensor for body in subgraphs(node) for tensor in body.initializer}
        held = (constant_tensor(node, attribute) for attribute in node.attribute)
        found |= {first_output(node): tensor for tensor in held if tensor is not None}
    return found


def walk_nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """The nodes of ``graph`` and of the graphs inside it."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from walk_nodes(inner)


def leads_to(makers: Mapping[str, onnx.NodeProto], name: str, origin: str) -> bool:
    """Whether ``name`` is ``origin``, or a copy of it made by ``Identity`` nodes."""
    seen = set()
    while name != origin and name not in seen:
        seen.add(name)
        maker = makers.get(name)
        if maker is None or not is_standard(maker, {"Identity"}):
            return False
        name = maker.input[0]
    return name == origin


def makers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Tensor → the node that makes it, also inside subgraphs."""
    return {output: node for node in walk_nodes(graph) for output in node.output if output}
