"""Trigonometric and hyperbolic functions and their inverses; angles in radians."""

from __future__ import annotations

import torch
from torch import Tensor

from lsa_trainer.ops.registry import operator


@operator("Sin")
def sin(x: Tensor) -> Tensor:
    """Sine."""
    return torch.sin(x)


@operator("Cos")
def cos(x: Tensor) -> Tensor:
    """Cosine."""
    return torch.cos(x)


@operator("Tan")
def tan(x: Tensor) -> Tensor:
    """Tangent."""
    return torch.tan(x)


@operator("Asin")
def asin(x: Tensor) -> Tensor:
    """The angle in −π/2..π/2 of a sine; NaN outside −1..1."""
    return torch.asin(x)


@operator("Acos")
def acos(x: Tensor) -> Tensor:
    """The angle in 0..π of a cosine; NaN outside −1..1."""
    return torch.acos(x)


@operator("Atan")
def atan(x: Tensor) -> Tensor:
    """The angle in −π/2..π/2 of a tangent."""
    return torch.atan(x)


@operator("Sinh")
def sinh(x: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return torch.sinh(x)


@operator("Cosh")
def cosh(x: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(x)


@operator("Tanh")
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


@operator("Asinh")
def asinh(x: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    return torch.asinh(x)


@operator("Acosh")
def acosh(x: Tensor) -> Tensor:
    """Inverse hyperbolic cosine, at least 0; NaN below 1."""
    return torch.acosh(x)


@operator("Atanh")
def atanh(x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; NaN outside −1..1."""
    return torch.atanh(x)
