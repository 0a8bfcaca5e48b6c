"""Where trained values go in the message of a model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

from lsa_onnx.rewrite.graph import add_initializer, is_standard, names_in_use, subgraphs
from lsa_onnx.stored import StoredModel
from lsa_onnx.structure import first_output
from lsa_onnx.untied import UNTIED, leads_to, makers_of, walk_nodes
from lsa_onnx.weights import all_tensors, is_external
from lsa_trainer.writeback.errors import WriteBackError
from lsa_trainer.writeback.numbers import FLOATS, rounded, same_bits, store

Array = NDArray[Any]
Kind = Literal["initializer", "constant"]

# Location, first byte and the byte behind the last.
_Region: TypeAlias = tuple[str, int, int]
# What is added to a data file begins on a page, so that a runtime can map it.
_ALIGNMENT = 4096


@dataclass(frozen=True)
class Placement:
    """The place of a weight in a model file.

    Attributes:
        name: The initializer, or the output of the ``Constant`` node.
        kind: Which of the two.
        consumer: For a weight that is not shared although the file shares its tensor (exporters merge
            equal initializers): the one node that reads it, by its first output, and the index of the
            input. ``None`` for the tensor itself.
    """

    name: str
    kind: Kind
    consumer: tuple[str, int] | None = None


@dataclass(frozen=True)
class Patch:
    """Values that go into an external data file at a byte offset, perhaps behind its end."""

    location: str
    offset: int
    values: Array


@dataclass(frozen=True)
class _Held:
    """A tensor of the file, or the number or numbers that a ``Constant`` node holds as an attribute."""

    name: str
    holder: TensorProto | AttributeProto

    @property
    def element(self) -> int:
        if isinstance(self.holder, TensorProto):
            return self.holder.data_type
        floats = self.holder.type in (AttributeProto.FLOAT, AttributeProto.FLOATS)
        return TensorProto.FLOAT if floats else TensorProto.INT64

    def values(self, stored: StoredModel) -> Array:
        if isinstance(self.holder, TensorProto):
            return stored.values(self.holder)
        return np.asarray(onnx.helper.get_attribute_value(self.holder), np.float32)


@dataclass
class _Placing:
    """The message that is changed, and what goes into its data files."""

    stored: StoredModel
    held: dict[tuple[str, Kind], list[_Held]]
    patches: list[Patch] = field(default_factory=list)
    # Name and kind → what the tensor holds from now on.
    now: dict[tuple[str, Kind], Array] = field(default_factory=dict)

    def find(self, placement: Placement) -> _Held:
        found = self.held.get((placement.name, placement.kind), [])
        if len(found) != 1:
            problem = f"is the name of {len(found)} tensors" if found else "is not in the file"
            raise WriteBackError(
                f"{placement.kind} {placement.name!r} {problem}; only dense tensors outside of "
                "functions, with a name of their own, can be replaced"
            )
        return found[0]


def place(stored: StoredModel, weights: Mapping[Placement, Array]) -> list[Patch]:
    """Put trained values into ``stored.proto`` (changed).

    Tensors keep their element type (values are rounded to it) and the field that holds them. A weight
    with a consumer gets an initializer of its own where its values differ from those of the shared
    tensor; the consumer then reads that one. Where this would leave the tensor without a reader, the
    first of them keeps it.

    Args:
        stored: The model.
        weights: The trained values, of the shapes that the tensors have.

    Returns:
        What to write into the data files of ``stored``, for tensors that are there.

    Raises:
        WriteBackError: There is no such tensor, or it cannot take the values.
    """
    placing = _Placing(stored, _tensors_by_name(stored.proto.graph))
    apart = _overlapping(stored)
    shared: dict[Placement, dict[tuple[str, int], Array]] = {}
    for placement, given in weights.items():
        if placement.consumer is None:
            _replace(placing, placement, given, apart)
        else:
            whole = replace(placement, consumer=None)
            shared.setdefault(whole, {})[placement.consumer] = given
    for placement, copies in shared.items():
        _untie(placing, placement, copies, apart)
    return placing.patches


def writable(model: onnx.ModelProto) -> dict[str, Kind]:
    """The tensors that can take trained values, by name: floats, dense, and with a name of their own."""
    return {
        name: kind
        for (name, kind), found in _tensors_by_name(model.graph).items()
        if len(found) == 1 and found[0].element in FLOATS
    }


def _tensors_by_name(graph: onnx.GraphProto) -> dict[tuple[str, Kind], list[_Held]]:
    found: dict[tuple[str, Kind], list[_Held]] = {}

    def add(kind: Kind, name: str, holder: TensorProto | AttributeProto) -> None:
        found.setdefault((name, kind), []).append(_Held(name, holder))

    graphs = [graph, *(inner for node in walk_nodes(graph) for inner in subgraphs(node))]
    for each in graphs:
        for tensor in each.initializer:
            add("initializer", tensor.name, tensor)
    for node in walk_nodes(graph):
        if is_standard(node, {"Constant"}):
            for attribute in node.attribute:
                if attribute.name == "value":
                    add("constant", first_output(node), attribute.t)
                elif attribute.name in ("value_float", "value_floats", "value_int", "value_ints"):
                    add("constant", first_output(node), attribute)
    return found


def _replace(placing: _Placing, placement: Placement, given: Array, apart: set[_Region]) -> None:
    held = placing.find(placement)
    old = held.values(placing.stored)
    values = rounded(held.name, held.element, np.asarray(given), old)
    placing.now[placement.name, placement.kind] = values
    if same_bits(values, old):
        return
    if isinstance(held.holder, AttributeProto):
        _store_attribute(held.holder, values)
    elif not is_external(held.holder):
        store(held.holder, values)
    elif _region(placing.stored, held.holder) in apart:
        _append(placing, held.holder, values)
    else:
        _, offset, _ = placing.stored.place(held.holder)
        placing.patches.append(Patch(_location(held.holder), offset, values))


def _store_attribute(attribute: AttributeProto, values: Array) -> None:
    if attribute.type == AttributeProto.FLOAT:
        attribute.f = float(values)
    else:
        attribute.floats[:] = values.tolist()


def _location(tensor: TensorProto) -> str:
    location: str = next(e.value for e in tensor.external_data if e.key == "location")
    return location


def _append(placing: _Placing, tensor: TensorProto, values: Array) -> None:
    """Give ``tensor`` (changed) a place of its own behind all data of its file."""
    location = _location(tensor)
    end = placing.stored.files[location].stat().st_size
    ends = [p.offset + p.values.nbytes for p in placing.patches if p.location == location]
    offset = -(-max([end, *ends]) // _ALIGNMENT) * _ALIGNMENT
    del tensor.external_data[:]
    entries = {"location": location, "offset": str(offset), "length": str(values.nbytes)}
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    placing.patches.append(Patch(location, offset, values))


def _overlapping(stored: StoredModel) -> set[_Region]:
    """Regions of data files that overlap with another tensor's: to change one tensor is to move it."""
    external = [tensor for tensor in all_tensors(stored.proto) if is_external(tensor)]
    found: set[_Region] = set()
    widest: _Region = ("", 0, 0)
    for region in sorted(_region(stored, tensor) for tensor in external):
        apart = region[0] != widest[0] or region[1] >= widest[2]
        if not apart:
            found |= {region, widest}
        if apart or region[2] > widest[2]:
            widest = region
    return found


