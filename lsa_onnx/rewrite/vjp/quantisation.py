"""Adjoints of quantisation, straight through: rounding is taken for the identity.

A quantised tensor stands for real numbers, and its adjoint is that of its integers taken as reals,
in float32. Outside of the range that the integers can hold, a value does not move what it is rounded
to, and its adjoint is 0 (Bengio et al. 2013; Esser et al. 2020, Eq. 3).
"""

from __future__ import annotations

import numpy as np
import onnx

from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule, rule_of_all
from lsa_onnx.rewrite.vjp.tape import Tape

_FLOAT = onnx.TensorProto.FLOAT
_RANGES: dict[int, tuple[int, int]] = {
    onnx.TensorProto.UINT8: (0, 255),
    onnx.TensorProto.INT8: (-128, 127),
    onnx.TensorProto.UINT16: (0, 65535),
    onnx.TensorProto.INT16: (-32768, 32767),
    onnx.TensorProto.UINT4: (0, 15),
    onnx.TensorProto.INT4: (-8, 7),
}


@rule("DequantizeLinear")
def dequantize(t: Tape, op: Op, g: str) -> Adjoints:
    """y = (x − zero point) · scale: dx = dy · scale."""
    _refuse_blocks(op)
    return [t.op("Mul", _as_float(t, g, op.y), _along_axis(t, op, op.inputs[1]))]


@rule("QuantizeLinear")
def quantize(t: Tape, op: Op, g: str) -> Adjoints:
    """y = clip(round(x / scale) + zero point): dx = dy / scale where nothing is clipped."""
    _refuse_blocks(op)
    scale = _along_axis(t, op, op.inputs[1])
    inside = _where_not_clipped(t, op, g, scale)
    return [_as_type_of(t, t.op("Div", inside, scale), op.x)]


@rule_of_all("DynamicQuantizeLinear")
def dynamic_quantize(t: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
    """As ``QuantizeLinear`` with a scale that the tensor sets, which counts as a constant.

    Its range is that of the tensor, so nothing is clipped.
    """
    g = adjoints[0]
    return [t.op("Div", g, op.outputs[1])] if g is not None else []


def _refuse_blocks(op: Op) -> None:
    if op.attribute("block_size", 0):
        raise RuleRefused("it has a scale per block")


def _where_not_clipped(t: Tape, op: Op, g: str, scale: str) -> str:
    """``g``, but 0 where x is rounded to a number that the type of y cannot hold.

    The ends themselves are not clipped: the black of an image is often the lowest number.
    """
    bounds = _RANGES.get(t.known.element(op.y) or 0)
    if bounds is None:
        return g
    ends = [t.constant(end, np.float32) for end in (bounds[0] - 0.5, bounds[1] + 0.5)]
    zero = op.input(2)
    if zero is not None:
        shifted = _along_axis(t, op, zero)
        ends = [t.op("Sub", end, shifted) for end in ends]
    x = _as_float(t, op.x, op.x)
    low, high = (t.op("Mul", end, scale) for end in ends)
    free = t.op("And", t.op("GreaterOrEqual", x, low), t.op("LessOrEqual", x, high))
    return t.op("Where", free, g, t.constant(0, np.float32))


def _along_axis(t: Tape, op: Op, name: str) -> str:
    """A scale or zero point in float32, shaped to broadcast: there is one, or one per entry of an axis."""
    number = _as_float(t, name, name)
    if t.rank(name) == 0 or t.dims(name) == (1,):
        return number
    axis = t.axis(op.attribute("axis", 1), op.x)
    shape = [-1 if a == axis else 1 for a in range(t.rank(op.x))]
    return t.op("Reshape", number, t.ints(*shape))


def _as_float(t: Tape, value: str, like: str) -> str:
    """``value``, which has the type of the tensor ``like``, in float32."""
    return value if t.known.element(like) == _FLOAT else t.op("Cast", value, to=_FLOAT)


def _as_type_of(t: Tape, value: str, name: str) -> str:
    return value if t.element(name) == _FLOAT else t.op("Cast", value, to=t.element(name))
