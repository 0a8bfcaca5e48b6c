"""Which inputs of a model set shapes and axes: one value holds for all samples, whatever its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.layers.operators import SHAPE_SLOTS
from lsa_onnx.rewrite.graph import dimensions, is_standard, subgraphs, true_inputs

if TYPE_CHECKING:
    import onnx

# Positions of inputs that name axes.
_AXIS_SLOTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("CumProd", "CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum"), (1,)),
    **dict.fromkeys(("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"), (1,)),
    **dict.fromkeys(("ReduceProd", "ReduceSum", "ReduceSumSquare"), (1,)),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), (1,)),
    "DFT": (2,),
    "Pad": (3,),
}
# What exporters compute shapes with: it keeps a list of sizes such a list. Any number of inputs.
_SIZE_ARITHMETIC = frozenset(
    {"Add", "Cast", "Concat", "Div", "Identity", "Mul", "Neg", "Squeeze", "Sub", "Unsqueeze"}
)
# Likewise, of their first input.
_SIZE_PARTS = frozenset({"Gather", "Reshape", "Slice", "Split"})


def setting_inputs(graph: onnx.GraphProto) -> set[str]:
    """The inputs, numbers and lists of numbers, that decide shapes or name axes.

    They are read as such by a node, also in a body, or are computed to what is by arithmetic on sizes.
    """
    wanted = _settings(graph)
    lists = {v.name for v in true_inputs(graph) if len(dimensions(v) or ()) <= 1}
    return lists & wanted


def _settings(graph: onnx.GraphProto) -> set[str]:
    """All tensors that decide shapes or name axes; those of bodies too, whose names are unique."""
    wanted: set[str] = set()
    for node in reversed(graph.node):
        for body in subgraphs(node):
            wanted |= _settings(body)
        slots = (*SHAPE_SLOTS.get(node.op_type, ()), *_AXIS_SLOTS.get(node.op_type, ()))
        wanted.update(node.input[slot] for slot in slots if slot < len(node.input))
        if wanted.intersection(node.output):
            wanted.update(_sizes(node))
    return wanted - {""}


def _sizes(node: onnx.NodeProto) -> list[str]:
    """The inputs of ``node`` that are sizes if its outputs are."""
    if is_standard(node, _SIZE_ARITHMETIC):
        return list(node.input)
    return list(node.input[:1]) if is_standard(node, _SIZE_PARTS) else []
