"""Adjoints of reductions.

Axes may be a constant, computed at run time, absent or empty (all axes then, or none where
``noop_with_empty_axes`` says so), and reduced axes may be kept or not.
"""

from __future__ import annotations

import math

import onnx

from lsa_onnx.rewrite.vjp.formulas import mask, safe_divisor
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, rule
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("ReduceSum")
def reduce_sum(t: Tape, op: Op, g: str) -> Adjoints:
    """y = Σ x: dx = dy."""
    return [t.expand_like(_kept(t, op, g), op.x)]


@rule("ReduceMean")
def reduce_mean(t: Tape, op: Op, g: str) -> Adjoints:
    """y = Σ x / n: dx = dy / n."""
    share = t.op("Mul", g, _share(t, op))
    return [t.expand_like(_kept(t, op, share), op.x)]


@rule("ReduceMax", "ReduceMin")
def reduce_extreme(t: Tape, op: Op, g: str) -> Adjoints:
    """y = max x: dy goes to the largest; equal ones share it."""
    hits = mask(t, "Equal", op.x, _kept(t, op, op.y), like=op.x)
    share = t.op("Div", _kept(t, op, g), _reduced(t, op, "ReduceSum", hits))
    return [t.op("Mul", share, hits)]


@rule("ReduceProd")
def reduce_prod(t: Tape, op: Op, g: str) -> Adjoints:
    """y = Π x: dx = dy · the product of the others, which is 0 where one of them is.

    The product of the others is that of all numbers but 0, divided by the number itself if it is
    not 0.
    """
    zero = t.op("Equal", op.x, t.scalar(0, op.x))
    rest = t.op("Where", zero, t.scalar(1, op.x), op.x)
    others = t.op("Div", _reduced(t, op, "ReduceProd", rest), rest)
    zeros = t.op("Cast", zero, to=t.element(op.x))
    other_zeros = t.op("Sub", _reduced(t, op, "ReduceSum", zeros), zeros)
    alive = mask(t, "Equal", other_zeros, t.scalar(0, op.x), like=op.x)
    return [t.op("Mul", t.op("Mul", _kept(t, op, g), others), alive)]


@rule("ReduceL1")
def reduce_l1(t: Tape, op: Op, g: str) -> Adjoints:
    """y = Σ |x|: dx = dy · sign x."""
    return [t.op("Mul", t.op("Sign", op.x), _kept(t, op, g))]


@rule("ReduceL2")
def reduce_l2(t: Tape, op: Op, g: str) -> Adjoints:
    """y = √Σ x²: dx = dy · x / y, 0 where y is 0."""
    scaled = t.op("Div", g, safe_divisor(t, op.y, op.y))
    return [t.op("Mul", op.x, _kept(t, op, scaled))]


@rule("ReduceSumSquare")
def reduce_sum_square(t: Tape, op: Op, g: str) -> Adjoints:
    """y = Σ x²: dx = dy · 2 x."""
    return [t.op("Mul", op.x, _kept(t, op, t.op("Mul", g, t.scalar(2, op.y))))]


@rule("ReduceLogSum")
def reduce_log_sum(t: Tape, op: Op, g: str) -> Adjoints:
    """y = ln Σ x: dx = dy / eʸ, 0 where the sum is 0."""
    scaled = t.op("Div", g, safe_divisor(t, t.op("Exp", op.y), op.y))
    return [t.expand_like(_kept(t, op, scaled), op.x)]


@rule("ReduceLogSumExp")
def reduce_log_sum_exp(t: Tape, op: Op, g: str) -> Adjoints:
    """y = ln Σ eˣ: dx = dy · e^(x−y), 0 where y is −∞."""
    empty = t.op("Equal", op.y, t.scalar(-math.inf, op.y))
    finite = t.op("Where", empty, t.scalar(0, op.y), op.y)
    part = t.op("Exp", t.op("Sub", op.x, _kept(t, op, finite)))
    return [t.op("Mul", part, _kept(t, op, g))]


def _kept(t: Tape, op: Op, reduced: str) -> str:
    """``reduced``, of the shape of y, in a shape that broadcasts to that of x."""
    axes = op.input(1)
    value = t.value(axes)
    if op.attribute("keepdims", 1) or axes is None or (value is not None and value.size == 0):
        return reduced
    return t.op("Unsqueeze", reduced, axes)


def _reduced(t: Tape, op: Op, kind: str, name: str) -> str:
    """``name``, of the shape of x, reduced over the axes of ``op`` and broadcasting to x."""
    axes = [op.inputs[1]] if op.input(1) is not None else []
    noop = op.attribute("noop_with_empty_axes", 0)
    return t.op(kind, name, *axes, keepdims=1, noop_with_empty_axes=noop)


def _share(t: Tape, op: Op) -> str:
    """1 / n for n numbers in each mean: a constant where that is known."""
    count = _count(t, op)
    if count is not None:
        return t.scalar(1 / max(count, 1), op.y)
    wide = onnx.TensorProto.DOUBLE
    results, numbers = (t.op("Cast", t.op("Size", n), to=wide) for n in (op.y, op.x))
    return t.op("Cast", t.op("Div", results, numbers), to=t.element(op.y))


def _count(t: Tape, op: Op) -> int | None:
    """The number of elements in each mean, ``None`` where it is not known."""
    dims, axes = t.dims(op.x), t.value(op.input(1))
    if dims is None or (axes is None and op.input(1) is not None):
        return None
    if axes is None or axes.size == 0:
        chosen = () if op.attribute("noop_with_empty_axes", 0) else dims
    else:
        chosen = tuple(dims[axis] for axis in axes)
    numbers = [size for size in chosen if size is not None]
    return math.prod(numbers) if len(numbers) == len(chosen) else None
