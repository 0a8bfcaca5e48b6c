"""Quantised operators as their float ones between ``DequantizeLinear`` and ``QuantizeLinear``.

A result may differ from the integer kernel's by one step where rounding decides. Operators that
return whole numbers in ``int32`` end in a ``Cast``: what flows back through it is for the reader of
the graph to say. Sums beyond 2²⁴ are rounded as single precision rounds them.
"""

from __future__ import annotations

import onnx

from lsa_onnx.rewrite.expand.activations import leaky_relu
from lsa_onnx.rewrite.expand.builder import MICROSOFT, Builder, Expansion, NotExpandable
from lsa_onnx.rewrite.expand.fused import channels_first, channels_last

_FLOAT = onnx.TensorProto.FLOAT
_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def dequantised(b: Builder, first: int, axis: int = 1) -> str:
    """The value of three inputs of the node: numbers, scale and zero point (which may be absent)."""
    b.dtype = b.element(b.input(first + 1))
    zero = [b.input(first + 2)] if b.has(first + 2) else []
    return b("DequantizeLinear", b.input(first), b.input(first + 1), *zero, axis=axis)


def quantised(b: Builder, y: str, first: int, like: str) -> str:
    """``y`` in the scale and zero point of two inputs of the node.

    Args:
        b: Where the nodes go.
        y: A float tensor.
        first: Where the scale stands among the inputs; the zero point follows it.
        like: The tensor whose element type the result has if there is no zero point.
    """
    zero = b.input(first + 1) if b.has(first + 1) else b.scalar(0, b.element(like))
    return b("QuantizeLinear", y, b.input(first), zero)


def _qlinear_conv(b: Builder) -> str:
    last = b.attribute("channels_last", 0)
    x, w = dequantised(b, 0), dequantised(b, 3, axis=0)
    bias = []
    if b.has(8):
        scale = b("Mul", b.input(1), b.input(4))
        bias = [b("Mul", b.cast(b.input(8), b.dtype), scale)]
    y = b("Conv", channels_first(b, x) if last else x, w, *bias, **b.attributes(*_CONV))
    return quantised(b, channels_last(b, y) if last else y, 6, b.input(0))


def _qlinear_matmul(b: Builder) -> str:
    """The left operand may have a scale per row, the right one per column."""
    y = b("MatMul", dequantised(b, 0, axis=-2), dequantised(b, 3, axis=-1))
    return quantised(b, y, 6, b.input(0))


def _qgemm(b: Builder) -> str:
    """The bias counts steps of ``alpha`` times both scales; without an output scale, floats."""
    alpha, trans_a, trans_b = (
        b.attribute(n, d) for n, d in (("alpha", 1.0), ("transA", 0), ("transB", 0))
    )
    left, right = dequantised(b, 0), dequantised(b, 3, axis=0 if trans_b else 1)
    y = b("Gemm", left, right, alpha=alpha, transA=int(trans_a), transB=int(trans_b))
    if b.has(6):
        step = b("Mul", b("Mul", b.input(1), b.input(4)), alpha)
        y = b("Add", y, b("Mul", b.cast(b.input(6), b.dtype), step))
    return quantised(b, y, 7, b.input(0)) if b.has(7) else y


def _binary(op: str) -> Expansion:
    return lambda b: quantised(b, b(op, dequantised(b, 0), dequantised(b, 3)), 6, b.input(0))


def _sigmoid(b: Builder) -> str:
    return quantised(b, b("Sigmoid", dequantised(b, 0)), 3, b.input(0))


def _leaky_relu(b: Builder) -> str:
    y = leaky_relu(b, dequantised(b, 0), b.attribute("alpha", 0.01))
    return quantised(b, y, 3, b.input(0))


def _softmax(b: Builder) -> str:
    """Before opset 13, all axes from ``axis`` on were one."""
    x, axis = dequantised(b, 0), b.attribute("axis", -1)
    if b.attribute("opset", 13) >= 13:
        return quantised(b, b("Softmax", x, axis=axis), 3, b.input(0))
    y = b("Softmax", b("Flatten", x, axis=axis), axis=-1)
    return quantised(b, b("Reshape", y, b("Shape", x)), 3, b.input(0))


def _average_pool(b: Builder) -> str:
    last, x = b.attribute("channels_last", 0), dequantised(b, 0)
    y = b("AveragePool", channels_first(b, x) if last else x, **b.attributes(*_POOL))
    return quantised(b, channels_last(b, y) if last else y, 3, b.input(0))


