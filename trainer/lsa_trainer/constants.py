"""Which constants of a file are weights, which of them train, and why the others do not.

An ONNX file does not say what was a parameter of the module that it came from: convolution kernels,
biases written as Add, embedding tables, running statistics, pixel means and masks are all constants.
The place at which a constant is read tells them apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import onnx
from onnx import TensorProto

from lsa_onnx.rewrite.graph import (
    consumers,
    dependents,
    names_in_use,
    producers,
    subgraphs,
    true_inputs,
)
from lsa_onnx.structure import first_output
from lsa_onnx.weights import element_count
from lsa_trainer.patterns import Patterns
from lsa_trainer.places import (
    ELEMENTWISE,
    FLOATS,
    LINEAR,
    MOVING,
    QUANTISED,
    SETTINGS,
    SLOTS,
    STATES,
    STATISTICS,
)
from lsa_trainer.weights import Constants, Use, Weight

Role = Literal["statistics", "weight", "inner", "constant"]

# A constant is the first of these that it is at any place where it is read.
_BY_RANK: tuple[Role, ...] = ("statistics", "weight", "inner", "constant")
# Nothing is both in the module that a file came from.
_DIFFERENT = frozenset({"statistics", "weight"})
_MERGED = "one tensor with others, whose readers are not in the main graph of the file"
# Where a node reads what only its body reads.
_IN_A_BODY = -1


def find_constants(
    model: onnx.ModelProto, patterns: Patterns, separable: Collection[Use]
) -> Constants:
    """Tell weights from other constants.

    Weights that several nodes read stay one (tied), except those whose values are all alike: exporters
    store the zero biases and unit scales of different layers as one tensor, and those were never one
    weight. Neither were a weight and running statistics.

    Args:
        model: In the dialect of the operator table; its values may be outside.
        patterns: Initializers that stand out by their numbers.
        separable: Places of the file where an initializer can be put in that only this place reads.
    """
    return _Search(model, patterns, separable).run()


class _Search:
    """What each constant of a model is read by."""

    def __init__(
        self, model: onnx.ModelProto, patterns: Patterns, separable: Collection[Use]
    ) -> None:
        self._graph = model.graph
        self._patterns, self._separable = patterns, frozenset(separable)
        self._readers = consumers(model.graph)
        self._makers = producers(model.graph)
        self._used = names_in_use(model.graph)
        inputs = [value.name for value in true_inputs(model.graph)]
        # By value: an Expand to the size of the batch still gives copies of a constant.
        self._of_input = dependents(model.graph, inputs, by_value=True)
        linear = [n.output[0] for n in model.graph.node if self._mixes(n)]
        sources = [name for name in linear if name in self._of_input]
        self._mixed = dependents(model.graph, sources, by_value=True)

    def run(self) -> Constants:
        found = [part for tensor in self._graph.initializer for part in self._parts(tensor)]
        weights = [part for role, part in found if role != "statistics"]
        statistics = [part for role, part in found if role == "statistics"]
        return Constants((*weights, *_inner_weights(self._graph)), tuple(statistics))

    def _parts(self, tensor: onnx.TensorProto) -> list[tuple[Role, Weight]]:
        """What a constant is: nothing that trains, one weight, or several that were merged."""
        uses = self._uses(tensor)
        role = _first(uses.values())
        if role == "constant":
            return []
        whole = self._whole(tensor, role)
        filled = tensor.name in self._patterns.filled
        if whole.frozen or len(uses) < 2 or not (filled or _DIFFERENT.issubset(uses.values())):
            return [(role, whole)]
        if not self._separable.issuperset(uses):
            return [(role, replace(whole, frozen=_MERGED) if role == "statistics" else whole)]
        copies = [use for use, each in uses.items() if each != "constant"]
        names = self._names(tensor.name, copies, among_others=len(copies) < len(uses))
        return [
            (uses[use], replace(whole, name=name, use=use, layer=self._layer_of(use[0])))
            for use, name in zip(copies, names, strict=True)
        ]

    def _uses(self, tensor: onnx.TensorProto) -> dict[Use, Role]:
        """Where a constant is read, and what it is there or behind nodes of constants alone."""
        if tensor.data_type not in FLOATS:
            return self._quantised_uses(tensor.name)
        found: dict[Use, Role] = {}
        for node in self._readers.get(tensor.name, ()):
            places = _places(node, tensor.name)
            here = {place: self._role_at(node, place, tensor) for place in places}
            here = here or {_IN_A_BODY: _role_in_body(tensor)}
            behind = set(self._roles_behind(node, places, tensor, set()))
            for place, role in here.items():
                found[first_output(node), place] = _first({role, *behind})
        return found

    def _roles_behind(
        self, node: onnx.NodeProto, places: list[int], tensor: onnx.TensorProto, seen: set[str]
    ) -> Iterator[Role]:
        """What is made of ``tensor`` by ``node``, which reads it at ``places``, is to its readers."""
        if element_count(tensor) == 1 and node.op_type not in MOVING:
            return
        if SETTINGS.get(node.op_type, frozenset()).issuperset(places):
            return
        for result in node.output:
            if not result or result in self._of_input or result in seen:
                continue
            seen.add(result)
            for reader in self._readers.get(result, ()):
                there = _places(reader, result)
                yield from (self._role_at(reader, place, tensor) for place in there)
                if not there:
                    yield _role_in_body(tensor)
                yield from self._roles_behind(reader, there, tensor, seen)

    def _role_at(self, node: onnx.NodeProto, place: int, tensor: onnx.TensorProto) -> Role:
        if place in STATISTICS.get(node.op_type, ()):
            return "statistics"
        if node.op_type == "Gather" and not self._is_lookup(node):
            return "constant"
        if place in STATES.get(node.op_type, ()) and tensor.name in self._patterns.filled:
            return "constant"
        if place in SLOTS.get(node.op_type, ()):
            return "weight"
        if node.op_type in ELEMENTWISE and tensor.name in self._patterns.masks:
            return "constant"
        joined = node.op_type == "Concat" and tensor.name not in self._patterns.filled
        if (joined or node.op_type in ELEMENTWISE) and element_count(tensor) > 1:
            others = [name for i, name in enumerate(node.input) if i != place]
            return "weight" if any(name in self._mixed for name in others) else "constant"
        return "constant"

    def _mixes(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Gather":
            return self._is_lookup(node) and node.input[0] not in self._of_input
        return node.op_type in LINEAR

    def _is_lookup(self, node: onnx.NodeProto) -> bool:
        """Whether a Gather reads rows that the input chooses, as an embedding does."""
        return len(node.input) > 1 and node.input[1] in self._of_input

    def _quantised_uses(self, name: str) -> dict[Use, Role]:
        return {
            (first_output(node), place): "weight"
            for node in self._readers.get(name, ())
            for place in QUANTISED.get(node.op_type, ())
            if node.input[place] == name
        }

    def _whole(self, tensor: onnx.TensorProto, role: Role) -> Weight:
        return Weight(
            name=tensor.name,
            source=tensor.name,
            elements=element_count(tensor),
            shape=tuple(tensor.dims),
            frozen=self._frozen(tensor, role),
            layer=self._layer(tensor.name),
        )

    def _frozen(self, tensor: onnx.TensorProto, role: Role) -> str:
        if tensor.data_type not in FLOATS:
            return _quantised(tensor)
        reader = self._makers.get(self._layer(tensor.name))
        return _inside(reader) if role == "inner" and reader else ""

    def _names(self, name: str, uses: Sequence[Use], *, among_others: bool) -> Iterator[str]:
        """For each copy a name of its own: an Identity has the one that the exporter took away.

        The name of the tensor itself is free for a copy unless the tensor is read elsewhere (``among_others``).
        """
        identities = {n.output[0] for n in self._readers[name] if n.op_type == "Identity"}
        numbered = (f"{name}.{number}" for number in itertools.count(2))
        free = (new for new in numbered if new not in self._used)
        own = itertools.chain([] if among_others else [name], free)
        return (result if result in identities else next(own) for result, _ in uses)

    def _layer(self, name: str) -> str:
        found = (self._layer_of(first_output(node)) for node in self._readers.get(name, ()))
        return next(filter(None, found), "")

    def _layer_of(self, name: str) -> str:
        """The first tensor from ``name`` on that depends on the input."""
        seen = {name}
        while name not in self._of_input:
            readers = self._readers.get(name, ())
            name = next((n.output[0] for n in readers if n.output[0] not in seen), "")
            if not name:
                return ""
            seen.add(name)
        return name


def _first(roles: Iterable[Role]) -> Role:
    return min(roles, key=_BY_RANK.index, default="constant")


def _places(node: onnx.NodeProto, name: str) -> list[int]:
    return [place for place, given in enumerate(node.input) if given == name]


def _role_in_body(tensor: onnx.TensorProto) -> Role:
    return "inner" if element_count(tensor) > 1 else "constant"


def _quantised(tensor: onnx.TensorProto) -> str:
    kind = TensorProto.DataType.Name(tensor.data_type).lower()
    return f"quantised to {kind}: harden the float model and quantise again"


def _inside(node: onnx.NodeProto) -> str:
    return f"inside the body of {node.op_type} {node.name or node.output[0]!r}"


def _inner_weights(graph: onnx.GraphProto) -> Iterator[Weight]:
    """Float constants of some size inside bodies: they are not reached by name."""
    for node in graph.node:
        for body in subgraphs(node):
            for tensor in body.initializer:
                if tensor.data_type in FLOATS and element_count(tensor) > 1:
                    yield Weight(
                        name=tensor.name,
                        source=tensor.name,
                        elements=element_count(tensor),
                        shape=tuple(tensor.dims),
                        frozen=_inside(node),
                        layer=node.output[0],
                    )
            yield from _inner_weights(body)
