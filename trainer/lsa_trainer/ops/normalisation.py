"""Normalisations by statistics of the tensor itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Ints, Op, operator

_MICROSOFT = "com.microsoft"
_HALVES = (torch.float16, torch.bfloat16)


@operator("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, b: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """``x`` (n, c, ...), each channel of each sample standardised, times scale plus b, both (c,)."""
    return torch.group_norm(x, x.shape[1], scale, b, epsilon)


@operator("GroupNormalization", since=21)
def group_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5
) -> Tensor:
    """``x`` (n, c, ...), each group of channels standardised, times scale plus bias, both (c,)."""
    return torch.group_norm(x, num_groups, scale, bias, epsilon)


@operator("GroupNormalization", until=20)
def group_normalization_18(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5
) -> Tensor:
    """The same, with one scale and one bias for each group."""
    repeats = x.shape[1] // num_groups
    per_channel = (p.repeat_interleave(repeats) for p in (scale, bias))
    return torch.group_norm(x, num_groups, *per_channel, epsilon)


def _half_stash(op: Op) -> str | None:
    wanted = op.attributes.get("stash_type", 1)
    return None if wanted == 1 else f"stash_type {wanted} is not supported, only 1 (float32)"


@operator("LayerNormalization", refuse=_half_stash)
@operator("LayerNormalization", domain=_MICROSOFT, refuse=_half_stash)
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """``x`` standardised over the axes from ``axis`` on, times scale plus b.

    Returns:
        The result, and where wanted the mean and one over the deviation, in single precision.
    """
    if outputs > 1:
        y, mean, inverse = _standardised(x, _from(axis, x), epsilon)
        return _affine(y, scale, b), mean.float(), inverse.float()
    shape = x.shape[axis:]
    if scale.shape == shape and (b is None or b.shape == shape):
        return F.layer_norm(x, shape, scale, b, epsilon)
    return _affine(F.layer_norm(x, shape, eps=epsilon), scale, b)


@operator("RMSNormalization", refuse=_half_stash)
def rms_normalization(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5) -> Tensor:
    """``x`` over the root of its mean square over the axes from ``axis`` on, times scale."""
    shape = x.shape[axis:]
    if scale.shape == shape:
        return F.rms_norm(x, shape, scale, epsilon)
    return F.rms_norm(x, shape, eps=epsilon) * scale


@operator("SimplifiedLayerNormalization", refuse=_half_stash)
@operator("SimplifiedLayerNormalization", domain=_MICROSOFT, refuse=_half_stash)
def simplified_layer_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, outputs: int = 1
) -> Tensor | tuple[Tensor, Tensor]:
    """``rms_normalization``, and where wanted one over the root, in single precision."""
    y = rms_normalization(x, scale, axis=axis, epsilon=epsilon)
    if outputs == 1:
        return y
    square = _wide(x).square().mean(_from(axis, x), keepdim=True)
    return y, (square + epsilon).rsqrt().float()


def _moments_wanted(op: Op) -> str | None:
    wanted = op.has_output(1) or op.has_output(2)
    return "its mean and deviation are wanted as outputs" if wanted else None


@operator("SkipLayerNormalization", domain=_MICROSOFT, refuse=_moments_wanted)
def skip_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    outputs: int = 1,
) -> Tensor | tuple[Tensor | None, ...]:
    """``layer_normalization`` of a sum, and the sum where it is wanted."""
    total = x + skip if bias is None else x + skip + bias
    y = F.layer_norm(total, gamma.shape, gamma, beta, epsilon)
    return y if outputs == 1 else (y, None, None, total)


@operator("SkipSimplifiedLayerNormalization", domain=_MICROSOFT, refuse=_moments_wanted)
def skip_simplified_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    outputs: int = 1,
) -> Tensor | tuple[Tensor | None, ...]:
    """``rms_normalization`` of a sum, and the sum where it is wanted."""
    total = x + skip if bias is None else x + skip + bias
    y = F.rms_norm(total, gamma.shape, gamma, epsilon)
    return y if outputs == 1 else (y, None, None, total)


@operator("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """``x`` over its p-norm along an axis; zeros stay zeros."""
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / torch.where(norm == 0, 1, norm)


@operator("LRN")
def local_response_normalization(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    """``x`` over a power of bias + alpha times the mean square of ``size`` neighbouring channels.

    Of an even number of channels, one more comes after than before.
    """
    n, c, *pixels = x.shape
    squares = x.square().reshape(n, 1, c, math.prod(pixels))
    padded = F.pad(squares, (0, 0, (size - 1) // 2, size // 2))
    mean = F.avg_pool2d(padded, (size, 1), stride=1).reshape(x.shape)
    return x * (bias + alpha * mean) ** -beta


@operator("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """``x`` less its mean, over its deviation, along ``axes``."""
    centred = x - x.mean(tuple(axes), keepdim=True)
    variance = centred.square().mean(tuple(axes), keepdim=True)
    varied = variance > 0
    # The root has no gradient at 0.
    return centred / (torch.where(varied, variance, 1).sqrt() * varied + 1e-9)


def _standardised(x: Tensor, axes: Ints, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """``x`` standardised, its mean and one over its deviation, in single precision at least."""
    wide = _wide(x)
    variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=True)
    inverse = (variance + epsilon).rsqrt()
    return ((wide - mean) * inverse).to(x.dtype), mean, inverse


def _affine(x: Tensor, scale: Tensor, b: Tensor | None) -> Tensor:
    return x * scale if b is None else x * scale + b


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in _HALVES else x


def _from(axis: int, x: Tensor) -> Ints:
    """The axes from one on."""
    return list(range(axis % x.dim(), x.dim()))
