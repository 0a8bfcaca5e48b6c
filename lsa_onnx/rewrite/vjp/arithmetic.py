"""Adjoints of elementwise arithmetic, with numpy broadcasting."""

from __future__ import annotations

import math

import numpy as np

from lsa_onnx.rewrite.vjp.formulas import mask, safe_divisor, square
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("Identity")
def identity(_t: Tape, _op: Op, g: str) -> Adjoints:
    """y = x: dx = dy."""
    return [g]


@rule("Dropout")
def dropout(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x at inference: dx = dy."""
    training = op.input(2)
    value = t.value(training)
    if training is not None and (value is None or value.any()):
        raise RuleRefused("its training_mode is not a constant false")
    return [g]


@rule("Cast", "CastLike")
def cast(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x in another float type: dx = dy, in the type of x."""
    if t.element(op.x) == t.element(op.y):
        return [g]
    return [t.op("Cast", g, to=t.element(op.x))]


@rule("Add", "Sum")
def add(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a + b + …: each gets dy."""
    return [t.unbroadcast(g, name, op.y) if t.active(name) else None for name in op.inputs]


@rule("Mean")
def mean_of_all(t: Tape, op: Op, g: str) -> Adjoints:
    """y = (a + b + …) / k: each gets dy / k."""
    share = t.op("Mul", g, t.scalar(1 / len(op.inputs), op.y))
    return [t.unbroadcast(share, name, op.y) if t.active(name) else None for name in op.inputs]


@rule("Sub")
def sub(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a − b: da = dy, db = −dy."""
    a, b = op.inputs
    return [
        t.unbroadcast(g, a, op.y) if t.active(a) else None,
        t.op("Neg", t.unbroadcast(g, b, op.y)) if t.active(b) else None,
    ]


@rule("Mul")
def mul(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a · b: da = dy · b, db = dy · a."""
    a, b = op.inputs
    return [
        t.unbroadcast(t.op("Mul", g, b), a, op.y) if t.active(a) else None,
        t.unbroadcast(t.op("Mul", g, a), b, op.y) if t.active(b) else None,
    ]


@rule("Div")
def div(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a / b: da = dy / b, db = −da · a / b; 0 where b is."""
    a, b = op.inputs
    divisor = safe_divisor(t, b, op.y)
    over = t.op("Div", g, divisor)
    db = None
    if t.active(b):
        ratio = t.op("Div", a, divisor)
        db = t.op("Neg", t.unbroadcast(t.op("Mul", over, ratio), b, op.y))
    return [t.unbroadcast(over, a, op.y) if t.active(a) else None, db]


@rule("Pow")
def power(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a ^ b: da = dy · b · a^(b−1), db = dy · y · ln a; 0 where those are infinite or undefined."""
    a, b = op.inputs
    da = db = None
    if t.active(a):
        da = t.unbroadcast(_power_by_base(t, op, g), a, op.y)
    if t.active(b):
        product = t.op("Mul", t.op("Mul", g, op.y), t.op("Log", a))
        positive = t.op("Greater", a, t.scalar(0, a))
        db = t.op("Where", positive, product, t.scalar(0, a))
        db = t.unbroadcast(db, b, op.y)
    return [da, db]


def _power_by_base(t: Tape, op: Op, g: str) -> str:
    """dy · b · a^(b−1) without a power, which is slow, where b is one known number from 0 on."""
    a, b = op.inputs
    value = t.value(b)
    exponent = float(value.item()) if value is not None and value.size == 1 else None
    if exponent is None or exponent < 0:
        return t.op("Mul", g, _power_slope(t, a, b))
    if exponent == 1:
        return g
    scaled = t.op("Mul", g, t.scalar(exponent, a))
    if exponent == 2:
        return t.op("Mul", scaled, a)
    return t.op("Mul", scaled, t.op("Div", op.y, safe_divisor(t, a, a)))


def _power_slope(t: Tape, base: str, b: str) -> str:
    """b · a^(b−1). The power of infinity is 0 where that of a base of 0 would be infinite."""
    same = t.known.element(b) == t.known.element(base)
    exponent = b if same else t.op("Cast", b, to=t.element(base))
    one = t.scalar(1, base)
    zero = t.op("Equal", base, t.scalar(0, base))
    steep = t.op("And", zero, t.op("Less", exponent, one))
    safe = t.op("Where", steep, t.scalar(math.inf, base), base)
    return t.op("Mul", exponent, t.op("Pow", safe, t.op("Sub", exponent, one)))


@rule("Mod")
def mod(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a − b · n with n = trunc(a / b) (fmod): da = dy, db = −n · dy."""
    a, b = op.inputs
    da = t.unbroadcast(g, a, op.y) if t.active(a) else None
    db = None
    if t.active(b):
        whole = t.op("Round", t.op("Div", t.op("Sub", a, op.y), b))
        db = t.op("Neg", t.unbroadcast(t.op("Mul", g, whole), b, op.y))
    return [da, db]


@rule("Neg")
def neg(t: Tape, _op: Op, g: str) -> Adjoints:
    """y = −x: dx = −dy."""
    return [t.op("Neg", g)]


@rule("Abs")
def absolute(t: Tape, op: Op, g: str) -> Adjoints:
    """y = |x|: dx = dy · sign x."""
    return [t.op("Mul", g, t.op("Sign", op.x))]


@rule("Max", "Min")
def extreme(t: Tape, op: Op, g: str) -> Adjoints:
    """y = max(a, b, …): dy goes to the largest; equal ones share it."""
    if len(op.inputs) == 1:
        return [g]
    hits = [mask(t, "Equal", x, op.y, like=op.y) for x in op.inputs]
    share = t.op("Div", g, t.op("Sum", *hits))
    return [
        t.unbroadcast(t.op("Mul", share, hit), name, op.y) if t.active(name) else None
        for name, hit in zip(op.inputs, hits, strict=True)
    ]


@rule("Clip")
def clip(t: Tape, op: Op, g: str) -> Adjoints:
    """y = min(max(x, low), high): dx = dy where y is x; a bound gets dy from where x is beyond it.

    An x on a bound counts as inside: pixels of exactly 0 or 1 keep their gradient in a model that
    clips its input. Bounds in the wrong order make every y the upper one.
    """
    low, high = op.input(1), op.input(2)
    dx = t.op("Mul", g, mask(t, "Equal", op.x, op.y, like=op.y)) if t.active(op.x) else None
    dlow = dhigh = None
    if low is not None and t.active(low):
        raised = t.op("And", t.op("Less", op.x, low), t.op("Equal", op.y, low))
        dlow = _summed_where(t, raised, g, low)
    if high is not None and t.active(high):
        least = t.op("Max", op.x, low) if low is not None else op.x
        dhigh = _summed_where(t, t.op("Greater", least, high), g, high)
    return [dx, dlow, dhigh]


def _summed_where(t: Tape, condition: str, g: str, bound: str) -> str:
    clipped = t.op("Where", condition, g, t.scalar(0, bound))
    return t.reshape_like(t.op("ReduceSum", clipped, keepdims=0), bound)


@rule("Where")
def where(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a where the condition holds, else b: each gets dy where it was taken, else 0."""
    condition, a, b = op.inputs
    zero = t.scalar(0, op.y)
    return [
        None,
        t.unbroadcast(t.op("Where", condition, g, zero), a, op.y) if t.active(a) else None,
        t.unbroadcast(t.op("Where", condition, zero, g), b, op.y) if t.active(b) else None,
    ]


@rule("Sqrt")
def sqrt(t: Tape, op: Op, g: str) -> Adjoints:
    """y = √x: dx = dy / (2 y), 0 at 0."""
    return [t.op("Div", t.op("Mul", g, t.scalar(0.5, op.y)), safe_divisor(t, op.y, op.y))]


@rule("Reciprocal")
def reciprocal(t: Tape, op: Op, g: str) -> Adjoints:
    """y = 1 / x: dx = −dy / x², 0 at 0."""
    divisor = safe_divisor(t, op.x, op.x)
    return [t.op("Neg", t.op("Div", t.op("Div", g, divisor), divisor))]


@rule("Exp")
def exp(t: Tape, op: Op, g: str) -> Adjoints:
    """y = eˣ: dx = dy · y."""
    return [t.op("Mul", g, op.y)]


@rule("Log")
def log(t: Tape, op: Op, g: str) -> Adjoints:
    """y = ln x: dx = dy / x, 0 at 0."""
    return [t.op("Div", g, safe_divisor(t, op.x, op.x))]


@rule("Erf")
def erf(t: Tape, op: Op, g: str) -> Adjoints:
    """y = erf x: dx = dy · 2/√π · e^(−x²)."""
    bell = t.op("Exp", t.op("Neg", square(t, op.x)))
    return [t.op("Mul", g, t.op("Mul", bell, t.scalar(2 / np.sqrt(np.pi), op.x)))]


@rule("Ceil", "Floor", "Round", "Sign")
def step(t: Tape, op: Op, g: str) -> Adjoints:
    """Straight-through: dx = dy. Without the flag no adjoint ever arrives here."""
    if not t.straight_through:
        raise RuleRefused(f"{op.type} has no gradient but straight-through")
    return [g]


@rule("CumSum")
def cumsum(t: Tape, op: Op, g: str) -> Adjoints:
    """y = sums up to each entry along an axis: dx sums dy from the other end."""
    reverse, exclusive = op.attribute("reverse", 0), op.attribute("exclusive", 0)
    return [t.op("CumSum", g, op.inputs[1], reverse=1 - reverse, exclusive=exclusive)]


@rule("Range")
def numbers(t: Tape, op: Op, g: str) -> Adjoints:
    """yᵢ = start + i delta: dstart = Σ dy, ddelta = Σ i dy; the limit only sets how many there are."""
    start, _, delta = op.inputs
    dstart = ddelta = None
    if t.active(start):
        dstart = t.reshape_like(t.op("ReduceSum", g, keepdims=0), start)
    if t.active(delta):
        places = t.op("Div", t.op("Sub", op.y, start), delta)
        ddelta = t.reshape_like(t.op("ReduceSum", t.op("Mul", g, places), keepdims=0), delta)
    return [dstart, None, ddelta]
