"""Operators that move blocks of pixels between space and channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Ints, operator


@operator("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels (n, k²c, h, w) → pixels (n, c, kh, kw); CRD has the channel before the block."""
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    n, depth, height, width = x.shape
    k, channels = blocksize, depth // blocksize**2
    blocks = x.reshape(n, k, k, channels, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, channels, height * k, width * k)


@operator("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Pixels (n, c, kh, kw) → channels (n, k²c, h, w)."""
    if mode == "CRD":
        return F.pixel_unshuffle(x, blocksize)
    n, channels, height, width = x.shape
    k, rows, columns = blocksize, height // blocksize, width // blocksize
    blocks = x.reshape(n, channels, rows, k, columns, k)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, channels * k * k, rows, columns)


@operator("Col2Im")
def col2im(
    x: Tensor,
    image_shape: Ints,
    block_shape: Ints,
    *,
    strides: Ints | None = None,
    pads: Ints | None = None,
    dilations: Ints | None = None,
) -> Tensor:
    """Columns (n, c · block, places) → image (n, c, ...): entries that meet are added up."""
    rank = len(image_shape)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    before, after = (pads[:rank], pads[rank:]) if pads else ([0] * rank, [0] * rank)
    padded = [a + n + b for a, n, b in zip(before, image_shape, after, strict=True)]
    if rank == 2:
        image = F.fold(x, padded, block_shape, dilation=dilations, stride=strides)
    else:
        image = _fold(x, padded, block_shape, dilations, strides)
    inside = [slice(a, a + n) for a, n in zip(before, image_shape, strict=True)]
    return image[(..., *inside)]


def _fold(x: Tensor, shape: Ints, block: Ints, dilations: Ints, strides: Ints) -> Tensor:
    """``F.fold`` without padding for any number of spatial axes."""
    channels = x.shape[1] // math.prod(block)
    places = _places(shape, block, dilations, strides, x.device)
    image = x.new_zeros(x.shape[0], channels, math.prod(shape))
    added = image.index_add(2, places, x.reshape(x.shape[0], channels, -1))
    return added.reshape(x.shape[0], channels, *shape)


def _places(
    shape: Ints, block: Ints, dilations: Ints, strides: Ints, device: torch.device
) -> Tensor:
    """Where each entry (block, place) belongs in the flat image."""
    within = torch.zeros(1, dtype=torch.int64, device=device)
    corner = within
    for n, k, dilation, stride in zip(shape, block, dilations, strides, strict=True):
        count = (n - dilation * (k - 1) - 1) // stride + 1
        steps = torch.arange(k, device=device) * dilation
        starts = torch.arange(count, device=device) * stride
        within = (within.unsqueeze(1) * n + steps).reshape(-1)
        corner = (corner.unsqueeze(1) * n + starts).reshape(-1)
    return (within.unsqueeze(1) + corner).reshape(-1)
