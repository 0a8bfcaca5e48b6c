"""Adjoints of quantisation, straight through: rounding is taken for the identity.

A quantised tensor stands for real numbers, and its adjoint is that of its integers taken as reals,
in float32. Outside of the range that the integers can hold, a value does not move what it is rounded
to, and its adjoint is 0 (Bengio et al. 2013; Esser et al. 2020, Eq. 3).
"""

from __future__ import annotations

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
    return [_as_type_of(t, t.op("Div", _inside(t, op.y, g), scale), op.x)]


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


def _inside(t: Tape, quantised: str, g: str) -> str:
    """``g`` where ``quantised`` is not at an end of what its type can hold."""
    bounds = _RANGES.get(t.known.element(quantised) or 0)
    if bounds is None:
        return g
    value = t.op("Cast", quantised, to=_FLOAT)
    low, high = (t.constant(float(bound), "float32") for bound in bounds)
    free = t.op("And", t.op("Greater", value, low), t.op("Less", value, high))
    return t.op("Where", free, g, t.constant(0.0, "float32"))


def _along_axis(t: Tape, op: Op, scale: str) -> str:
    """``scale`` in float32, shaped to broadcast against the tensor: one per tensor, or per axis."""
    scale = _as_float(t, scale, scale)
    dims = t.dims(scale) or t.dims(op.inputs[1])
    if dims is None or dims in ((), (1,)):
        return scale
    rank = t.rank(op.x)
    axis = t.axis(op.attribute("axis", 1), op.x)
    return t.op("Reshape", scale, t.ints(*(-1 if a == axis else 1 for a in range(rank))))


def _as_float(t: Tape, value: str, like: str) -> str:
    return value if t.element(like) == _FLOAT else t.op("Cast", value, to=_FLOAT)


def _as_type_of(t: Tape, value: str, name: str) -> str:
    return value if t.element(name) == _FLOAT else t.op("Cast", value, to=t.element(name))
