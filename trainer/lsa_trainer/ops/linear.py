"""Matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.fused_activations import activated, unknown_activation
from lsa_trainer.ops.registry import operator
from lsa_trainer.ops.unsigned import through_int64

_MICROSOFT = "com.microsoft"


@operator("MatMul")
@through_int64
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product, of all matrices of a and b."""
    return torch.matmul(a, b)


@operator("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803 - likewise
) -> Tensor:
    """``alpha a b + beta c``, where c (m, n) may lack axes or have some of length 1."""
    if transB and not transA and alpha == beta == 1 and (c is None or c.shape == b.shape[:1]):
        return F.linear(a, b, c)
    left, right = a.t() if transA else a, b.t() if transB else b
    if c is None:
        product = left @ right
        return product if alpha == 1 else alpha * product
    return torch.addmm(c, left, right, beta=beta, alpha=alpha)


@operator("FusedGemm", domain=_MICROSOFT, refuse=unknown_activation)
def fused_gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803 - likewise
) -> Tensor:
    """``gemm``, then an activation."""
    y = gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    return activated(y, activation, (activation_alpha, activation_beta))


@operator("Einsum")
def einsum(*operands: Tensor, equation: str) -> Tensor:
    """Einstein's sum, in numpy's spelling."""
    return torch.einsum(equation, *operands)


@operator("MatMulInteger")
def matmul_integer(
    a: Tensor,
    b: Tensor,
    a_zero_point: Tensor | None = None,
    b_zero_point: Tensor | None = None,
) -> Tensor:
    """The matrix product of bytes less their zero points, as int32.

    Of the floats that ``quantisation`` gives in place of bytes, as floats: a gradient goes through them.
    A zero point is one number, or one for each row of a and each column of b. In doubles, which hold
    every sum exactly and which all devices multiply.
    """
    left, right = a.double(), b.double()
    if a_zero_point is not None:
        by_row = a_zero_point.dim() == 1 and a.dim() > 1
        left = left - (a_zero_point.unsqueeze(-1) if by_row else a_zero_point)
    if b_zero_point is not None:
        right = right - b_zero_point
    product = torch.matmul(left, right)
    return product if a.is_floating_point() else product.to(torch.int32)


@operator("FusedMatMul", "TransposeMatMul", domain=_MICROSOFT)
def fused_matmul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX Runtime's name
    transB: int = 0,  # noqa: N803 - likewise
    transBatchA: int = 0,  # noqa: N803 - likewise
    transBatchB: int = 0,  # noqa: N803 - likewise
) -> Tensor:
    """The matrix product of operands that may be transposed first, times ``alpha``."""
    y = _arranged(a, transBatchA, transA) @ _arranged(b, transBatchB, transB)
    return y if alpha == 1 else alpha * y


def _arranged(x: Tensor, batch: int, matrix: int) -> Tensor:
    """``x`` with its first axis next to the matrix, and the matrix transposed; not a vector."""
    if x.dim() < 2:
        return x
    if batch:
        x = x.movedim(0, -2)
    return x.mT if matrix else x
