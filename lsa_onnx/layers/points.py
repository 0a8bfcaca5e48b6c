"""Where a learnable layer is read: after its activation, as in the paper.

Khalooei et al. 2023 measure one representation per convolution or fully connected layer, taken after
its activation (the reference code hooks the activation modules). In a graph that means walking
forward from the layer's output.

In a quantised graph the point lies behind the pair of QuantizeLinear and DequantizeLinear that
follows: what goes on from there has passed it, and ONNX Runtime can still make one integer operator
of the layer, which it could not if the floats before the pair were kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lsa_onnx.layers.graph_view import GraphView
from lsa_onnx.layers.operators import (
    ACTIVATIONS,
    ARITHMETIC,
    GATE_PRODUCTS,
    GATES,
    HEAD_ACTIVATIONS,
    NORMALISATIONS,
    PASS_THROUGH,
    SELF_ACTIVATED,
)
from lsa_onnx.rewrite.graph import main_output

if TYPE_CHECKING:
    import onnx

# Longer walks leave the layer: a residual stream runs through the whole network.
_MAX_STEPS = 12
# From the activation to the product that closes a gate: at most a Softplus, a Tanh, an addition and a
# scale.
_MAX_GATE_STEPS = 4


@dataclass(frozen=True)
class Point:
    """Where a learnable layer is read.

    ``activation`` is the operator found, ``None`` where none follows. ``head`` marks the layers that
    only make the model's outputs.
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
    output = main_output(layer)
    if layer.op_type in SELF_ACTIVATED:
        return Point(_requantised(view, output), layer.op_type, head=False)
    walk = _walk(view, output)
    if walk.activation is None:
        own = _own_affine(view, output)
        return Point(own, None, head=not _goes_on(view, own))
    activation = walk.activation
    tensor = _after_gate(view, activation, walk.seen)
    ungated = tensor == _requantised(view, main_output(activation))
    head = ungated and not _goes_on(view, tensor) and activation.op_type in HEAD_ACTIVATIONS
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
    tensor = _requantised(view, output)
    for _ in range(_MAX_STEPS):
        readers = view.readers(tensor)
        if len(readers) != 1 or tensor in view.outputs:
            return tensor
        node = readers[0]
        varying = [n for n in view.varying_inputs(node) if not _is_drawn_scale(view, n)]
        affine = node.op_type in ARITHMETIC | NORMALISATIONS | {"Cast"}
        if not affine or len(varying) > 1 or node.op_type == "Pow":
            return tensor
        tensor = _requantised(view, main_output(node))
    return tensor


def _requantised(view: GraphView, tensor: str) -> str:
    """What DequantizeLinear makes of ``tensor``, if need be behind QuantizeLinear that alone reads it."""
    readers = view.readers(tensor)
    quantised = tensor
    if tensor not in view.outputs and {node.op_type for node in readers} == {"QuantizeLinear"}:
        quantised = main_output(readers[0])
    back = (n for n in view.readers(quantised) if n.op_type == "DequantizeLinear")
    return next(map(main_output, back), tensor)


def _goes_on(view: GraphView, tensor: str) -> bool:
    """Whether a learnable layer follows ``tensor``, or what it is the rounded form of.

    Each reader of a tensor may have a pair of QuantizeLinear and DequantizeLinear of its own.
    """
    current, forms = tensor, {tensor}
    for op in ("DequantizeLinear", "QuantizeLinear"):
        maker = view.made.get(current)
        if maker is not None and maker.op_type == op:
            current = maker.input[0]
            forms.add(current)
    return not forms.isdisjoint(view.precedes_learnable)


def _is_drawn_scale(view: GraphView, tensor: str, depth: int = 3) -> bool:
    """Whether ``tensor`` is a scale that DynamicQuantizeLinear drew from the input, or made of one."""
    maker = view.made.get(tensor)
    if maker is None or not depth:
        return False
    if maker.op_type == "Mul":
        varying = view.varying_inputs(maker)
        return all(_is_drawn_scale(view, name, depth - 1) for name in varying)
    return maker.op_type == "DynamicQuantizeLinear" and tensor == maker.output[1]


def _after_gate(view: GraphView, activation: onnx.NodeProto, seen: dict[str, int]) -> str:
    """The activation's output; for a gate in primitives, the product with the gated tensor.

    ``seen`` holds the tensors reached from the layer: a product with one of them is a gate of that
    layer.
    """
    result = _requantised(view, main_output(activation))
    if activation.op_type not in GATES:
        return result
    tensor = result
    for _ in range(_MAX_GATE_STEPS):
        for node in view.readers(tensor):
            others = [name for name in node.input if name != tensor]
            if node.op_type in GATE_PRODUCTS and any(name in seen for name in others):
                return _own_affine(view, main_output(node))
        steps = [node for node in view.readers(tensor) if node.op_type in ARITHMETIC | GATES]
        if len(steps) != 1:
            break
        tensor = _requantised(view, main_output(steps[0]))
    return result
