"""Arithmetic, element by element, and determinants.

Inputs are broadcast against each other as in torch. Results have the type of the (first) input.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from lsa_trainer.ops.registry import Scalar, operator
from lsa_trainer.ops.unsigned import signed, through_int64

# Of two


@operator("Add")
@through_int64
def add(a: Tensor, b: Tensor) -> Tensor:
    """``a + b``."""
    return torch.add(a, b)


@operator("Sub")
@through_int64
def sub(a: Tensor, b: Tensor) -> Tensor:
    """``a − b``."""
    return torch.sub(a, b)


@operator("Mul")
@through_int64
def mul(a: Tensor, b: Tensor) -> Tensor:
    """``a · b``."""
    return torch.mul(a, b)


@operator("Div")
@through_int64
def div(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, for integers rounded towards zero."""
    if a.is_floating_point():
        return torch.div(a, b)
    return torch.div(a, b, rounding_mode="trunc")


@operator("Mod")
@through_int64
def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """What is left of ``a / b``, with the sign of b or, with ``fmod``, of a."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@operator("Pow")
def pow_(x: Tensor, exponent: Scalar) -> Tensor:
    """Powers of x, rounded towards zero where x is an integer."""
    if x.is_floating_point():
        # Of a number torch knows that it is 2, 3, ½, …: much faster, and it needs no logarithm of x.
        return torch.pow(x, signed(exponent)).to(x.dtype)
    power = torch.as_tensor(signed(exponent), device=x.device)
    base = x.double() if power.is_floating_point() else x
    return torch.pow(base, power).to(x.dtype)


# Of any number


@operator("Sum")
def sum_(*inputs: Tensor) -> Tensor:
    """The sum of all inputs."""
    return reduce(torch.add, inputs)


@operator("Mean")
def mean(*inputs: Tensor) -> Tensor:
    """The mean of all inputs."""
    return reduce(torch.add, inputs) / len(inputs)


@operator("Max")
@through_int64
def max_(*inputs: Tensor) -> Tensor:
    """The largest of all inputs; equal ones share the gradient."""
    return reduce(torch.maximum, inputs)


@operator("Min")
@through_int64
def min_(*inputs: Tensor) -> Tensor:
    """The smallest of all inputs; equal ones share the gradient."""
    return reduce(torch.minimum, inputs)


@operator("Clip")
@through_int64
def clip(x: Tensor, low: Scalar | None = None, high: Scalar | None = None) -> Tensor:
    """``min(max(x, low), high)``: bounds in the wrong order make every result the upper one.

    An x on a bound counts as inside: it keeps its gradient.
    """
    if low is None and high is None:
        return x
    if not isinstance(low, Tensor) and not isinstance(high, Tensor):
        return torch.clamp(x, low, high)
    # torch does not take a tensor for one bound and a number for the other.
    raised = x if low is None else torch.clamp(x, min=_without_shape(low))
    return raised if high is None else torch.clamp(raised, max=_without_shape(high))


def _without_shape(bound: Scalar) -> Scalar:
    """A bound of shape (1,), which ONNX Runtime takes too, must not add an axis to the result."""
    return bound.reshape(()) if isinstance(bound, Tensor) else bound


# Of one


@operator("Neg")
def neg(x: Tensor) -> Tensor:
    """``−x``."""
    return torch.neg(x)


@operator("Abs")
@through_int64
def abs_(x: Tensor) -> Tensor:
    """``|x|``; the gradient at 0 is 0."""
    return torch.abs(x)


@operator("Sign")
@through_int64
def sign(x: Tensor) -> Tensor:
    """``−1``, 0 or 1; NaN stays, which torch would make 0."""
    signs = torch.sign(x)
    return torch.where(torch.isnan(x), x, signs) if x.is_floating_point() else signs


@operator("Reciprocal")
def reciprocal(x: Tensor) -> Tensor:
    """``1 / x``."""
    return torch.reciprocal(x)


@operator("Sqrt")
def sqrt(x: Tensor) -> Tensor:
    """``√x``."""
    return torch.sqrt(x)


@operator("Exp")
def exp(x: Tensor) -> Tensor:
    """``eˣ``."""
    return torch.exp(x)


@operator("Log")
def log(x: Tensor) -> Tensor:
    """The natural logarithm."""
    return torch.log(x)


@operator("Erf")
def erf(x: Tensor) -> Tensor:
    """The error function."""
    return torch.erf(x)


@operator("Floor")
def floor(x: Tensor) -> Tensor:
    """The next whole number below."""
    return torch.floor(x)


@operator("Ceil")
def ceil(x: Tensor) -> Tensor:
    """The next whole number above."""
    return torch.ceil(x)


@operator("Round")
def round_(x: Tensor) -> Tensor:
    """The nearest whole number, of two the even one."""
    return torch.round(x)


# Of a matrix


@operator("Det")
def det(x: Tensor) -> Tensor:
    """Determinants, ``(..., n, n)`` to ``(...)``; torch has none in half precision."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return torch.linalg.det(wide).to(x.dtype)
