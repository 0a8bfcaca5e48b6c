"""Comparisons, truth values, choices by them, and bits."""

from __future__ import annotations

import torch
from torch import Tensor

from lsa_trainer.ops.registry import operator
from lsa_trainer.ops.unsigned import through_int64

# Comparisons


@operator("Equal")
@through_int64
def equal(a: Tensor, b: Tensor) -> Tensor:
    """Whether a = b."""
    return torch.eq(a, b)


@operator("Less")
@through_int64
def less(a: Tensor, b: Tensor) -> Tensor:
    """Whether a < b."""
    return torch.lt(a, b)


@operator("LessOrEqual")
@through_int64
def less_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """Whether a ≤ b."""
    return torch.le(a, b)


@operator("Greater")
@through_int64
def greater(a: Tensor, b: Tensor) -> Tensor:
    """Whether a > b."""
    return torch.gt(a, b)


@operator("GreaterOrEqual")
@through_int64
def greater_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """Whether a ≥ b."""
    return torch.ge(a, b)


@operator("IsNaN")
def is_nan(x: Tensor) -> Tensor:
    """Whether x is not a number."""
    return torch.isnan(x)


@operator("IsInf")
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Whether x is infinite, of a sign that is asked for."""
    if detect_negative and detect_positive:
        return torch.isinf(x)
    if detect_negative:
        return torch.isneginf(x)
    return torch.isposinf(x) if detect_positive else torch.zeros_like(x, dtype=torch.bool)


# Truth values


@operator("And")
def and_(a: Tensor, b: Tensor) -> Tensor:
    """Whether both hold."""
    return torch.logical_and(a, b)


@operator("Or")
def or_(a: Tensor, b: Tensor) -> Tensor:
    """Whether at least one holds."""
    return torch.logical_or(a, b)


@operator("Xor")
def xor(a: Tensor, b: Tensor) -> Tensor:
    """Whether exactly one holds."""
    return torch.logical_xor(a, b)


@operator("Not")
def not_(x: Tensor) -> Tensor:
    """Whether x does not hold."""
    return torch.logical_not(x)


@operator("Where")
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Values of a where the condition holds, else of b."""
    return torch.where(condition, a, b)


# Bits


@operator("BitwiseAnd")
@through_int64
def bitwise_and(a: Tensor, b: Tensor) -> Tensor:
    """The bits that both have."""
    return torch.bitwise_and(a, b)


@operator("BitwiseOr")
@through_int64
def bitwise_or(a: Tensor, b: Tensor) -> Tensor:
    """The bits that at least one has."""
    return torch.bitwise_or(a, b)


@operator("BitwiseXor")
@through_int64
def bitwise_xor(a: Tensor, b: Tensor) -> Tensor:
    """The bits that exactly one has."""
    return torch.bitwise_xor(a, b)


@operator("BitwiseNot")
@through_int64
def bitwise_not(x: Tensor) -> Tensor:
    """The bits that x does not have."""
    return torch.bitwise_not(x)


@operator("BitShift")
@through_int64
def bit_shift(x: Tensor, by: Tensor, *, direction: str) -> Tensor:
    """The bits of x (without sign) moved by so many places, zeros moved in."""
    if direction == "LEFT":
        return torch.bitwise_left_shift(x, by)
    moved = torch.bitwise_right_shift(x, by)
    if x.dtype != torch.int64:
        return moved
    # A uint64 whose highest bit is set came as a negative number: copies of that bit were moved in.
    lowest = torch.tensor(torch.iinfo(torch.int64).min, device=x.device)
    copies = torch.bitwise_right_shift(lowest, by.clamp(min=1) - 1)
    return torch.where(by > 0, moved & ~copies, x)