def _region(stored: StoredModel, tensor: TensorProto) -> _Region:
    _, offset, length = stored.place(tensor)
    return _location(tensor), offset, offset + length


def _untie(
    placing: _Placing,
    placement: Placement,
    copies: Mapping[tuple[str, int], Array],
    apart: set[_Region],
) -> None:
    held, graph = placing.find(placement), placing.stored.proto.graph
    key = (placement.name, placement.kind)
    shared = placing.now[key] if key in placing.now else held.values(placing.stored)
    own = {}
    for consumer, given in copies.items():
        values = rounded(held.name, held.element, np.asarray(given), shared)
        node = _consumer(graph, placement.name, consumer)
        if not same_bits(values, shared):
            own[consumer] = node, values
    if own and key not in placing.now and own.keys() == _readers(graph, placement.name):
        _, values = own.pop(next(iter(own)))
        _replace(placing, placement, values, apart)
    for (_, index), (node, values) in own.items():
        tensor = _sibling(placing, held, values, _free_name(graph, placement.name))
        add_initializer(placing.stored.proto, tensor)
        node.input[index] = tensor.name


def _readers(graph: onnx.GraphProto, name: str) -> set[tuple[str, int]]:
    """Where a tensor is read by its name; a graph that returns it is a reader too."""
    nodes = list(walk_nodes(graph))
    bodies = [graph, *(body for node in nodes for body in subgraphs(node))]
    returned = {("", i) for body in bodies for i, v in enumerate(body.output) if v.name == name}
    return returned | {
        (first_output(node), index)
        for node in nodes
        for index, given in enumerate(node.input)
        if given == name
    }


def _consumer(graph: onnx.GraphProto, name: str, consumer: tuple[str, int]) -> onnx.NodeProto:
    output, index = consumer
    makers = makers_of(graph)
    for node in walk_nodes(graph):
        if first_output(node) != output or index >= len(node.input):
            continue
        if leads_to(makers, node.input[index], name):
            return node
    raise WriteBackError(
        f"no node that makes {output!r} reads {name!r} as its input {index}; give the first output "
        "and the input of a node that does, outside of functions"
    )


def _free_name(graph: onnx.GraphProto, name: str) -> str:
    used, number = names_in_use(graph), 1
    while f"{name}{UNTIED}{number}" in used:
        number += 1
    return f"{name}{UNTIED}{number}"


def _sibling(placing: _Placing, held: _Held, values: Array, name: str) -> TensorProto:
    """A tensor of this name that is stored as ``held`` is, and holds ``values``."""
    tensor = TensorProto(name=name, data_type=held.element, dims=values.shape)
    original = held.holder
    if isinstance(original, AttributeProto) or not is_external(original):
        tensor.raw_data = values.tobytes()
        return tensor
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=_location(original))
    _append(placing, tensor, values)
    return tensor
