"""A read-only view of a graph, indexed once, for deciding what its layers are."""

from __future__ import annotations

import onnx

from lsa_onnx.layers.operators import LEARNABLE
from lsa_onnx.rewrite.graph import consumers, dependents, node_inputs, producers, true_inputs


class GraphView:
    """Producers, consumers and dependence on the inputs, plus a stable name for every node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.made = producers(model.graph)
        self.read_by = consumers(model.graph)
        self.varying = dependents(model.graph, [v.name for v in true_inputs(model.graph)])
        self.sizes = {t.name: _count(t) for t in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self._names = _stable_names(model.graph)

    def name(self, node: onnx.NodeProto) -> str:
        """The node's name, or ``<operator>_<position>`` where the model gives none."""
        return self._names[node.output[0]] if node.output else node.name

    def is_learnable(self, node: onnx.NodeProto) -> bool:
        """Whether ``node`` multiplies a representation with constant weights."""
        slots = LEARNABLE.get(node.op_type, ())
        held = [slot for slot in slots if slot < len(node.input) and node.input[slot]]
        constant = [slot for slot in held if node.input[slot] not in self.varying]
        return bool(constant) and any(name in self.varying for name in node.input)

    def varying_inputs(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of ``node`` that depend on the model's inputs."""
        return [name for name in node_inputs(node) if name in self.varying]

    def parameters(self, node: onnx.NodeProto) -> int:
        """Number of elements of the initializers that ``node`` reads."""
        return sum(self.sizes.get(name, 0) for name in dict.fromkeys(node.input))

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read ``tensor``, in graph order."""
        return self.read_by.get(tensor, [])


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def _stable_names(graph: onnx.GraphProto) -> dict[str, str]:
    """First output → name. A generated name counts the node's position, so it survives a reload."""
    taken = {node.name for node in graph.node if node.name}
    names: dict[str, str] = {}
    for position, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{position}"
        while not node.name and name in taken:
            name += "_"
        taken.add(name)
        if node.output:
            names[node.output[0]] = name
    return names