def _nhwc_max_pool(b: Builder) -> str:
    options = b.attributes("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    return channels_last(b, b("MaxPool", channels_first(b, b.input(0)), **options))


def _global_average_pool(b: Builder) -> str:
    x, rank = dequantised(b, 0), b.rank(b.input(0))
    pixels = list(range(1, rank - 1) if b.attribute("channels_last", 0) else range(2, rank))
    return quantised(b, b("ReduceMean", x, pixels, keepdims=1), 3, b.input(0))


def _reduce_mean(b: Builder) -> str:
    keepdims = b.attribute("keepdims", 1)
    y = b("ReduceMean", dequantised(b, 0), b.attribute("axes", list[int]()), keepdims=keepdims)
    return quantised(b, y, 3, b.input(0))


def _concat(b: Builder) -> str:
    parts = [dequantised(b, first) for first in range(2, len(b.node.input), 3)]
    return quantised(b, b("Concat", *parts, axis=b.attribute("axis", 0)), 0, b.input(2))


def _where(b: Builder) -> str:
    y = b("Where", b.input(0), dequantised(b, 1), dequantised(b, 4))
    return quantised(b, y, 7, b.input(1))


def _less_zero(b: Builder, index: int, zero: int, shape: list[int] | None = None) -> str:
    """An integer input as float numbers less its zero point, which ``shape`` makes broadcast."""
    b.dtype = _FLOAT
    x = b.cast(b.input(index), _FLOAT)
    if not b.has(zero):
        return x
    point = b.cast(b.input(zero), _FLOAT)
    return b("Sub", x, point if shape is None else b("Reshape", point, shape))


def _conv_integer(b: Builder) -> str:
    per_channel = [-1] + [1] * (b.rank(b.input(1)) - 1)
    x, w = _less_zero(b, 0, 2), _less_zero(b, 1, 3, per_channel)
    return b.cast(b("Conv", x, w, **b.attributes(*_CONV)), onnx.TensorProto.INT32)


def _matmul_integer(b: Builder) -> str:
    """The left operand may have a zero point per row, the right one per column."""
    rows = [-1, 1] if b.has(2) and b.rank(b.input(2)) == 1 else None
    left, right = _less_zero(b, 0, 2, rows), _less_zero(b, 1, 3)
    return b.cast(b("MatMul", left, right), onnx.TensorProto.INT32)


def _dequantised_at(b: Builder, index: int, scale: int, zero: int, axis: int) -> str:
    """``dequantised`` where the three inputs stand apart."""
    b.dtype = b.element(b.input(scale))
    point = [b.input(zero)] if b.has(zero) else []
    return b("DequantizeLinear", b.input(index), b.input(scale), *point, axis=axis)


def _matmul_integer_to_float(b: Builder) -> str:
    left, right = _dequantised_at(b, 0, 2, 4, -2), _dequantised_at(b, 1, 3, 5, -1)
    y = b("MatMul", left, right)
    return b("Add", y, b.input(6)) if b.has(6) else y


def _dynamic_quantize_matmul(b: Builder) -> str:
    """The left operand is quantised by its own range."""
    numbers, scale, zero = b.several("DynamicQuantizeLinear", 3, b.input(0))
    left = b("DequantizeLinear", numbers, scale, zero)
    y = b("MatMul", left, _dequantised_at(b, 1, 2, 3, -1))
    return b("Add", y, b.input(4)) if b.has(4) else y


def _quantised_attention(b: Builder) -> str:
    """ONNX Runtime's ``Attention`` on what the inputs stand for."""
    if b.has(8) or b.wants(1):
        raise NotExpandable("there is a past")
    x, w = _dequantised_at(b, 0, 3, 6, 1), _dequantised_at(b, 1, 4, 7, -1)
    options = b.attributes("num_heads", "unidirectional", "mask_filter_value", "scale", "do_rotary")
    return b("Attention", x, w, b.input(2), b.input(5), domain=MICROSOFT, **options)


def _standard(op: str) -> Expansion:
    """ONNX Runtime's own spelling of an operator of ONNX, for the types that both take."""

    def expansion(b: Builder) -> str:
        eight_bits = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        numbers = b.input(0) if op == "DequantizeLinear" else b.input(2)
        if not numbers or b.element(numbers) not in eight_bits:
            raise NotExpandable("ONNX takes 8 bits only at every opset")
        return b(op, *b.node.input, **b.attributes("axis"))

    return expansion


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    ("", "ConvInteger"): _conv_integer,
    ("", "MatMulInteger"): _matmul_integer,
    ("", "QLinearConv"): _qlinear_conv,
    ("", "QLinearMatMul"): _qlinear_matmul,
    (MICROSOFT, "DequantizeLinear"): _standard("DequantizeLinear"),
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_quantize_matmul,
    (MICROSOFT, "MatMulIntegerToFloat"): _matmul_integer_to_float,
    (MICROSOFT, "NhwcMaxPool"): _nhwc_max_pool,
    (MICROSOFT, "QAttention"): _quantised_attention,
    (MICROSOFT, "QGemm"): _qgemm,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearAveragePool"): _average_pool,
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearConv"): _qlinear_conv,
    (MICROSOFT, "QLinearGlobalAveragePool"): _global_average_pool,
    (MICROSOFT, "QLinearLeakyRelu"): _leaky_relu,
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearReduceMean"): _reduce_mean,
    (MICROSOFT, "QLinearSigmoid"): _sigmoid,
    (MICROSOFT, "QLinearSoftmax"): _softmax,
    (MICROSOFT, "QLinearWhere"): _where,
    (MICROSOFT, "QuantizeLinear"): _standard("QuantizeLinear"),
}
