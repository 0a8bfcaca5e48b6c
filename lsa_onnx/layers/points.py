"""Where a learnable layer is read: after its activation, as in the paper.

Khalooei et al. 2023 measure one representation per convolution or fully connected layer, taken after its activation
(the reference code hooks the activation modules). In a graph that means walking forward from the layer's output.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import onnx

from lsa_onnx.layers.graph_view import GraphView
from lsa_onnx.layers.operators import (
    ACTIVATIONS,
    ARITHMETIC,
    GATES,
    HEAD_ACTIVATIONS,
    NORMALISATIONS,
    PASS_THROUGH,
    SELF_ACTIVATED,
)

# Longer walks leave the layer: a residual stream runs through the whole network.
_MAX_STEPS = 12
# From the activation to the product that closes a gate: at most a Softplus, a Tanh, an addition and a scale.
_MAX_GATE_STEPS = 4


@dataclass(frozen=True)
class Point:
    """Where a learnable layer is read.

    ``activation`` is the operator found, ``None`` where none follows. ``head`` marks the layers that only make the
    model's outputs.
    """

    tensor: str
    activation: str | None
    head: bool


@dataclass
class _Walk:
    """Tensors reached from a layer's output without leaving the layer, nearest first."""

    seen: dict[str, int] = field(default_factory=dict)
    activation: onnx.NodeProto | None = None


def reading_point(view: GraphView, layer: onnx.NodeProto) -> Point:
    """The tensor at which ``layer``, a learnable node, is read."""
    output = layer.output[0]
    if layer.op_type in SELF_ACTIVATED:
        return Point(output, layer.op_type, head=False)
    walk = _walk(view, output)
    if walk.activation is None:
        own = _own_affine(view, output)
        return Point(own, None, head=not _feeds_learnable(view, own))
    activation = walk.activation
    tensor = _after_gate(view, activation, walk.seen)
    is_last = not _feeds_learnable(view, tensor)
    ungated = tensor == activation.output[0]
    head = is_last and ungated and activation.op_type in HEAD_ACTIVATIONS
    return Point(tensor, activation.op_type, head=head)


def _walk(view: GraphView, start: str) -> _Walk:
    """Breadth first over what passes the representation through, up to the first activation."""
    walk = _Walk({start: 0})
    queue = deque([start])
    while queue:
        tensor = queue.popleft()
        for node in view.readers(tensor):
            if node.op_type in ACTIVATIONS and walk.activation is None and node.input[0] == tensor:
                walk.activation = node
            passes = node.op_type in PASS_THROUGH and node.output[0] not in walk.seen
            if passes and walk.seen[tensor] < _MAX_STEPS:
                walk.seen[node.output[0]] = walk.seen[tensor] + 1
                queue.append(node.output[0])
    return walk


def _own_affine(view: GraphView, output: str) -> str:
    """The layer's output after its own bias, scale and normalisation, before anything is mixed in."""
    tensor = output
    for _ in range(_MAX_STEPS):
        readers = view.readers(tensor)
        if len(readers) != 1 or tensor in view.outputs:
            return tensor
        node = readers[0]
        single = len(view.varying_inputs(node)) == 1
        affine = node.op_type in ARITHMETIC or node.op_type in NORMALISATIONS
        if not (affine and single) or node.op_type == "Pow":
            return tensor
        tensor = node.output[0]
    return tensor


def _after_gate(view: GraphView, activation: onnx.NodeProto, seen: dict[str, int]) -> str:
    """The activation's output; for a gate written out in primitives, the product with the gated tensor.

    ``seen`` holds the tensors reached from the layer: a product with one of them is a gate of that layer.
    """
    result = activation.output[0]
    if activation.op_type not in GATES:
        return result
    tensor = result
    for _ in range(_MAX_GATE_STEPS):
        for node in view.readers(tensor):
            others = [name for name in node.input if name != tensor]
            if node.op_type == "Mul" and any(name in seen for name in others):
                return _own_affine(view, node.output[0])
        steps = [node for node in view.readers(tensor) if node.op_type in ARITHMETIC | GATES]
        if len(steps) != 1:
            break
        tensor = steps[0].output[0]
    return result


def _feeds_learnable(view: GraphView, tensor: str) -> bool:
    """Whether a learnable node, or a product of two representations (attention), lies downstream of ``tensor``."""
    queue, seen = deque([tensor]), {tensor}
    while queue:
        for node in view.readers(queue.popleft()):
            product = node.op_type in ("MatMul", "Attention", "Einsum") and (
                len(view.varying_inputs(node)) > 1
            )
            if product or view.is_learnable(node):
                return True
            fresh = [name for name in node.output if name and name not in seen]
            seen.update(fresh)
            queue.extend(fresh)
    return False
