"""Where a model looks integers up in a table: the embedding of token ids, and what ids it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from lsa_onnx.rewrite.graph import (
    attribute,
    consumers,
    dependents,
    is_standard,
    producers,
    true_inputs,
)
from lsa_onnx.rewrite.promote import PERTURBABLE

_MICROSOFT = "com.microsoft"
# They hand integers on as they are, so that an index can be traced to the input it comes from.
_HANDING_ON = frozenset(
    {"Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose"}
    | {"Unsqueeze"}
)
# They keep a shape. Behind a look-up in a table of another type they make the first floats.
_CONVERTING = frozenset({"Cast", "DequantizeLinear", "Identity"})
# Positions of ids and of their table among the inputs of EmbedLayerNormalization.
_EMBED_TABLES = ((0, 2), (1, 4), (8, 3))
# Position of the table that a look-up is for.
_MAIN = {"Gather": 0, "EmbedLayerNormalization": 2}


@dataclass(frozen=True)
class Table:
    """A constant in which rows are looked up.

    Attributes:
        shape: Of the constant.
        element: Its ONNX element type.
        values: What holds its numbers, ``None`` where they are computed from a constant.
    """

    shape: tuple[int, ...]
    element: int
    values: onnx.TensorProto | None


@dataclass(frozen=True)
class Lookup:
    """A node that looks up rows of a constant table.

    Attributes:
        node: The node.
        source: The input of the model whose values are looked up, ``None`` where they are computed.
        table: The constant.
        rows: Ids that the table has.
        negative: Whether ids below 0 count from its end.
        main: Whether the rows of this table are what the node is for.
    """

    node: onnx.NodeProto
    source: str | None
    table: Table
    rows: int
    negative: bool
    main: bool


@dataclass(frozen=True)
class Embedding:
    """The tensor in which ids have become floats.

    Attributes:
        tensor: Its name.
        source: The input that holds the ids.
        table: Holds every value that ``tensor`` can have; ``None`` where something is computed of them.
    """

    tensor: str
    source: str
    table: onnx.TensorProto | None


def find_embedding(model: onnx.ModelProto) -> Embedding | None:
    """The embedding with the largest table, of equal ones the first; ``None`` without any."""
    readers = consumers(model.graph)
    largest, found = 0, None
    for lookup in lookups(model):
        embedding = _embedding(lookup, readers)
        size = math.prod(lookup.table.shape)
        if embedding is not None and size > largest:
            largest, found = size, embedding
    return found


def id_limits(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Input name → the smallest and the largest id that every table has in which it is looked up."""
    found: dict[str, tuple[int, int]] = {}
    for lookup in lookups(model):
        if lookup.source is not None:
            least, most = -lookup.rows if lookup.negative else 0, lookup.rows - 1
            low, high = found.get(lookup.source, (least, most))
            found[lookup.source] = max(low, least), min(high, most)
    return found


def lookups(model: onnx.ModelProto) -> Iterator[Lookup]:
    """Every look-up of values that depend on an input, in graph order."""
    graph = model.graph
    inputs = [value.name for value in true_inputs(graph)]
    varying = dependents(graph, inputs, by_value=True)
    tables, makers = _constants(graph), producers(graph)
    for node in graph.node:
        for index, name, axis in _looked_up(node):
            table = tables.get(name)
            if index not in varying or table is None:
                continue
            rank = len(table.shape)
            if rank >= 2 and -rank <= axis < rank and table.shape[axis]:
                yield Lookup(
                    node=node,
                    source=_source(index, makers, inputs),
                    table=table,
                    rows=table.shape[axis],
                    negative=node.domain != _MICROSOFT,
                    main=axis % rank == 0 and name == node.input[_MAIN[node.op_type]],
                )


def _looked_up(node: onnx.NodeProto) -> Iterator[tuple[str, str, int]]:
    """Index, table and axis of each look-up of ``node``."""
    if is_standard(node, {"Gather"}):
        yield node.input[1], node.input[0], attribute(node, "axis", 0)
    elif node.domain == _MICROSOFT and node.op_type == "EmbedLayerNormalization":
        for index, table in _EMBED_TABLES:
            if max(index, table) < len(node.input) and node.input[index] and node.input[table]:
                yield node.input[index], node.input[table], 0


def _constants(graph: onnx.GraphProto) -> dict[str, Table]:
    """Constants, and what is converted of constants alone, by name."""
    found = {t.name: Table(tuple(t.dims), t.data_type, t) for t in graph.initializer}
    for node in graph.node:
        if is_standard(node, {"Constant"}):
            for tensor in (each.t for each in node.attribute if each.name == "value"):
                found[node.output[0]] = Table(tuple(tensor.dims), tensor.data_type, tensor)
        elif is_standard(node, _CONVERTING) and node.input[0] in found:
            old = found[node.input[0]]
            found[node.output[0]] = Table(old.shape, _converted(node, old.element), None)
    return found


def _source(name: str, makers: Mapping[str, onnx.NodeProto], inputs: list[str]) -> str | None:
    """The input that ``name`` holds values of."""
    while name not in inputs:
        node = makers.get(name)
        if node is None or not is_standard(node, _HANDING_ON):
            return None
        name = node.input[0]
    return name


def _embedding(lookup: Lookup, readers: Mapping[str, Sequence[onnx.NodeProto]]) -> Embedding | None:
    """The first tensor of floats behind ``lookup``."""
    if lookup.source is None or not lookup.main:
        return None
    tensor = lookup.node.output[0]
    if lookup.node.op_type != "Gather":
        # Words, positions and segments are added and normalised: the values are not the table's.
        return Embedding(tensor, lookup.source, None)
    element, table = lookup.table.element, lookup.table.values
    while element not in PERTURBABLE:
        reading = readers.get(tensor, [])
        reader = next((node for node in reading if is_standard(node, _CONVERTING)), None)
        if reader is None:
            return None
        element, tensor = _converted(reader, element), reader.output[0]
        table = None if reader.op_type == "DequantizeLinear" else table
    return Embedding(tensor, lookup.source, table)


def _converted(node: onnx.NodeProto, element: int) -> int:
    """The element type that one of ``_CONVERTING`` makes of ``element``."""
    if node.op_type == "Cast":
        return attribute(node, "to", onnx.TensorProto.FLOAT)
    return element if node.op_type == "Identity" else onnx.TensorProto.FLOAT
