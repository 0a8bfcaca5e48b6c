"""Activations and other functions of single elements.

ONNX gives bodies for many of them that are right forwards and wrong backwards: they overflow in the
branch that they then discard, or meet the root of 0, and NaN flows back. Here, what is discarded is
finite, and so are slopes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lsa_onnx.rewrite.expand.builder import MICROSOFT, Builder, Expansion, NotExpandable

# The scale of the argument of tanh, and of the cube in it.
_TANH_GELU = (math.sqrt(2 / math.pi), 0.044715)


def gelu(b: Builder, x: str) -> str:
    """``x Φ(x)``."""
    erf = b("Erf", b("Mul", x, 1 / math.sqrt(2)))
    return b("Mul", b("Mul", x, 0.5), b("Add", erf, 1.0))


def tanh_gelu(b: Builder, x: str) -> str:
    """The approximation of ``gelu`` by ``tanh``."""
    outer, inner = _TANH_GELU
    cubic = b("Add", b("Mul", b("Mul", b("Mul", x, x), x), inner), x)
    tanh = b("Tanh", b("Mul", cubic, outer))
    return b("Mul", b("Mul", x, 0.5), b("Add", tanh, 1.0))


def silu(b: Builder, x: str, alpha: float = 1.0) -> str:
    """``x σ(alpha x)``."""
    return b("Mul", x, b("Sigmoid", x if alpha == 1 else b("Mul", x, alpha)))


def softplus(b: Builder, x: str) -> str:
    """``log(exp(x) + 1)``, shifted by ``max(x, 0)`` against overflow.

    The slope is right at 0 too, whatever is taken for that of the maximum there: it cancels.
    """
    top = b("Max", x, 0.0)
    total = b("Add", b("Exp", b("Sub", x, top)), b("Exp", b("Neg", top)))
    return b("Add", b("Log", total), top)


def elu(b: Builder, x: str, alpha: float = 1.0, scale: float = 1.0, width: float = 1.0) -> str:
    """``scale`` times: ``alpha (exp(x / width) - 1)`` where ``x`` is negative, ``x`` elsewhere."""
    negative = b("Min", x, 0.0)
    if width != 1:
        negative = b("Div", negative, width)
    below = b("Mul", b("Sub", b("Exp", negative), 1.0), alpha)
    whole = b("Where", b("Less", x, 0.0), below, x)
    return whole if scale == 1 else b("Mul", whole, scale)


def root(b: Builder, x: str, degree: int = 2) -> str:
    """The root of ``x``, which is not negative; flat at 0, where it has no slope."""
    positive = b("Greater", x, 0.0)
    inside = b("Where", positive, x, 1.0)
    taken = b("Sqrt", inside) if degree == 2 else b("Pow", inside, 1 / degree)
    return b("Where", positive, taken, 0.0)


def leaky_relu(b: Builder, x: str, slope: float | str) -> str:
    """``x`` where it is not negative, ``slope x`` elsewhere."""
    return b("Where", b("Less", x, 0.0), b("Mul", x, slope), x)


def hard_sigmoid(b: Builder, x: str, alpha: float = 0.2, beta: float = 0.5) -> str:
    """``alpha x + beta`` between 0 and 1."""
    return b("Min", b("Max", b("Add", b("Mul", x, alpha), beta), 0.0), 1.0)


def thresholded_relu(b: Builder, x: str, alpha: float = 1.0) -> str:
    """``x`` above ``alpha``, 0 elsewhere."""
    return b("Where", b("Greater", x, alpha), x, 0.0)


def softsign(b: Builder, x: str) -> str:
    """``x / (1 + |x|)``."""
    return b("Div", x, b("Add", b("Abs", x), 1.0))


def _of_input(function: Callable[[Builder, str], str]) -> Expansion:
    return lambda b: function(b, b.input(0))


def _gelu(b: Builder) -> str:
    tanh = b.attribute("approximate", "none") == "tanh"
    return (tanh_gelu if tanh else gelu)(b, b.input(0))


def _fast_gelu(b: Builder) -> str:
    x = b("Add", b.input(0), b.input(1)) if b.has(1) else b.input(0)
    return tanh_gelu(b, x)


def _bias_gelu(b: Builder) -> str:
    return gelu(b, b("Add", b.input(0), b.input(1)))


def _bias_split_gelu(b: Builder) -> str:
    """The first half of the channels times the Gelu of the second."""
    left, right = b.several("Split", 2, b("Add", b.input(0), b.input(1)), axis=-1, num_outputs=2)
    return b("Mul", left, gelu(b, right))


def _elu(b: Builder) -> str:
    return elu(b, b.input(0), b.attribute("alpha", 1.0))


def _celu(b: Builder) -> str:
    alpha = b.attribute("alpha", 1.0)
    return elu(b, b.input(0), alpha, width=alpha)


def _selu(b: Builder) -> str:
    alpha = b.attribute("alpha", 1.67326319217681884765625)
    return elu(b, b.input(0), alpha, b.attribute("gamma", 1.05070102214813232421875))


def _mish(b: Builder) -> str:
    return b("Mul", b.input(0), b("Tanh", softplus(b, b.input(0))))


def _hard_swish(b: Builder) -> str:
    return b("Mul", b.input(0), hard_sigmoid(b, b.input(0), 1 / 6, 0.5))


def _reduce_log_sum_exp(b: Builder) -> str:
    """Shifted by the maximum, which leaves the result as it is and keeps ``exp`` in range."""
    x, axes = b.input(0), b.input(1)
    options = b.attributes("keepdims", "noop_with_empty_axes")
    if options.get("noop_with_empty_axes") and not axes:
        raise NotExpandable("nothing is reduced")
    axes_or_all = [axes] if axes else []
    top = b("ReduceMax", x, *axes_or_all, keepdims=1)
    total = b("ReduceSum", b("Exp", b("Sub", x, top)), *axes_or_all, **options)
    if not options.get("keepdims", 1):
        top = b("Reshape", top, b("Shape", total))
    return b("Add", b("Log", total), top)


def _reduce_l2(b: Builder) -> str:
    squares = b("Mul", b.input(0), b.input(0))
    axes = [b.input(1)] if b.has(1) else []
    options = b.attributes("keepdims", "noop_with_empty_axes")
    return root(b, b("ReduceSum", squares, *axes, **options))


def _log_softmax(b: Builder) -> str:
    x, axis = b.input(0), [b.attribute("axis", -1)]
    shifted = b("Sub", x, b("ReduceMax", x, axis, keepdims=1))
    return b("Sub", shifted, b("Log", b("ReduceSum", b("Exp", shifted), axis, keepdims=1)))


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    ("", "Celu"): _celu,
    ("", "Elu"): _elu,
    ("", "Gelu"): _gelu,
    ("", "HardSigmoid"): lambda b: hard_sigmoid(
        b, b.input(0), b.attribute("alpha", 0.2), b.attribute("beta", 0.5)
    ),
    ("", "HardSwish"): _hard_swish,
    ("", "LeakyRelu"): lambda b: leaky_relu(b, b.input(0), b.attribute("alpha", 0.01)),
    ("", "LogSoftmax"): _log_softmax,
    ("", "Mish"): _mish,
    ("", "PRelu"): lambda b: leaky_relu(b, b.input(0), b.input(1)),
    ("", "ReduceL2"): _reduce_l2,
    ("", "ReduceLogSumExp"): _reduce_log_sum_exp,
    ("", "Selu"): _selu,
    ("", "Softplus"): _of_input(softplus),
    ("", "Softsign"): _of_input(softsign),
    ("", "Swish"): lambda b: silu(b, b.input(0), b.attribute("alpha", 1.0)),
    ("", "ThresholdedRelu"): lambda b: thresholded_relu(b, b.input(0), b.attribute("alpha", 1.0)),
    (MICROSOFT, "BiasGelu"): _bias_gelu,
    (MICROSOFT, "BiasSplitGelu"): _bias_split_gelu,
    (MICROSOFT, "FastGelu"): _fast_gelu,
    (MICROSOFT, "Gelu"): _of_input(gelu),
    (MICROSOFT, "QuickGelu"): lambda b: silu(b, b.input(0), b.attribute("alpha", 1.702)),
}
