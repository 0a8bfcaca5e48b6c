"""What ONNX Runtime's optimiser fuses: a convolution or a matrix product and what follows it."""

from __future__ import annotations

from typing import Any

from lsa_onnx.rewrite.expand import activations
from lsa_onnx.rewrite.expand.builder import MICROSOFT, Builder, Expansion, NotExpandable

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def activation(b: Builder, kind: str, x: str, parameters: list[float]) -> str:
    """``x`` after one of the activations that ONNX Runtime fuses.

    Args:
        b: Where the nodes go.
        kind: The operator's name; ``""`` for none.
        x: The tensor.
        parameters: The operator's numbers in the order of its documentation.

    Raises:
        NotExpandable: It is another activation.
    """
    if not kind:
        return x
    if kind in ("Relu", "Tanh", "Sigmoid", "Softplus", "Softsign"):
        return b(kind, x)
    if kind == "LeakyRelu":
        return activations.leaky_relu(b, x, *(parameters[:1] or [0.01]))
    if kind == "Elu":
        return activations.elu(b, x, *parameters[:1])
    if kind == "HardSigmoid":
        return activations.hard_sigmoid(b, x, *parameters[:2])
    if kind == "Clip" and len(parameters) >= 2:
        return b("Clip", x, parameters[0], parameters[1])
    if kind == "QuickGelu":
        return activations.silu(b, x, *(parameters[:1] or [1.702]))
    raise NotExpandable(f"{kind} is no activation that is known here")


def _fused_conv(b: Builder) -> str:
    """Convolution, plus ``Z``, then the activation."""
    bias = [b.input(2)] if b.has(2) else []
    y = b("Conv", b.input(0), b.input(1), *bias, **b.attributes(*_CONV))
    if b.has(3):
        y = b("Add", y, b.input(3))
    parameters = b.attribute("activation_params", list[float]())
    return activation(b, b.attribute("activation", ""), y, parameters)


def channels_first(b: Builder, x: str) -> str:
    """(n, h, w, c) as (n, c, h, w)."""
    return b("Transpose", x, perm=[0, 3, 1, 2])


def channels_last(b: Builder, x: str) -> str:
    """(n, c, h, w) as (n, h, w, c)."""
    return b("Transpose", x, perm=[0, 2, 3, 1])


def _nhwc_conv(b: Builder) -> str:
    """As ``FusedConv``, on images of (n, h, w, c); the weights are as ever."""
    bias = [b.input(2)] if b.has(2) else []
    y = b("Conv", channels_first(b, b.input(0)), b.input(1), *bias, **b.attributes(*_CONV))
    if b.has(3):
        y = b("Add", y, channels_first(b, b.input(3)))
    parameters = b.attribute("activation_params", list[float]())
    return channels_last(b, activation(b, b.attribute("activation", ""), y, parameters))


def _numbered(b: Builder) -> list[float]:
    """The activation's numbers where each is an attribute of its own."""
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    given: dict[str, Any] = b.attributes(*names)
    return [float(given[name]) for name in names if name in given]


def _fused_gemm(b: Builder) -> str:
    extra = [b.input(2)] if b.has(2) else []
    options = b.attributes("alpha", "beta", "transA", "transB")
    y = b("Gemm", b.input(0), b.input(1), *extra, **options)
    return activation(b, b.attribute("activation", ""), y, _numbered(b))


def _fused_matmul(b: Builder) -> str:
    """A matrix product of operands that may be transposed first, times ``alpha``."""
    left, right = (_arranged(b, index, side) for index, side in enumerate("AB"))
    y = b("MatMul", left, right)
    alpha = b.attribute("alpha", 1.0)
    return y if alpha == 1 else b("Mul", y, alpha)


def _arranged(b: Builder, index: int, side: str) -> str:
    """An operand as ``MatMul`` wants it.

    ``transBatch`` says that the first dimension belongs behind the other batch dimensions, next to
    the matrix; then ``trans`` exchanges the two dimensions of the matrix. Vectors stay as they are.
    """
    name = b.input(index)
    batch, matrix = b.attribute(f"transBatch{side}", 0), b.attribute(f"trans{side}", 0)
    if not batch and not matrix:
        return name
    order = list(range(b.rank(name)))
    if len(order) < 2:
        return name
    if batch:
        order = [*order[1:-1], order[0], order[-1]]
    if matrix:
        order = [*order[:-2], order[-1], order[-2]]
    return b("Transpose", name, perm=order)


def _fused_matmul_activation(b: Builder) -> str:
    y = _fused_matmul(b)
    kind = b.attribute("activation", "")
    if kind == "Softmax":
        return b("Softmax", y, axis=b.attribute("activation_axis", -1))
    return activation(b, kind, y, _numbered(b))


def _bias_add(b: Builder) -> str:
    return b("Add", b("Add", b.input(0), b.input(1)), b.input(2))


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    (MICROSOFT, "BiasAdd"): _bias_add,
    (MICROSOFT, "FusedConv"): _fused_conv,
    (MICROSOFT, "FusedGemm"): _fused_gemm,
    (MICROSOFT, "FusedMatMul"): _fused_matmul,
    (MICROSOFT, "FusedMatMulActivation"): _fused_matmul_activation,
    (MICROSOFT, "NhwcConv"): _nhwc_conv,
    (MICROSOFT, "NhwcFusedConv"): _nhwc_conv,
    (MICROSOFT, "TransposeMatMul"): _fused_matmul,
}
