"""A read-only view of a graph, indexed once, for deciding what its layers are."""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from lsa_onnx.layers.operators import LEARNABLE, PRODUCTS, SCALE_SLOTS
from lsa_onnx.rewrite.graph import (
    consumers,
    dependents,
    node_inputs,
    node_key,
    producers,
    stable_names,
    subgraphs,
    true_inputs,
)
from lsa_onnx.weights import element_count

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.rewrite.bodies import Body


class GraphView:
    """Producers, consumers and dependence on the inputs, plus a stable name for every node.

    Attributes:
        graph: The main graph of a model, or a body in it.
        path: Of the body; ``None`` for the main graph.
        varying: The tensors, as the graph calls them, that depend on the model's inputs.
        made: Tensor → the node of this graph that makes it.
        returned: What it returns, in order.
        sizes: Constant tensor → elements of the largest stored constant that it is made of.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        varying: Collection[str],
        *,
        path: str | None = None,
        outer: GraphView | None = None,
        goes_on: bool = False,
    ) -> None:
        """Index ``graph``.

        Args:
            graph: The graph.
            varying: The tensors in it that depend on the values of the model's inputs.
            path: Where it is, for a body.
            outer: The graph around it, for a body.
            goes_on: Whether what it returns reaches a learnable node.
        """
        self.graph = graph
        self.path = path
        self.varying = varying
        self.made = producers(graph)
        self.read_by = consumers(graph)
        self.returned = [value.name for value in graph.output]
        self.outputs = frozenset(self.returned)
        self.names = stable_names(graph)
        self.by_name = {self.name(node): node for node in graph.node}
        self.sizes: Mapping[str, int] = _constant_sizes(
            graph, varying, outer.sizes if outer else {}
        )
        self._goes_on = goes_on

    @classmethod
    def of(cls, model: onnx.ModelProto) -> GraphView:
        """The view of the main graph."""
        inputs = [value.name for value in true_inputs(model.graph)]
        return cls(model.graph, dependents(model.graph, inputs, by_value=True))

    def inside(self, body: Body) -> GraphView:
        """The view of a body that a node of this graph carries."""
        returned = any(name in self.precedes_learnable for name in body.node.output)
        again = body.node.op_type in ("Loop", "Scan") and self._learns(body.node)
        return GraphView(
            body.graph, body.varying, path=body.path, outer=self, goes_on=returned or again
        )

    def name(self, node: onnx.NodeProto) -> str:
        """The node's name, or ``<operator>_<position>`` where the model gives none."""
        return self.names[node_key(node)]

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
        """Number of elements of the constants that ``node`` reads, as the model stores them.

        Scales and zero points do not count.
        """
        scales = SCALE_SLOTS.get(node.op_type, ())
        read = [name for slot, name in enumerate(node.input) if slot not in scales]
        return sum(self.sizes.get(name, 0) for name in dict.fromkeys(read))

    @functools.cached_property
    def precedes_learnable(self) -> frozenset[str]:
        """The tensors with a learnable node, or a product of representations, downstream."""
        found: set[str] = set(self.outputs if self._goes_on else ())
        for node in reversed(self.graph.node):
            if self._learns(node) or any(name in found for name in node.output):
                found.update(node_inputs(node))
        return frozenset(found)

    def _learns(self, node: onnx.NodeProto) -> bool:
        if node.op_type in PRODUCTS and len(self.varying_inputs(node)) > 1:
            return True
        if self.is_learnable(node):
            return True
        # What is constant inside of a body is left open here: its view knows.
        inner = [each for body in subgraphs(node) for each in body.node]
        return any(each.op_type in LEARNABLE or self._learns(each) for each in inner)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read ``tensor``, in graph order."""
        return self.read_by.get(tensor, [])


def _constant_sizes(
    graph: onnx.GraphProto, varying: Collection[str], outer: Mapping[str, int]
) -> Mapping[str, int]:
    """Constant tensor → elements of the largest stored constant that it is made of.

    Weights reach a node through DequantizeLinear, Reshape, Transpose or a Constant node too.
    """
    stored = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    own_sizes = {tensor.name: element_count(tensor) for tensor in stored}
    sizes = ChainMap(own_sizes, dict(outer)) if outer else own_sizes
    for node in graph.node:
        if any(name in varying for name in node.output):
            continue
        own = [element_count(a.t) for a in node.attribute if a.HasField("t")]
        read = [sizes.get(name, 0) for name in node_inputs(node)]
        for name in node.output:
            own_sizes[name] = max([*own, *read], default=0)
    return sizes
