"""Pooling of regions of interest: each cell of a region is made of a few pixels of its image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from lsa_trainer.ops.registry import operator


@dataclass(frozen=True)
class _Taps:
    """What the cells of each region read along one axis.

    Attributes:
        indices: (regions, cells, taps), pixels inside of the image.
        weights: Likewise, of the type of the regions; 0 for a point that lies outside.
        exist: Likewise, which taps there are: regions may have different numbers of them.
    """

    indices: Tensor
    weights: Tensor
    exist: Tensor


@operator("RoiAlign")
def roi_align(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """Pool ``x`` (n, c, h, w) at regions (r, 4: x1, y1, x2, y2): (r, c, output height, width).

    With mode max, the largest weighted pixel is taken, not the largest interpolated value.
    """
    centred = coordinate_transformation_mode == "half_pixel"
    corners = rois.to(torch.promote_types(rois.dtype, torch.float32)) * spatial_scale
    start, end = (corners - 0.5 if centred else corners).unflatten(1, (2, 2)).unbind(1)
    extent = end - start if centred else (end - start).clamp(min=1)
    cells = (output_width, output_height)
    ratios = [sampling_ratio or _adaptive(extent[:, a] / cells[a]) for a in (0, 1)]
    across, down = (
        _sampled(start[:, a], extent[:, a] / cells[a], ratios[a], cells[a], x.shape[3 - a])
        for a in (0, 1)
    )
    if mode == "max":
        return _largest(x, batch_indices, down, across)
    return _summed(x, batch_indices, _averaged(down), _averaged(across))


def _adaptive(cell: Tensor) -> Tensor:
    """As many points in a cell as it has pixels: (regions,)."""
    return cell.detach().ceil().long()


def _sampled(start: Tensor, cell: Tensor, ratio: int | Tensor, cells: int, length: int) -> _Taps:
    """The pixels on both sides of the points in cells of size ``cell``."""
    counts = torch.full_like(cell, ratio, dtype=torch.long) if isinstance(ratio, int) else ratio
    most = ratio if isinstance(ratio, int) else max(int(counts.max()), 1) if len(counts) else 1
    number = torch.arange(most, device=cell.device)
    inner = (number + 0.5) / counts.clamp(min=1)[:, None, None]
    which = torch.arange(cells, device=cell.device)[:, None]
    point = start[:, None, None] + (which + inner) * cell[:, None, None]
    inside = (point >= -1) & (point <= length)
    point = point.clamp(0, length - 1)
    below = point.detach().floor()
    part = point - below
    pixels = torch.cat([below, (below + 1).clamp(max=length - 1)], 2).long()
    weights = torch.cat([1 - part, part], 2) * inside.repeat(1, 1, 2)
    exist = (number < counts[:, None, None]).expand(-1, cells, -1).repeat(1, 1, 2)
    return _Taps(pixels, weights * exist, exist)


def _averaged(taps: _Taps) -> _Taps:
    """With the weights of an average over the points, which have two taps each."""
    points = taps.exist.sum(2, keepdim=True) / 2
    return replace(taps, weights=taps.weights / points.clamp(min=1))


@operator("MaxRoiPool")
def max_roi_pool(
    x: Tensor, rois: Tensor, *, pooled_shape: list[int], spatial_scale: float = 1.0
) -> Tensor:
    """Pool ``x`` (n, c, h, w) at regions (r, 5: image, x1, y1, x2, y2), whole pixels both included."""
    scaled = rois[:, 1:] * spatial_scale
    # Halves are rounded away from zero.
    corners = (scaled.abs() + 0.5).floor() * scaled.sign()
    down, across = (
        _covered(corners[:, 1 - a], corners[:, 3 - a], pooled_shape[a], x.shape[2 + a])
        for a in (0, 1)
    )
    return _largest(x, rois[:, 0], down, across)


def _covered(start: Tensor, end: Tensor, cells: int, length: int) -> _Taps:
    """All pixels that the cells touch."""
    cell = (end - start + 1).clamp(min=1)[:, None] / cells
    which = torch.arange(cells, device=start.device)
    first = ((which * cell).floor() + start[:, None]).clamp(0, length).long()
    behind = (((which + 1) * cell).ceil() + start[:, None]).clamp(0, length).long()
    most = max(int((behind - first).max()), 1) if len(start) else 1
    indices = first[:, :, None] + torch.arange(most, device=start.device)
    exist = indices < behind[:, :, None]
    return _Taps(indices.clamp(max=length - 1), torch.ones_like(exist, dtype=start.dtype), exist)


def _pixels(x: Tensor, images: Tensor, down: _Taps, across: _Taps) -> Tensor:
    """Rows of ``_rows`` that each cell of each region reads: (regions × cells, taps)."""
    height, width = x.shape[2:]
    row = images.long()[:, None, None] * height + down.indices
    return _outer(row * width, across.indices, torch.add)


def _outer(down: Tensor, across: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Every tap along one axis combined with every one along the other: (regions × cells, taps)."""
    both = combine(down[:, :, None, :, None], across[:, None, :, None, :])
    return both.flatten(3).flatten(0, 2)


def _rows(x: Tensor) -> Tensor:
    """A row of channels for each pixel of all images."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _as_maps(cells: Tensor, down: _Taps, across: _Taps) -> Tensor:
    """(regions × cells, c) as (regions, c, cells down, cells across)."""
    regions, height = down.indices.shape[:2]
    return cells.view(regions, height, across.indices.shape[1], cells.shape[1]).permute(0, 3, 1, 2)


def _summed(x: Tensor, images: Tensor, down: _Taps, across: _Taps) -> Tensor:
    weights = _outer(down.weights, across.weights, torch.mul).to(x.dtype)
    read = _pixels(x, images, down, across)
    sums = functional.embedding_bag(read, _rows(x), per_sample_weights=weights, mode="sum")
    return _as_maps(sums, down, across)


def _largest(x: Tensor, images: Tensor, down: _Taps, across: _Taps) -> Tensor:
    """The largest weighted pixel of each cell, 0 where it has none."""
    weights = _outer(down.weights, across.weights, torch.mul).to(x.dtype)
    exist = _outer(down.exist, across.exist, torch.logical_and)
    values = _rows(x)[_pixels(x, images, down, across)] * weights[:, :, None]
    largest = values.masked_fill(~exist[:, :, None], -torch.inf).max(1).values
    return _as_maps(torch.where(exist.any(1, keepdim=True), largest, 0), down, across)
