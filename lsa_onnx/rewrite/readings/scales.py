"""Which scale and zero point a quantised tensor counts in: those it was made with.

Operators that only move, select or repeat numbers hand on the scale of what they move.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import attribute
from lsa_onnx.rewrite.readings.facts import Facts, is_known

if TYPE_CHECKING:
    import onnx

# Positions of the scale and the zero point of the result among a node's inputs.
_QUANTISERS: dict[str, tuple[int, int]] = {
    "QuantizeLinear": (1, 2),
    "QLinearConv": (6, 7),
    "QLinearMatMul": (6, 7),
    # com.microsoft
    "QGemm": (7, 8),
    "QLinearAdd": (6, 7),
    "QLinearAveragePool": (3, 4),
    "QLinearConcat": (0, 1),
    "QLinearGlobalAveragePool": (3, 4),
    "QLinearLeakyRelu": (3, 4),
    "QLinearMul": (6, 7),
    "QLinearReduceMean": (3, 4),
    "QLinearSigmoid": (3, 4),
    "QLinearSoftmax": (3, 4),
    "QLinearWhere": (7, 8),
}
_FIRST: tuple[int, ...] = (0,)
# Positions of the inputs whose numbers the result is made of; empty for all of them. Interpolation
# weights add up to 1, so resizing keeps scale and zero point too.
MOVERS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            "CenterCropPad",
            "Clip",
            "Compress",
            "DepthToSpace",
            "Expand",
            "Flatten",
            "Gather",
            "GatherElements",
            "GatherND",
            "Identity",
            "MaxPool",
            "Pad",
            "ReduceMax",
            "ReduceMin",
            "Relu",
            "Reshape",
            "Resize",
            "ReverseSequence",
            "Slice",
            "SpaceToDepth",
            "Split",
            "Squeeze",
            "Tile",
            "TopK",
            "Transpose",
            "Trilu",
            "Unsqueeze",
            "Upsample",
            # com.microsoft
            "ExpandDims",
            "NhwcMaxPool",
        ),
        _FIRST,
    ),
    "Concat": (),
    "Max": (),
    "Min": (),
    "Where": (1, 2),
}
# They keep every number where it is along the axis that a scale per channel counts.
_STILL = frozenset({"Clip", "Identity", "Relu"})


@dataclass(frozen=True)
class Scale:
    """A quantised number q stands for (q - zero) · scale.

    Attributes:
        scale: Tensor of the scales.
        zero: Tensor of the zero points, empty where they are 0.
        single: Whether there is one scale for the whole tensor; else they lie along ``axis``.
        axis: As DequantizeLinear has it.
        block: Numbers along ``axis`` that share a scale, 0 where each channel has one.
    """

    scale: str
    zero: str
    single: bool
    axis: int = 1
    block: int = 0


def trace_scales(facts: Facts) -> dict[str, Scale]:
    """The scale of every quantised tensor that nodes of the main graph make. Linear in nodes."""
    known: dict[str, Scale] = {}
    for node in filter(is_known, facts.graph.node):
        if node.op_type in _QUANTISERS:
            known.update(_quantised(facts, node))
        elif node.op_type == "DynamicQuantizeLinear" and all(node.output):
            known[node.output[0]] = Scale(node.output[1], node.output[2], single=True)
        elif node.op_type in MOVERS:
            known.update(_moved(facts, node, known))
    return known


def _quantised(facts: Facts, node: onnx.NodeProto) -> Iterator[tuple[str, Scale]]:
    """The output with the scale that ``node`` is given for it; QGemm without one returns floats."""
    scale, zero = (operand(node, slot) for slot in _QUANTISERS[node.op_type])
    if not scale:
        return
    if node.op_type != "QuantizeLinear" or facts.is_single(scale):
        # ONNX Runtime's other kernels take one scale only; their axis is that of what they compute.
        yield node.output[0], Scale(scale, zero, single=True)
    else:
        axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
        yield node.output[0], Scale(scale, zero, single=False, axis=axis, block=block)


def _moved(
    facts: Facts, node: onnx.NodeProto, known: dict[str, Scale]
) -> Iterator[tuple[str, Scale]]:
    """The outputs with the scale that all inputs share which vary."""
    slots = MOVERS[node.op_type] or tuple(range(len(node.input)))
    moved = [name for slot in slots if (name := operand(node, slot)) in facts.varying]
    scales = [known[name] for name in moved if name in known]
    if not scales or len(scales) < len(moved) or not _agree(facts, scales):
        return
    scale = _carried(node, scales[0])
    if scale is not None:
        dtype = facts.dtype(moved[0])
        yield from ((name, scale) for name in node.output if name and facts.dtype(name) == dtype)


def _agree(facts: Facts, scales: Sequence[Scale]) -> bool:
    first = scales[0]
    return all(
        facts.same(first.scale, other.scale)
        and (first.zero == other.zero or facts.same(first.zero, other.zero))
        and (first.single, first.axis, first.block) == (other.single, other.axis, other.block)
        for other in scales[1:]
    )


def _carried(node: onnx.NodeProto, scale: Scale) -> Scale | None:
    """``scale`` behind ``node``, ``None`` where its axis may be another one there."""
    if scale.single or node.op_type in _STILL:
        return scale
    if node.op_type == "Transpose" and not scale.block:
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        if order:
            return replace(scale, axis=order.index(scale.axis % len(order)))
    return None


def operand(node: onnx.NodeProto, slot: int) -> str:
    """An input of ``node``, empty where it has none at ``slot``."""
    return str(node.input[slot]) if slot < len(node.input) else ""
