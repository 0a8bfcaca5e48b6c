"""Activation functions.

Where torch has a kernel of the same meaning, that is called: its derivative at a kink is torch's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import operator
from lsa_trainer.ops.unsigned import through_int64

_MICROSOFT = "com.microsoft"
_SELU_ALPHA = 1.67326319217681884765625
_SELU_GAMMA = 1.05070102214813232421875
# 1/6 as a file holds it, in single precision, is not further off.
_SIXTH, _SIXTH_ERROR = 1 / 6, 1e-8
# From here on ln(1 + eˣ) is x, also in double precision.
_SOFTPLUS_IS_LINEAR = 40.0

# Piecewise linear


@operator("Relu")
def relu(x: Tensor) -> Tensor:
    """``max(x, 0)``."""
    return torch.relu(x)


@operator("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """``x`` or, below 0, ``α x``."""
    return F.leaky_relu(x, alpha)


@operator("PRelu")
@through_int64
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """``x`` or, below 0, ``slope · x``; the slope is broadcast to x.

    Args:
        x: ``(n, c, ...)`` or any other shape.
        slope: Of any shape that x can take; for a single value, or one per channel ``(c, 1, ...)`` as
            exporters write it, torch has kernels.
    """
    if x.is_floating_point() and slope.numel() == 1 and slope.ndim <= x.ndim:
        return F.prelu(x, slope.reshape(1))
    if x.is_floating_point() and _is_per_channel(slope, x):
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, slope * x, x)


def _is_per_channel(slope: Tensor, x: Tensor) -> bool:
    shape = (1, *slope.shape) if slope.ndim == x.ndim - 1 else tuple(slope.shape)
    return x.ndim > 1 and shape == (1, x.shape[1], *(1 for _ in x.shape[2:]))


@operator("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x`` above α, else 0."""
    return F.threshold(x, alpha, 0.0)


@operator("Shrink")
@through_int64
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """``x``, moved by the bias towards 0, where it is further than λ from 0, else 0."""
    above = torch.where(x > lambd, x - bias, 0)
    return torch.where(x < -lambd, x + bias, above).to(x.dtype)


@operator("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """``α x + β``, clipped to 0..1."""
    if abs(alpha - _SIXTH) < _SIXTH_ERROR and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0, 1)


@operator("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    """``x · h`` with ``h = x / 6 + ½``, clipped to 0..1."""
    return F.hardswish(x)


# Exponential


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x`` or, below 0, ``α (eˣ − 1)``."""
    return F.elu(x, alpha)


@operator("Selu")
def selu(x: Tensor, *, alpha: float = _SELU_ALPHA, gamma: float = _SELU_GAMMA) -> Tensor:
    """``γ`` times Elu; torch's own has constants that cannot be set."""
    return torch.ops.aten.elu(x, alpha, gamma)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x`` or, below 0, ``α (e^(x/α) − 1)``."""
    return F.celu(x, alpha)


@operator("Sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    """``1 / (1 + e⁻ˣ)``."""
    return torch.sigmoid(x)


@operator("Softplus")
def softplus(x: Tensor) -> Tensor:
    """``ln(1 + eˣ)``."""
    return F.softplus(x, threshold=_SOFTPLUS_IS_LINEAR)


@operator("Softsign")
def softsign(x: Tensor) -> Tensor:
    """``x / (1 + |x|)``."""
    return F.softsign(x)


# Gated: x times something in 0..1


@operator("Gelu")
@operator("Gelu", domain=_MICROSOFT)
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """``x · Φ(x)``, with "tanh" in the usual approximation."""
    return F.gelu(x, approximate=approximate)


@operator("BiasGelu", domain=_MICROSOFT)
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Gelu of x + bias."""
    return F.gelu(x + bias)


@operator("FastGelu", domain=_MICROSOFT)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The approximation of Gelu by tanh, of x + bias."""
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("QuickGelu", domain=_MICROSOFT)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """The approximation of Gelu by a sigmoid."""
    return swish(x, alpha=alpha)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x · sigmoid(α x)``."""
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


@operator("Mish")
def mish(x: Tensor) -> Tensor:
    """``x · tanh(softplus(x))``."""
    return F.mish(x)


# Over an axis


@operator("Softmax")
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """``eˣ``, divided by its sum over the axis."""
    return torch.softmax(x, axis)


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """The logarithm of Softmax."""
    return torch.log_softmax(x, axis)


@operator("Hardmax")
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """1 at the first of the largest values along the axis, else 0."""
    zeros = torch.zeros_like(x)
    if not x.numel():
        return zeros
    return zeros.scatter(axis, x.argmax(axis, keepdim=True), 1.0)
