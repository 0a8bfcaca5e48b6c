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
        da = _fold(t, t.op("MatMul", full, right), a, b, vector=-2)
    if t.active(b):
        left = t.op("Unsqueeze", a, t.ints(-1)) if rank_a == 1 else _transposed(t, a, rank_a)
        db = _fold(t, t.op("MatMul", left, full), b, a, vector=-1)
    return [da, db]


def _transposed(t: Tape, name: str, rank: int) -> str:
    return t.op("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _fold(t: Tape, product: str, operand: str, other: str, vector: int) -> str:
    """Sum the stack axes along which ``operand`` was repeated, and drop the axis a vector got."""
    rank, stacked = t.rank(operand), t.rank(other) - 2
    if rank == 1:
        flat = t.op("Squeeze", product, t.ints(vector))
        return t.op("ReduceSum", flat, t.ints(*range(stacked)), keepdims=0) if stacked > 0 else flat
    lead = max(0, stacked - (rank - 2))
    axes = list(range(lead))
    for axis in range(max(0, rank - 2 - stacked), rank - 2):
        repeated = _repeated(t, operand, axis, other, axis + stacked - (rank - 2))
        if repeated is None:
            return t.unbroadcast(product, operand, product)
        axes += [lead + axis] * repeated
    if not axes:
        return product
    keep = axes[-1] >= lead
    total = t.op("ReduceSum", product, t.ints(*axes), keepdims=int(keep))
    return t.reshape_like(total, operand) if lead and keep else total


def _repeated(t: Tape, operand: str, axis: int, other: str, facing: int) -> bool | None:
    """Whether an axis of ``operand`` has length 1 where that of ``other`` may not; ``None`` if unknown."""
    size, opposite = (
        dims[i] if (dims := t.dims(n)) else None for n, i in ((operand, axis), (other, facing))
    )
    if size == 1 or opposite == 1 or t.known.same_dim(operand, axis, other, facing):
        return size == 1
    return None if size is None else False


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
