"""A read-only view of a graph, indexed once, for deciding what its layers are."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from lsa_onnx.layers.operators import LEARNABLE, PRODUCTS
from lsa_onnx.rewrite.graph import consumers, dependents, node_inputs, producers, true_inputs
from lsa_onnx.weights import element_count

if TYPE_CHECKING:
    import onnx


class GraphView:
    """Producers, consumers and dependence on the inputs, plus a stable name for every node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.made = producers(model.graph)
        self.read_by = consumers(model.graph)
        inputs = [value.name for value in true_inputs(model.graph)]
        self.varying = dependents(model.graph, inputs, by_value=True)
        self.outputs = {value.name for value in model.graph.output}
        self.names = _stable_names(model.graph)
        self.by_name = {self.name(node): node for node in model.graph.node}
        self._sizes = _constant_sizes(model.graph, self.varying)

    def name(self, node: onnx.NodeProto) -> str:
        """The node's name, or ``<operator>_<position>`` where the model gives none."""
        return self.names[_key(node)]

    def is_learnable(self, node: onnx.NodeProto) -> bool:
        """Whether ``node`` multiplies a representation with constant weights."""
        slots = LEARNABLE.get(node.op_type, ())
        held = [slot for slot in slots if slot < len(node.input) and node.input[slot]]
        constant = [slot for slot in held if node.input[slot] not in self.varying]
        varies = any(name in self.varying for name in node.input)
        return bool(constant) and varies and any(node.output)

    def varying_inputs(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of ``node`` that depend on the model's inputs."""
        return [name for name in node_inputs(node) if name in self.varying]

    def parameters(self, node: onnx.NodeProto) -> int:
        """Number of elements of the constants that ``node`` reads, as the model stores them."""
        return sum(self._sizes.get(name, 0) for name in dict.fromkeys(node.input))

    @functools.cached_property
    def precedes_learnable(self) -> frozenset[str]:
        """The tensors with a learnable node, or a product of representations, downstream."""
        found: set[str] = set()
        for node in reversed(self.graph.node):
            if self._learns(node) or any(name in found for name in node.output):
                found.update(node_inputs(node))
        return frozenset(found)

    def _learns(self, node: onnx.NodeProto) -> bool:
        if node.op_type in PRODUCTS and len(self.varying_inputs(node)) > 1:
            return True
        return self.is_learnable(node)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read ``tensor``, in graph order."""
        return self.read_by.get(tensor, [])


def main_output(node: onnx.NodeProto) -> str:
    """The first output that the node really has; an LSTM may leave out the one it lists first."""
    return next((str(name) for name in node.output if name), "")


def _key(node: onnx.NodeProto) -> str:
    """What tells a node from all others: a tensor is made once."""
    return main_output(node) or node.name


def _constant_sizes(graph: onnx.GraphProto, varying: set[str]) -> dict[str, int]:
    """Constant tensor → elements of the largest stored constant that it is made of.

    Weights reach a node through DequantizeLinear, Reshape, Transpose or a Constant node too.
    """
    stored = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    sizes = {tensor.name: element_count(tensor) for tensor in stored}
    for node in graph.node:
        if any(name in varying for name in node.output):
            continue
        own = [element_count(a.t) for a in node.attribute if a.HasField("t")]
        read = [sizes.get(name, 0) for name in node_inputs(node)]
        for name in node.output:
            sizes[name] = max([*own, *read], default=0)
    return sizes


def _stable_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Node → name. A generated one counts the node's position, so it survives a reload."""
    taken = {node.name for node in graph.node if node.name}
    names: dict[str, str] = {}
    for position, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{position}"
        while not node.name and name in taken:
            name += "_"
        taken.add(name)
        names[_key(node)] = name
    return names
