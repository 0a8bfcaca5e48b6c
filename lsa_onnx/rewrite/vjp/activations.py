"""Adjoints of activation functions.

At a kink, x counts as being on the lower side, as in torch: the derivative of a ReLU at 0 is 0. Rules
of activations that ONNX Runtime fuses into the convolution before them (Relu, LeakyRelu, Sigmoid,
HardSigmoid, Tanh) read the output alone, which leaves the runtime free to do so.
"""

from __future__ import annotations

import math

from lsa_onnx.rewrite.vjp.formulas import above_zero, mask, one_minus, one_plus, square
from lsa_onnx.rewrite.vjp.pooling import settles_relu
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, rule
from lsa_onnx.rewrite.vjp.tape import Tape

_SELU_ALPHA = 1.67326319217681884765625
_SELU_GAMMA = 1.05070102214813232421875
# Of the cubic term in the tanh form of Gelu.
_GELU_CUBIC = 0.044715

# Piecewise linear


@rule("Relu")
def relu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = max(x, 0): dx = dy where y > 0, else 0."""
    if all(settles_relu(t, Op(reader)) for reader in t.readers(op.y)) and t.readers(op.y):
        return [g]
    return [t.op("Mul", g, above_zero(t, op.y))]


@rule("LeakyRelu")
def leaky_relu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x or, below 0, α x: dx = dy or α dy."""
    alpha = op.attribute("alpha", 0.01)
    # With a negative α, y is positive on both sides of 0.
    positive = above_zero(t, op.y if alpha >= 0 else op.x)
    if 0 <= alpha <= 1:
        return [t.op("Mul", g, t.op("Max", positive, t.scalar(alpha, op.y)))]
    rise = t.op("Mul", positive, t.scalar(1 - alpha, op.y))
    return [t.op("Mul", g, t.op("Add", rise, t.scalar(alpha, op.y)))]


@rule("PRelu")
def prelu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x or, below 0, s x: dx = dy or s dy, ds = dy · min(x, 0)."""
    x, slope = op.inputs
    zero = t.scalar(0, x)
    dx = ds = None
    if t.active(x):
        dx = t.op("Mul", g, t.op("Where", t.op("Greater", x, zero), t.scalar(1, x), slope))
    if t.active(slope):
        ds = t.unbroadcast(t.op("Mul", g, t.op("Min", x, zero)), slope, op.y)
    return [dx, ds]


@rule("ThresholdedRelu")
def thresholded_relu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x where x > α, else 0: dx = dy there, else 0."""
    threshold = t.scalar(op.attribute("alpha", 1.0), op.x)
    return [t.op("Mul", g, mask(t, "Greater", op.x, threshold, like=op.x))]


