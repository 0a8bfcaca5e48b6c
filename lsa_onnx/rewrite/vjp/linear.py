"""Adjoints of matrix products."""

from __future__ import annotations

from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, rule
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("MatMul")
def matmul(t: Tape, op: Op, g: str) -> Adjoints:
    """y = a b: da = dy bᵀ, db = aᵀ dy; vectors are matrices with one row (a) or column (b)."""
    a, b = op.inputs
    rank_a, rank_b = t.rank(a), t.rank(b)
    # The adjoint as a matrix, with the axes that a vector operand took from it.
    full = g
    if rank_b == 1:
        full = t.op("Unsqueeze", full, t.ints(-1))
    if rank_a == 1:
        full = t.op("Unsqueeze", full, t.ints(-2))
    da = db = None
    if t.active(a):
        right = t.op("Unsqueeze", b, t.ints(0)) if rank_b == 1 else _transposed(t, b, rank_b)
        da = _fold(t, t.op("MatMul", full, right), a, rank_a, rank_b, squeezed=-2)
    if t.active(b):
        left = t.op("Unsqueeze", a, t.ints(-1)) if rank_a == 1 else _transposed(t, a, rank_a)
        db = _fold(t, t.op("MatMul", left, full), b, rank_b, rank_a, squeezed=-1)
    return [da, db]


def _transposed(t: Tape, name: str, rank: int) -> str:
    return t.op("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _fold(t: Tape, product: str, operand: str, rank: int, other: int, squeezed: int) -> str:
    """Sum the stack axes along which ``operand`` was repeated, and drop the axis a vector got."""
    if rank == 1:
        flat = t.op("Squeeze", product, t.ints(squeezed))
        if other > 2:
            flat = t.op("ReduceSum", flat, t.ints(*range(other - 2)), keepdims=0)
        return flat
    if rank == 2 and other <= 2:
        return product
    dims, whole = t.dims(operand), max(rank, other)
    lead = whole - rank
    if other <= 2 and lead == 0:
        return product
    axes = list(range(lead))
    for axis in range(rank - 2):
        if dims is None or dims[axis] == 1:
            axes.append(lead + axis)
    if not axes:
        return product
    if dims is None:
        return t.unbroadcast(product, operand, product)
    total = t.op("ReduceSum", product, t.ints(*axes), keepdims=int(axes[-1] >= lead))
    return t.reshape_like(total, operand) if lead and axes[-1] >= lead else total


@rule("Gemm")
def gemm(t: Tape, op: Op, g: str) -> Adjoints:
    """y = α A' B' + β C, where A' and B' are A and B or their transposes."""
    a, b = op.inputs[:2]
    alpha, beta = op.attribute("alpha", 1.0), op.attribute("beta", 1.0)
    trans_a, trans_b = op.attribute("transA", 0), op.attribute("transB", 0)
    da = db = dc = None
    if t.active(a) and not trans_a:
        da = t.op("Gemm", g, b, alpha=alpha, transB=1 - trans_b)
    elif t.active(a):
        da = t.op("Gemm", b, g, alpha=alpha, transA=trans_b, transB=1)
    if t.active(b) and not trans_b:
        db = t.op("Gemm", a, g, alpha=alpha, transA=1 - trans_a)
    elif t.active(b):
        db = t.op("Gemm", g, a, alpha=alpha, transA=1, transB=trans_a)
    c = op.input(2)
    if c is not None and t.active(c):
        scaled = t.op("Mul", g, t.scalar(beta, op.y)) if beta != 1 else g
        dc = t.unbroadcast(scaled, c, op.y)
    return [da, db, dc]
