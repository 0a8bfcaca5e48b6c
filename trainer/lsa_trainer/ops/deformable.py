"""Convolution whose kernel elements are moved, each by an offset of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Ints, operator
from lsa_trainer.ops.windows import Window


@operator("DeformConv")
def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """The convolution of x, read between its elements, with w.

    Args:
        x: (n, c, ...) with one to three spatial axes.
        w: (m, c / group, kernel...).
        offset: (n, offset_group * kernel elements * spatial axes, out...): where each kernel element
            reads, less where it would without.
        b: (m,), added.
        mask: (n, offset_group * kernel elements, out...): a factor for what is read.
        dilations: Of the kernel.
        group: Into how many groups channels are divided.
        offset_group: How many groups of channels have offsets of their own.
        pads: Zeros around x, begins and then ends.
        strides: Of the kernel.
    """
    window = Window.of(w.shape[2:], strides, dilations)
    outs, elements = offset.shape[2:], math.prod(window.kernel)
    begins, _ = window.margins(x.shape[2:], "NOTSET", pads)
    moved = offset.reshape(x.shape[0] * offset_group, elements, len(outs), *outs)
    places = _wide(moved) + _resting(window, begins, outs, moved)
    read = _read(x.reshape(x.shape[0] * offset_group, -1, *x.shape[2:]), places)
    if mask is not None:
        read = read * mask.reshape(x.shape[0] * offset_group, 1, elements, -1)
    # Samples, groups, what a group sums over, pixels.
    columns = read.reshape(x.shape[0], group, w[0].numel(), -1)
    y = w.reshape(group, -1, w[0].numel()) @ columns
    y = y.reshape(x.shape[0], w.shape[0], *outs)
    return y if b is None else y + b.reshape(-1, *[1] * len(outs))


def _wide(x: Tensor) -> Tensor:
    """In single precision at least: halves cannot tell the pixels of an image apart."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _resting(window: Window, begins: Ints, outs: Sequence[int], like: Tensor) -> Tensor:
    """Where kernel elements read without an offset: (elements, spatial axes, out...)."""
    spatial = len(outs)
    dtype = _wide(like).dtype
    axes = []
    for axis in range(spatial):
        inner = torch.arange(window.kernel[axis], device=like.device, dtype=dtype)
        outer = torch.arange(outs[axis], device=like.device, dtype=dtype)
        inner = _along(inner * window.dilations[axis], axis, 2 * spatial)
        outer = _along(outer * window.strides[axis], spatial + axis, 2 * spatial)
        place = (inner + outer - begins[axis]).expand(*window.kernel, *outs)
        axes.append(place.reshape(-1, *outs))
    return torch.stack(axes, dim=1)


def _along(values: Tensor, axis: int, rank: int) -> Tensor:
    return values.reshape([-1 if other == axis else 1 for other in range(rank)])


def _read(x: Tensor, places: Tensor) -> Tensor:
    """What x (n, c, ...) holds at places (n, elements, spatial axes, out...), 0 outside.

    Returns:
        (n, c, elements, out elements), interpolated linearly.
    """
    n, elements, spatial = places.shape[:3]
    flat = places.reshape(n, elements, spatial, -1)
    sizes = torch.tensor(x.shape[2:], device=x.device, dtype=flat.dtype)
    # Torch counts from -1 to 1 between the outer edges of the pixels, the last axis first.
    grid = ((2 * flat + 1) / sizes[:, None] - 1).movedim(2, -1).flip(-1)
    if spatial == 1:
        # Torch reads images and volumes alone: a row is an image of height 1, read in its middle.
        x, grid = x.unsqueeze(2), F.pad(grid, (0, 1))
    if spatial == 3:
        grid = grid.unsqueeze(1)
    read = F.grid_sample(_wide(x), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return read.reshape(n, x.shape[1], elements, -1).to(x.dtype)
