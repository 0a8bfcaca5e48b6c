"""Why a tensor cannot be scored, whatever was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.layers.operators import FLOAT_TYPES, RANDOM, SHAPE_SLOTS, VALUE_SHAPED
from lsa_onnx.rewrite.graph import (
    constant_value,
    dependents,
    dimensions,
    is_standard,
    subgraphs,
    true_inputs,
)

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.layers.graph_view import GraphView

# Tensor → (element type such as "float32" or a container such as "seq(tensor(float32))", shape or
# None).
Types = Mapping[str, "tuple[str, list[int | str | None] | None]"]


class Obstacles:
    """Answers for every tensor of one model."""

    def __init__(self, view: GraphView, types: Types) -> None:
        """Prepare.

        Args:
            view: The graph.
            types: Type and shape of the tensors, as the runtime infers them.
        """
        self._view = view
        self._types = types
        self._random = _traced(view, _random_nodes(view))
        self._value_shaped = _traced(view, _value_shaped_nodes(view))
        shapes = [dimensions(value) for value in true_inputs(view.graph)]
        self._batches = {shape[0] for shape in shapes if shape}

    def reason(self, tensor: str) -> str | None:
        """Why ``tensor`` cannot be scored, ``None`` if it can."""
        if tensor not in self._view.varying:
            return "constant: it does not depend on the input"
        dtype, shape = self._types.get(tensor, ("unknown type", None))
        if dtype not in FLOAT_TYPES:
            return f"not floating point ({dtype})"
        if dtype == "bfloat16":
            return "bfloat16: ONNX Runtime returns no numpy array of it, so it cannot be checked"
        if shape and 0 in shape:
            return f"empty: its shape is {shape}"
        if tensor in self._random:
            return f"random: it depends on {self._random[tensor]}, which draws anew in every run"
        if tensor in self._value_shaped and not self._is_settled(shape):
            return f"its shape depends on the input's values, by {self._value_shaped[tensor]}"
        return None

    def _is_settled(self, shape: list[int | str | None] | None) -> bool:
        """Whether all but the batch is known of a shape, so that values cannot change it."""
        if shape is None:
            return False
        if not all(isinstance(d, int) for d in shape[1:]):
            return False
        return not shape or isinstance(shape[0], int) or shape[0] in self._batches - {None}


def _traced(view: GraphView, sources: Iterator[onnx.NodeProto]) -> dict[str, str]:
    """Tensor → the first of ``sources`` whose values it depends on, in words."""
    found: dict[str, str] = {}
    for node in sources:
        fresh = [name for name in node.output if name and name not in found]
        if fresh:
            what = f"{node.op_type} node {view.name(node)!r}"
            reached = dependents(view.graph, fresh, by_value=True)
            found.update({name: what for name in reached if name not in found})
    return found


def _random_nodes(view: GraphView) -> Iterator[onnx.NodeProto]:
    tensors = {tensor.name: tensor for tensor in view.graph.initializer}
    for node in view.graph.node:
        if _draws(node, view.made, tensors):
            yield node


def _draws(
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    tensors: Mapping[str, onnx.TensorProto],
) -> bool:
    if is_standard(node, RANDOM):
        return True
    if is_standard(node, ("Dropout",)) and len(node.input) > 2 and node.input[2]:
        ratio = constant_value(node.input[1], made, tensors) if node.input[1] else None
        training = constant_value(node.input[2], made, tensors)
        keeps_all = ratio is not None and not np.any(ratio)
        return not keeps_all and (training is None or bool(np.any(training)))
    bodies = [inner for body in subgraphs(node) for inner in body.node]
    return any(_draws(inner, made, tensors) for inner in bodies)


def _value_shaped_nodes(view: GraphView) -> Iterator[onnx.NodeProto]:
    """Nodes of which the values of the model's inputs decide how large their outputs are."""
    for node in view.graph.node:
        slots = SHAPE_SLOTS.get(node.op_type, ())
        deciding = [name for slot, name in enumerate(node.input) if slot in slots]
        selects = node.op_type in VALUE_SHAPED and bool(view.varying_inputs(node))
        if selects or any(name in view.varying for name in deciding):
            yield node
