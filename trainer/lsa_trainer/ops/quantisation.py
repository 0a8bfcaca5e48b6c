"""Quantisation, with gradients that go straight through the rounding.

A gradient cannot pass through a tensor of integers. ``QuantizeLinear`` and ``DynamicQuantizeLinear``
therefore return the numbers that ONNX defines as **floats** (single precision, or double where x is):
whole numbers, or those that float8 and float4 can hold. ``DequantizeLinear`` takes these and integers
alike. ``quantised_type`` says which type ONNX gives the numbers, for one who hands them out.

Rounding counts as the identity. Outside of the range that the type can hold, a value does not move
what it is rounded to, and its gradient is 0 (Bengio et al. 2013; Esser et al. 2020, Eq. 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import onnx
import torch
from torch import Tensor

from lsa_trainer.ops.registry import Op, operator

_Types: TypeAlias = onnx.TensorProto
# Lowest and highest number. Zero points of fewer than 8 bits have no type in torch, so that the file
# (or who translates it) must name theirs in ``output_dtype``.
_WHOLE: dict[int, tuple[int, int]] = {
    _Types.UINT8: (0, 255),
    _Types.INT8: (-128, 127),
    _Types.UINT16: (0, 65535),
    _Types.INT16: (-32768, 32767),
    _Types.UINT4: (0, 15),
    _Types.INT4: (-8, 7),
    _Types.UINT2: (0, 3),
    _Types.INT2: (-2, 1),
}
_FLOAT8: dict[int, torch.dtype] = {
    _Types.FLOAT8E4M3FN: torch.float8_e4m3fn,
    _Types.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    _Types.FLOAT8E5M2: torch.float8_e5m2,
    _Types.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
}
_ZERO_POINTS: dict[torch.dtype, int] = {
    torch.uint8: _Types.UINT8,
    torch.int8: _Types.INT8,
    torch.uint16: _Types.UINT16,
    torch.int16: _Types.INT16,
    **{dtype: element for element, dtype in _FLOAT8.items()},
}
_RESULTS: dict[int, torch.dtype] = {
    _Types.FLOAT: torch.float32,
    _Types.FLOAT16: torch.float16,
    _Types.BFLOAT16: torch.bfloat16,
}
_HIGHEST_FLOAT4 = 6.0


def quantised_type(zero_point: Tensor | None, output_dtype: int = 0) -> int:
    """The element type, as ONNX numbers them, that ``QuantizeLinear`` gives its result.

    Where the zero point is one that ``DynamicQuantizeLinear`` made, it is ``uint8``.
    """
    if output_dtype:
        return output_dtype
    return _Types.UINT8 if zero_point is None else _ZERO_POINTS.get(zero_point.dtype, _Types.UINT8)


def _refusal(op: Op) -> str | None:
    element = op.attributes.get("output_dtype", 0)
    if element in (0, _Types.FLOAT4E2M1, *_WHOLE, *_FLOAT8):
        return None
    return f"output_dtype {element} is no type to quantise to"


@operator("QuantizeLinear", refuse=_refusal)
def quantize_linear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """``saturate(round(x / scale) + zero point)`` as floats, with one scale, one per entry or per block."""
    dtype = _RESULTS.get(precision, _computed(x))
    ratio = (x.to(dtype) / _spread(y_scale.to(dtype), x, axis, block_size)).to(_computed(x))
    element = quantised_type(y_zero_point, output_dtype)
    if element not in _WHOLE:
        return _to_small_floats(ratio, element, saturates=bool(saturate))
    zero: Tensor | float = 0.0
    if y_zero_point is not None:
        zero = _spread(y_zero_point.to(ratio.dtype), x, axis, block_size)
    return _to_whole_numbers(ratio, zero, *_WHOLE[element])


@operator("DequantizeLinear")
def dequantize_linear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """``(x − zero point) · scale``, in the type of the scale or ``output_dtype``."""
    dtype = _computed(x_scale)
    number = x.to(dtype)
    if x_zero_point is not None:
        number = number - _spread(x_zero_point.to(dtype), x, axis, block_size)
    result = _RESULTS.get(output_dtype, x_scale.dtype)
    return (number * _spread(x_scale.to(dtype), x, axis, block_size)).to(result)


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` in 8 bits whose range is its own, the scale, and the zero point; these two are constants."""
    low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
    scale = torch.where(high == low, 1, (high - low) / 255)
    zero = torch.round((-low / scale).clamp(0, 255))
    return _to_whole_numbers(x / scale, zero, 0, 255), scale, zero


def _computed(x: Tensor) -> torch.dtype:
    """The precision to compute in: single for all that is not double."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _spread(values: Tensor, x: Tensor, axis: int, block_size: int) -> Tensor:
    """Scales or zero points (floats: torch does little with uint16) shaped to broadcast with ``x``."""
    if values.numel() == 1:
        return values.reshape(())
    if block_size:
        index = torch.arange(x.shape[axis], device=values.device) // block_size
        return values.index_select(axis, index)
    return values.view([-1 if a == axis % x.dim() else 1 for a in range(x.dim())])


def _to_whole_numbers(ratio: Tensor, zero: Tensor | float, low: int, high: int) -> Tensor:
    # The ends themselves are not clipped: the black of an image is often the lowest number.
    kept = torch.clamp(ratio, low - 0.5 - zero, high + 0.5 - zero)
    return _straight_through(kept, lambda number: (number.round() + zero).clamp(low, high))


def _to_small_floats(ratio: Tensor, element: int, *, saturates: bool) -> Tensor:
    if element == _Types.FLOAT4E2M1:
        kept = ratio.clamp(-_HIGHEST_FLOAT4, _HIGHEST_FLOAT4)
        return _straight_through(kept, _to_float4)
    kind = torch.finfo(_FLOAT8[element])
    kept = ratio.clamp(-kind.max, kind.max)

    def rounded(number: Tensor) -> Tensor:
        held = number.to(_FLOAT8[element]).to(number.dtype)
        # Beyond half a step above the highest number.
        overflows = ratio.abs() > kind.max + kind.eps / 2 * 2 ** math.floor(math.log2(kind.max))
        beyond = torch.inf if element == _Types.FLOAT8E5M2 else torch.nan
        return held if saturates else torch.where(overflows, ratio.sign() * beyond, held)

    return _straight_through(kept, rounded)


def _to_float4(number: Tensor) -> Tensor:
    """Rounded to one binary digit, halves to even."""
    size = number.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0)).to(number.dtype)
    return (number / step).round() * step


def _straight_through(x: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """``rounded(x)``, with the gradient of ``x``."""
    with torch.no_grad():
        result = rounded(x)
    return result + (x - x.detach())
