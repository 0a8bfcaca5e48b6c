"""Which constants of a file are weights, which of them train, and why the others do not.

An ONNX file does not say what was a parameter of the module that it came from: convolution kernels,
biases written as Add, embedding tables, running statistics, pixel means and masks are all constants.
The place at which a constant is read tells them apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
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

Use = tuple[str, int]
Role = Literal["statistics", "weight", "inner", "constant"]

# The first that applies to any place where a constant is read.
_BY_RANK: tuple[Role, ...] = ("statistics", "weight", "inner")


@dataclass(frozen=True)
class Weight:
    """A constant that is a weight.

    Attributes:
        name: Of the parameter: the initializer's, or for an untied copy that of its only reader.
        source: The tensor of the file that holds its value: an initializer, or what a Constant makes.
        elements: How many numbers it has.
        shape: In ONNX's layout.
        use: For an untied copy, where it is read: (first output of the node, place of the input).
        frozen: Why it does not train, "" if it does.
        layer: The tensor that the first operator to read it makes.
    """

    name: str
    source: str
    elements: int
    shape: tuple[int, ...]
    use: Use | None = None
    frozen: str = ""
    layer: str = ""

    @property
    def trains(self) -> bool:
        """Whether it trains."""
        return not self.frozen


@dataclass(frozen=True)
class Constants:
    """The constants of a model by what they are.

    Attributes:
        weights: Weights, in the order of the file.
        statistics: Running means and variances.
    """

    weights: tuple[Weight, ...]
    statistics: tuple[str, ...]

    @property
    def trainable(self) -> int:
        """Numbers that train."""
        return sum(w.elements for w in self.weights if w.trains)

    @property
    def share(self) -> float:
        """The part of all weights that trains, 0 to 1; 0 where there are none."""
        total = sum(w.elements for w in self.weights)
        return self.trainable / total if total else 0.0

    @property
    def untied(self) -> dict[Use, str]:
        """Where an untied copy is read → its name."""
        return {w.use: w.name for w in self.weights if w.use is not None}

    def only(self, writable: Collection[str], reason: str) -> Constants:
        """The same, with weights frozen that are not among ``writable``."""
        weights = tuple(
            w if w.source in writable or w.frozen else replace(w, frozen=reason)
            for w in self.weights
        )
        return Constants(weights, self.statistics)


def find_constants(
    model: onnx.ModelProto, patterns: Patterns, separable: Collection[Use]
) -> Constants:
    """Tell weights from other constants.

    Weights that several nodes read stay one (tied), except those whose values are all alike: exporters
    store the zero biases and unit scales of different layers as one tensor, and those were never one
    weight.

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
        self._patterns, self._separable = patterns, separable
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
        weights: list[Weight] = []
        statistics = []
        for tensor in self._graph.initializer:
            role = self._role(tensor)
            if role == "statistics":
                statistics.append(tensor.name)
            elif role != "constant":
                weights += self._copies(tensor, role)
        return Constants((*weights, *_inner_weights(self._graph)), tuple(statistics))

    def _role(self, tensor: onnx.TensorProto) -> Role:
        if tensor.data_type not in FLOATS:
            return "weight" if self._is_quantised(tensor.name) else "constant"
        found = set(self._roles(tensor.name, tensor, set()))
        return next((role for role in _BY_RANK if role in found), "constant")

    def _roles(self, name: str, tensor: onnx.TensorProto, seen: set[str]) -> Iterator[Role]:
        """What ``name``, made of ``tensor``, is to its readers, also behind nodes of constants alone."""
        elements = element_count(tensor)
        for node in self._readers.get(name, ()):
            places = [i for i, given in enumerate(node.input) if given == name]
            yield from (self._role_at(node, place, tensor) for place in places)
            if not places and elements > 1:
                yield "inner"
            if elements == 1 and node.op_type not in MOVING:
                continue
            if SETTINGS.get(node.op_type, frozenset()).issuperset(places):
                continue
            for result in node.output:
                if result and result not in self._of_input and result not in seen:
                    seen.add(result)
                    yield from self._roles(result, tensor, seen)

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

    def _is_quantised(self, name: str) -> bool:
        readers = self._readers.get(name, ())
        return any(
            n.input[place] == name for n in readers for place in QUANTISED.get(n.op_type, ())
        )

    def _copies(self, tensor: onnx.TensorProto, role: Role) -> list[Weight]:
        weight = Weight(
            name=tensor.name,
            source=tensor.name,
            elements=element_count(tensor),
            shape=tuple(tensor.dims),
            frozen=self._frozen(tensor, role),
            layer=self._layer(tensor.name),
        )
        uses = list(self._uses(tensor.name))
        apart = tensor.name in self._patterns.filled and all(use in self._separable for use in uses)
        if not apart or len(uses) < 2 or not weight.trains:
            return [weight]
        return [
            replace(weight, name=name, use=use, layer=self._layer_of(use[0]))
            for use, name in zip(uses, self._names(tensor.name, uses), strict=True)
        ]

    def _frozen(self, tensor: onnx.TensorProto, role: Role) -> str:
        if tensor.data_type not in FLOATS:
            return _quantised(tensor)
        reader = self._makers.get(self._layer(tensor.name))
        return _inside(reader) if role == "inner" and reader else ""

    def _uses(self, name: str) -> Iterator[Use]:
        for node in self._readers.get(name, ()):
            for place, given in enumerate(node.input):
                if given == name:
                    yield first_output(node), place

    def _names(self, name: str, uses: Sequence[Use]) -> list[str]:
        """For each copy a name of its own: an Identity has the one that the exporter took away."""
        identities = {n.output[0] for n in self._readers[name] if n.op_type == "Identity"}
        numbered = (f"{name}.{number}" for number in itertools.count(2))
        own = itertools.chain([name], (new for new in numbered if new not in self._used))
        return [result if result in identities else next(own) for result, _ in uses]

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
