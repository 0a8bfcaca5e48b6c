"""Reductions over axes, positions and selections along an axis, running sums and products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from lsa_trainer.ops.registry import Function, Ints, operator
from lsa_trainer.ops.unsigned import signed, through_int64

Axes: TypeAlias = tuple[int, ...]
# (x, axes, whether they stay as axes of length 1) → the reduced tensor, in any type.
_Reduction: TypeAlias = Callable[[Tensor, Axes, bool], Tensor]


def _reduction(kind: str) -> Callable[[_Reduction], Function]:
    """Register a reduction over given axes, at least one, as the operator ``kind``."""

    def register(reduce: _Reduction) -> Function:
        def reduced(
            x: Tensor,
            axes: Ints | None = None,
            *,
            keepdims: int = 1,
            noop_with_empty_axes: int = 0,
        ) -> Tensor:
            wide = signed(x)
            if not axes and (noop_with_empty_axes or not x.ndim):
                # Each value is a sum, a norm, ... of its own.
                return reduce(wide.unsqueeze(-1), (-1,), False).to(x.dtype)
            over = tuple(axes or range(x.ndim))
            return reduce(wide, over, bool(keepdims)).to(x.dtype)

        reduced.__name__, reduced.__qualname__ = reduce.__name__, reduce.__qualname__
        reduced.__doc__ = reduce.__doc__
        return operator(kind)(reduced)

    return register


@_reduction("ReduceSum")
def reduce_sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``Σ x``."""
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype)


@_reduction("ReduceMean")
def reduce_mean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``Σ x / n``, for integers rounded towards zero."""
    if x.is_floating_point():
        return torch.mean(x, axes, keepdim=keep)
    count = math.prod(x.shape[axis] for axis in axes)
    total = torch.sum(x, axes, keepdim=keep, dtype=x.dtype)
    return torch.div(total, max(count, 1), rounding_mode="trunc")


@_reduction("ReduceMax")
def reduce_max(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """The largest x, of none the lowest value of the type; equal ones share the gradient."""
    if x.numel():
        return torch.amax(x, axes, keepdim=keep)
    return torch.full_like(torch.sum(x, axes, keepdim=keep, dtype=x.dtype), _extremes(x.dtype)[0])


@_reduction("ReduceMin")
def reduce_min(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """The smallest x, of none the highest value of the type; equal ones share the gradient."""
    if x.numel():
        return torch.amin(x, axes, keepdim=keep)
    return torch.full_like(torch.sum(x, axes, keepdim=keep, dtype=x.dtype), _extremes(x.dtype)[1])


def _extremes(kind: torch.dtype) -> tuple[float, float]:
    if kind == torch.bool:
        return False, True
    if kind.is_floating_point:
        return -math.inf, math.inf
    return torch.iinfo(kind).min, torch.iinfo(kind).max


@_reduction("ReduceProd")
def reduce_prod(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``Π x``."""
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


@_reduction("ReduceL1")
def reduce_l1(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``Σ |x|``."""
    return torch.sum(torch.abs(x), axes, keepdim=keep, dtype=x.dtype)


@_reduction("ReduceL2")
def reduce_l2(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``√Σ x²``; the gradient at 0 is 0, which that of the root would not be."""
    wide = x if x.is_floating_point() else x.double()
    return torch.linalg.vector_norm(wide, 2, axes, keepdim=keep)


@_reduction("ReduceLogSum")
def reduce_log_sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``ln Σ x``."""
    return torch.log(torch.sum(x, axes, keepdim=keep, dtype=x.dtype))


@_reduction("ReduceLogSumExp")
def reduce_log_sum_exp(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``ln Σ eˣ``."""
    return torch.logsumexp(x, axes, keepdim=keep)


@_reduction("ReduceSumSquare")
def reduce_sum_square(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    """``Σ x²``."""
    return torch.sum(torch.square(x), axes, keepdim=keep, dtype=x.dtype)


# Along one axis


@operator("ArgMax")
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Where the largest value is: the first one of equal ones, or the last."""
    return _position(torch.argmax, x, axis, bool(keepdims), bool(select_last_index))


@operator("ArgMin")
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Where the smallest value is: the first one of equal ones, or the last."""
    return _position(torch.argmin, x, axis, bool(keepdims), bool(select_last_index))


def _position(first: Function, x: Tensor, axis: int, keep: bool, last: bool) -> Tensor:
    wide = signed(x)
    if not last:
        return first(wide, axis, keepdim=keep)
    return x.shape[axis] - 1 - first(wide.flip(axis), axis, keepdim=keep)


@operator("TopK")
def top_k(
    x: Tensor,
    k: Ints,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002, ARG001  # ONNX's name; sorted ones are right for any order
) -> tuple[Tensor, Tensor]:
    """The k largest or smallest values along the axis and their places.

    Of equal ones those with the lower places come first, which ``torch.topk`` does not promise.
    """
    values, places = torch.sort(signed(x), dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, k[0]).to(x.dtype), places.narrow(axis, 0, k[0])


@operator("CumSum")
@through_int64
def cum_sum(x: Tensor, axis: Ints, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The sum of all x up to each, from the end with ``reverse``, without itself with ``exclusive``."""
    return _running(torch.cumsum, 0, x, axis[0], bool(exclusive), bool(reverse))


@operator("CumProd")
@through_int64
def cum_prod(x: Tensor, axis: Ints, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """The product of all x up to each; see ``cum_sum``."""
    return _running(torch.cumprod, 1, x, axis[0], bool(exclusive), bool(reverse))


def _running(
    accumulate: Function, start: int, x: Tensor, axis: int, exclusive: bool, reverse: bool
) -> Tensor:
    ordered = x.flip(axis) if reverse else x
    if exclusive:
        ordered = _delayed(ordered, axis, start)
    result = accumulate(ordered, axis, dtype=x.dtype)
    return result.flip(axis) if reverse else result


def _delayed(x: Tensor, axis: int, start: int) -> Tensor:
    """All values one place further on, ``start`` at the first; of the same shape, also an empty one."""
    shape = list(x.shape)
    shape[axis] = 1
    return torch.cat([x.new_full(shape, start), x], axis).narrow(axis, 0, x.shape[axis])
