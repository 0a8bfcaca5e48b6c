"""Adjoints of trigonometric and hyperbolic functions and their inverses.

Where an inverse function is infinitely steep, at the ends of its domain, its derivative is taken to be 0.
"""

from __future__ import annotations

from lsa_onnx.rewrite.vjp.formulas import one_minus, one_plus, safe_divisor, square
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, rule
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("Sin")
def sin(t: Tape, op: Op, g: str) -> Adjoints:
    """y = sin x: dx = dy · cos x."""
    return [t.op("Mul", g, t.op("Cos", op.x))]


@rule("Cos")
def cos(t: Tape, op: Op, g: str) -> Adjoints:
    """y = cos x: dx = −dy · sin x."""
    return [t.op("Neg", t.op("Mul", g, t.op("Sin", op.x)))]


@rule("Tan")
def tan(t: Tape, op: Op, g: str) -> Adjoints:
    """y = tan x: dx = dy · (1 + y²)."""
    return [t.op("Mul", g, one_plus(t, square(t, op.y), op.y))]


@rule("Asin")
def asin(t: Tape, op: Op, g: str) -> Adjoints:
    """y = asin x: dx = dy / √(1 − x²), 0 at ±1."""
    return [_over_root(t, g, one_minus(t, square(t, op.x), op.x), op.x)]


@rule("Acos")
def acos(t: Tape, op: Op, g: str) -> Adjoints:
    """y = acos x: dx = −dy / √(1 − x²), 0 at ±1."""
    return [t.op("Neg", _over_root(t, g, one_minus(t, square(t, op.x), op.x), op.x))]


@rule("Atan")
def atan(t: Tape, op: Op, g: str) -> Adjoints:
    """y = atan x: dx = dy / (1 + x²)."""
    return [t.op("Div", g, one_plus(t, square(t, op.x), op.x))]


@rule("Sinh")
def sinh(t: Tape, op: Op, g: str) -> Adjoints:
    """y = sinh x: dx = dy · cosh x."""
    return [t.op("Mul", g, t.op("Cosh", op.x))]


@rule("Cosh")
def cosh(t: Tape, op: Op, g: str) -> Adjoints:
    """y = cosh x: dx = dy · sinh x."""
    return [t.op("Mul", g, t.op("Sinh", op.x))]


@rule("Tanh")
def tanh(t: Tape, op: Op, g: str) -> Adjoints:
    """y = tanh x: dx = dy · (1 − y²)."""
    return [t.op("Mul", g, one_minus(t, square(t, op.y), op.y))]


@rule("Asinh")
def asinh(t: Tape, op: Op, g: str) -> Adjoints:
    """y = asinh x: dx = dy / √(1 + x²)."""
    return [t.op("Div", g, t.op("Sqrt", one_plus(t, square(t, op.x), op.x)))]


@rule("Acosh")
def acosh(t: Tape, op: Op, g: str) -> Adjoints:
    """y = acosh x: dx = dy / √(x² − 1), 0 at 1."""
    return [_over_root(t, g, t.op("Sub", square(t, op.x), t.scalar(1, op.x)), op.x)]


@rule("Atanh")
def atanh(t: Tape, op: Op, g: str) -> Adjoints:
    """y = atanh x: dx = dy / (1 − x²), 0 at ±1."""
    return [t.op("Div", g, safe_divisor(t, one_minus(t, square(t, op.x), op.x), op.x))]


def _over_root(t: Tape, g: str, squared: str, like: str) -> str:
    """dy / √squared, 0 where that is 0."""
    return t.op("Div", g, safe_divisor(t, t.op("Sqrt", squared), like))
