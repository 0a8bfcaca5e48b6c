"""Changes of the element type."""

from __future__ import annotations

import torch
from torch import Tensor

from lsa_trainer.ops.element_types import TORCH_TYPES, type_refusal
from lsa_trainer.ops.registry import Op, operator

_FLOAT8 = (
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
)
# Numbers from here on round to more than the largest of this type, which has no infinity. ONNX makes them
# NaN; torch's releases differ.
_E4M3FN_END = 464.0


def _target_refusal(op: Op) -> str | None:
    return type_refusal(op.attributes["to"])


@operator("Cast", refuse=_target_refusal)
def cast(x: Tensor, *, to: int, saturate: int = 1) -> Tensor:
    """``x`` as another type: floats lose their fraction, integers their high bits."""
    return _cast(x, TORCH_TYPES[to], saturate)


@operator("CastLike")
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1) -> Tensor:
    """``x`` as the type of ``like``."""
    return _cast(x, like.dtype, saturate)


@operator("BitCast", refuse=_target_refusal)
def bit_cast(x: Tensor, *, to: int) -> Tensor:
    """The bits of x, read as another type of the same width."""
    return x.view(TORCH_TYPES[to])


def _cast(x: Tensor, dtype: torch.dtype, saturate: int) -> Tensor:
    if dtype not in _FLOAT8 or not x.dtype.is_floating_point:
        return x.to(dtype)
    x = x.to(torch.float32)
    if saturate:
        limit = torch.finfo(dtype).max
        return x.clamp(-limit, limit).to(dtype)
    if dtype == torch.float8_e4m3fn:
        x = x.masked_fill(x.abs() > _E4M3FN_END, torch.nan)
    return x.to(dtype)