@rule("Shrink")
def shrink(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x ± bias where |x| > λ, else 0: dx = dy there, else 0."""
    threshold = t.scalar(op.attribute("lambd", 0.5), op.x)
    return [t.op("Mul", g, mask(t, "Greater", t.op("Abs", op.x), threshold, like=op.x))]


@rule("HardSigmoid")
def hard_sigmoid(t: Tape, op: Op, g: str) -> Adjoints:
    """y = α x + β clipped to 0..1: dx = α dy where 0 < y < 1, else 0."""
    above = t.op("Greater", op.y, t.scalar(0, op.y))
    below = t.op("Less", op.y, t.scalar(1, op.y))
    inside = t.op("Cast", t.op("And", above, below), to=t.element(op.y))
    scaled = t.op("Mul", g, t.scalar(op.attribute("alpha", 0.2), op.y))
    return [t.op("Mul", scaled, inside)]


# Exponential


@rule("Elu")
def elu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x or, below 0, α (eˣ − 1): dx = dy or (y + α) dy."""
    alpha = op.attribute("alpha", 1.0)
    if alpha == 1:
        return [t.op("Mul", g, one_plus(t, t.op("Min", op.y, t.scalar(0, op.y)), op.y))]
    return [_exponential(t, op, g, rise=1.0, offset=alpha)]


@rule("Selu")
def selu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = γ x or, below 0, γ α (eˣ − 1): dx = γ dy or (y + γ α) dy."""
    alpha, gamma = op.attribute("alpha", _SELU_ALPHA), op.attribute("gamma", _SELU_GAMMA)
    return [_exponential(t, op, g, rise=gamma, offset=gamma * alpha)]


def _exponential(t: Tape, op: Op, g: str, rise: float, offset: float) -> str:
    positive = t.op("Greater", op.x, t.scalar(0, op.x))
    below = t.op("Add", op.y, t.scalar(offset, op.y))
    return t.op("Mul", g, t.op("Where", positive, t.scalar(rise, op.y), below))


@rule("Celu")
def celu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x or, below 0, α (e^(x/α) − 1): dx = dy or (y / α + 1) dy."""
    alpha = op.attribute("alpha", 1.0)
    negative = t.op("Min", op.y, t.scalar(0, op.y))
    slope = one_plus(t, t.op("Mul", negative, t.scalar(1 / alpha, op.y)), op.y)
    return [t.op("Mul", g, slope)]


@rule("Sigmoid")
def sigmoid(t: Tape, op: Op, g: str) -> Adjoints:
    """y = σ(x): dx = dy · y (1 − y)."""
    return [t.op("Mul", t.op("Mul", g, op.y), one_minus(t, op.y, op.y))]


@rule("Softplus")
def softplus(t: Tape, op: Op, g: str) -> Adjoints:
    """y = ln(1 + eˣ): dx = dy · σ(x)."""
    return [t.op("Mul", g, t.op("Sigmoid", op.x))]


@rule("Softsign")
def softsign(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x / (1 + |x|): dx = dy · (1 − |y|)²."""
    return [t.op("Mul", g, square(t, one_minus(t, t.op("Abs", op.y), op.y)))]


# Gated: y = x · gate(x)


@rule("HardSwish")
def hard_swish(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x · h with h = x/6 + ½ clipped to 0..1: dx = dy · (x/3 + ½ where |x| < 3, else h)."""
    inside = t.op("Less", t.op("Abs", op.x), t.scalar(3, op.x))
    third = t.op("Mul", op.x, t.scalar(1 / 3, op.x))
    line = t.op("Add", third, t.scalar(0.5, op.x))
    gate = above_zero(t, op.x)
    return [t.op("Mul", g, t.op("Where", inside, line, gate))]


@rule("Swish")
def swish(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x · s with s = σ(α x): dx = dy · (s + α y (1 − s))."""
    alpha = op.attribute("alpha", 1.0)
    gate = t.op("Sigmoid", _times(t, op.x, alpha))
    bend = t.op("Mul", _times(t, op.y, alpha), one_minus(t, gate, op.x))
    return [t.op("Mul", g, t.op("Add", gate, bend))]


@rule("Mish")
def mish(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x · w with w = tanh(ln(1 + eˣ)): dx = dy · (w + x (1 − w²) σ(x)).

    With q = 1 − σ(x), w is (1 − q²) / (1 + q²), which needs no Softplus: that is many times slower.
    """
    gate = t.op("Sigmoid", op.x)
    q2 = square(t, one_minus(t, gate, op.x))
    w = t.op("Div", one_minus(t, q2, op.x), one_plus(t, q2, op.x))
    bend = t.op("Mul", t.op("Mul", op.x, gate), one_minus(t, square(t, w), op.x))
    return [t.op("Mul", g, t.op("Add", w, bend))]


@rule("Gelu")
def gelu(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x Φ(x): dx = dy · (Φ(x) + x φ(x)), or the same of the tanh form."""
    tanh = op.attribute("approximate", "none") == "tanh"
    slope = _gelu_tanh_slope(t, op.x) if tanh else _gelu_slope(t, op.x)
    return [t.op("Mul", g, slope)]


def _gelu_slope(t: Tape, x: str) -> str:
    """Φ(x) + x φ(x) with u = x / √2: ½ + ½ erf u + u e^(−u²) / √π."""
    u = _times(t, x, 1 / math.sqrt(2))
    bell = t.op("Exp", t.op("Neg", square(t, u)))
    bend = _times(t, t.op("Mul", u, bell), 2 / math.sqrt(math.pi), like=x)
    total = t.op("Add", t.op("Erf", u), bend)
    return _times(t, one_plus(t, total, x), 0.5, like=x)


def _gelu_tanh_slope(t: Tape, x: str) -> str:
    """The derivative of x · s with s = σ(z), z = c (x + k x³): s + s (1 − s) · x z′, x z′ = 3 z − 2 c x.

    Beyond ±10 it is 0 or 1 to the last digit, and clipping keeps x³ finite in half precision.
    """
    c = 2 * math.sqrt(2 / math.pi)
    near = t.op("Clip", x, t.scalar(-10, x), t.scalar(10, x))
    cubic = t.op("Add", _times(t, square(t, near), c * _GELU_CUBIC, like=x), t.scalar(c, x))
    z = t.op("Mul", near, cubic)
    gate = t.op("Sigmoid", z)
    steep = t.op("Sub", _times(t, z, 3, like=x), _times(t, near, 2 * c, like=x))
    bend = t.op("Mul", steep, one_minus(t, gate, x))
    return t.op("Mul", gate, one_plus(t, bend, x))


def _times(t: Tape, name: str, factor: float, like: str | None = None) -> str:
    """A multiple of ``name``, which has the type of ``like``."""
    return name if factor == 1 else t.op("Mul", name, t.scalar(factor, like or name))


# Over an axis


@rule("Softmax")
def softmax(t: Tape, op: Op, g: str) -> Adjoints:
    """y = eˣ / Σ eˣ: dx = y · (dy − Σ dy · y), 0 where all x are −∞ and the model leaves y out."""
    axis, y = t.ints(op.attribute("axis", -1)), t.without_nan(op.y)
    total = t.op("ReduceSum", t.op("Mul", g, y), axis, keepdims=1)
    return [t.op("Mul", y, t.op("Sub", g, total))]


@rule("LogSoftmax")
def log_softmax(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x − ln Σ eˣ: dx = dy − eʸ · Σ dy."""
    total = t.op("ReduceSum", g, t.ints(op.attribute("axis", -1)), keepdims=1)
    return [t.op("Sub", g, t.op("Mul", t.op("Exp", op.y), total))]
