"""Integer sums of products: what one of their steps is worth, and where that is multiplied in.

``quantize_dynamic`` makes of a matrix product a MatMulInteger, a Cast and a Mul with the product of
both scales. Only what the Mul makes can be compared between two inputs: the scale of the left operand
is drawn from the input itself, so the integers before it count in different units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import node_inputs
from lsa_onnx.rewrite.readings.facts import PLAIN_FLOATS, Facts, is_known
from lsa_onnx.rewrite.readings.scales import MOVERS, Scale

if TYPE_CHECKING:
    import onnx

# Positions of the operands.
_PRODUCTS: dict[str, tuple[int, int]] = {
    "ConvInteger": (0, 1),
    "MatMulInteger": (0, 1),
    # com.microsoft
    "MatMulInteger16": (0, 1),
    "MulInteger": (0, 2),
}
# They keep every sum, and only its place or type may change.
_SAME_SUMS = frozenset(
    {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
_BIAS = frozenset({"Add", "Sub"})
_SCALING = frozenset({"Div", "Mul"})
# What the worth of a step is computed with, from scales.
_SCALE_ARITHMETIC = frozenset({"Cast", "Div", "Identity", "Mul", "Reshape", "Squeeze", "Unsqueeze"})
# Of one varying input they make numbers that count in a fixed multiple of its unit.
_FIXED_UNIT = frozenset({*MOVERS, "Add", "Cast", "Ceil", "Div", "Floor", "Mul", "Round", "Sub"})


@dataclass(frozen=True)
class Sum:
    """An integer sum, or the same numbers as floats.

    Attributes:
        scales: Names of the scales by which a step is to be multiplied, one number each. What is left
            of its unit is fixed: it cancels in a relative error.
        drawn: Whether a scale is drawn from the input, so that the bare numbers cannot be compared.
        unknown: The operand whose scale is not known, if there is one.
    """

    scales: tuple[str, ...] = ()
    drawn: bool = False
    unknown: str = ""


class Sums:
    """The integer sums of one model."""

    def __init__(self, facts: Facts, scales: dict[str, Scale]) -> None:
        """Trace them, given the scales of quantised tensors. Linear in nodes."""
        self._facts = facts
        self._known: dict[str, Sum] = {}
        # What is computed from drawn scales alone, and what counts in the unit of the model's input.
        self._worth = {scale.scale for scale in scales.values() if scale.scale in facts.varying}
        self._fixed = {value.name for value in facts.inputs}
        for node in filter(is_known, facts.graph.node):
            self._trace(node, scales)
        self._scaled: dict[str, str] = {}
        for node in reversed(facts.graph.node):
            self._note_scaling(node)

    def of(self, tensor: str) -> Sum | None:
        """What is known of ``tensor`` as a sum, ``None`` if it is none."""
        return self._known.get(tensor)

    def scaled(self, tensor: str) -> str | None:
        """The tensor in which the same sums stand multiplied by their scale, if there is one."""
        return self._scaled.get(tensor)

    def _trace(self, node: onnx.NodeProto, scales: dict[str, Scale]) -> None:
        """Take in what ``node`` makes, all its inputs being known."""
        varying = [name for name in node_inputs(node) if name in self._facts.varying]
        if node.op_type in _PRODUCTS:
            operands = [node.input[slot] for slot in _PRODUCTS[node.op_type]]
            self._known[node.output[0]] = self._product(operands, scales)
        elif len(varying) == 1 and _keeps_unit(node, self._known.get(varying[0])):
            self._known[node.output[0]] = self._known[varying[0]]
        if node.op_type in _SCALE_ARITHMETIC and varying and self._worth.issuperset(varying):
            self._worth.add(node.output[0])
        if node.op_type in _FIXED_UNIT and len(varying) == 1 and varying[0] in self._fixed:
            self._fixed.add(node.output[0])

    def _product(self, operands: list[str], scales: dict[str, Scale]) -> Sum:
        """What a step of the product of ``operands`` is worth."""
        varying = [name for name in operands if name in self._facts.varying]
        known = [scales[name] for name in varying if name in scales]
        drawn = any(scale.scale in self._facts.varying for scale in known)
        unknown = next((name for name in varying if not self._is_readable(name, scales)), "")
        if unknown:
            return Sum(drawn=True, unknown=unknown)
        return Sum(tuple(scale.scale for scale in known if scale.single), drawn)

    def _is_readable(self, name: str, scales: dict[str, Scale]) -> bool:
        """Whether the unit of an operand is known, or fixed.

        One drawn scale per row or column could only be multiplied in before the sums were taken.
        """
        scale = scales.get(name)
        if scale is None:
            return name in self._fixed
        return scale.single or scale.scale not in self._facts.varying

    def _note_scaling(self, node: onnx.NodeProto) -> None:
        """Where ``node`` scales sums, or hands them on to what does."""
        for name in filter(self._known.get, node.input if is_known(node) else ()):
            result = node.output[0]
            if node.op_type == "DequantizeLinear" or self._scales(node, name):
                self._scaled[name] = result
            elif result in self._known and result in self._scaled:
                self._scaled.setdefault(name, self._scaled[result])

    def _scales(self, node: onnx.NodeProto, name: str) -> bool:
        """Whether ``node`` multiplies the floats of a sum by what a step of it is worth."""
        is_product = node.op_type == "Mul" or (node.op_type == "Div" and node.input[0] == name)
        if not is_product or self._facts.dtype(node.output[0]) not in PLAIN_FLOATS:
            return False
        others = [other for other in node.input if other != name]
        if self._known[name].drawn:
            return any(other in self._worth for other in others)
        return all(other not in self._facts.varying for other in others)


def _keeps_unit(node: onnx.NodeProto, found: Sum | None) -> bool:
    """Whether the result of ``node`` counts in a fixed multiple of the unit of ``found``."""
    if found is None:
        return False
    scales_drawn = found.drawn and node.op_type in _SCALING
    return node.op_type in _SAME_SUMS | _BIAS or scales_drawn
