"""``MatMulNBits``: a matrix product with weights of four bits, two of them in a byte."""

from __future__ import annotations

import numpy as np
import onnx

from lsa_onnx.rewrite.expand.builder import MICROSOFT, Builder, Expansion, NotExpandable

_UINT8 = onnx.TensorProto.UINT8
# What stands for zero where the node has no zero points.
_MIDDLE = 8.0


def _matmul_4_bits(b: Builder) -> str:
    """``A`` (…, k) times the transpose of the weights (n, k), which come in blocks along k."""
    if b.attribute("bits", 4) != 4 or b.has(4):
        raise NotExpandable("only four bits in their own order are known here")
    rows, block = b.attribute("N", 0), b.attribute("block_size", 0)
    blocks = [rows, -1, block]
    b.dtype = b.element(b.input(2))
    numbers = b.cast(b("Reshape", _unpacked(b, b.input(1)), blocks), b.dtype)
    scales = b("Reshape", b.input(2), [rows, -1, 1])
    values = b("Mul", b("Sub", numbers, _zero_points(b, rows)), scales)
    whole = b("Slice", b("Reshape", values, [rows, -1]), [0], [b.attribute("K", 0)], [1])
    y = b("MatMul", b.input(0), b("Transpose", whole, perm=[1, 0]))
    return b("Add", y, b.input(5)) if b.has(5) else y


def _unpacked(b: Builder, packed: str) -> str:
    """(…, bytes) as (…, bytes, 2): the lower four bits come first."""
    low = b("BitwiseAnd", packed, b.scalar(15, _UINT8))
    high = b("BitShift", packed, b.scalar(4, _UINT8), direction="RIGHT")
    return b("Concat", b("Unsqueeze", low, [-1]), b("Unsqueeze", high, [-1]), axis=-1)


def _zero_points(b: Builder, rows: int) -> str:
    """One for each row and block (n, blocks, 1), or one for all."""
    if not b.has(3):
        return b.scalar(_MIDDLE)
    if b.element(b.input(3)) != _UINT8:
        return b("Reshape", b.input(3), [rows, -1, 1])
    count = -(-b.attribute("K", 0) // b.attribute("block_size", 1))
    each = b("Reshape", _unpacked(b, b("Reshape", b.input(3), [rows, -1])), [rows, -1, 1])
    return b.cast(b("Slice", each, [0], np.array([count]), [1]), b.dtype)


EXPANSIONS: dict[tuple[str, str], Expansion] = {(MICROSOFT, "MatMulNBits"): _matmul_4_bits}
