"""Sampling of an image at the points of a grid, and the grid of an affine map."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from lsa_trainer.ops.registry import Ints, Op, operator

# Modes had longer names before opset 20.
_MODES = {
    "bilinear": "bilinear",
    "linear": "bilinear",
    "nearest": "nearest",
    "bicubic": "bicubic",
    "cubic": "bicubic",
}
_PADDINGS = ("zeros", "border", "reflection")


def _refusal(op: Op) -> str | None:
    mode = op.attributes.get("mode", "linear")
    if mode not in _MODES:
        return f"mode {mode!r} is none of {', '.join(_MODES)}"
    padding = op.attributes.get("padding_mode", "zeros")
    if padding not in _PADDINGS:
        return f"padding_mode {padding!r} is none of {', '.join(_PADDINGS)}"
    return None


@operator("GridSample", refuse=_refusal)
def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    """The values of ``x`` (n, c, ...) at points from −1 to 1: grid is (n, ..., axes), last axis first.

    The mode cubic is for images of two axes, as in ONNX Runtime.
    """
    dtype = torch.promote_types(x.dtype, grid.dtype)
    points = grid.to(dtype)
    if mode == "nearest" and padding_mode == "reflection" and not align_corners:
        points = _at_pixels(points, x)
    y = functional.grid_sample(
        x.to(dtype),
        points,
        mode=_MODES[mode],
        padding_mode=padding_mode,
        align_corners=bool(align_corners),
    )
    return y.to(x.dtype)


def _at_pixels(points: Tensor, x: Tensor) -> Tensor:
    """Points moved to the nearest pixels; torch would do so after reflecting them, ONNX does before."""
    lengths = torch.tensor(x.shape[:1:-1], dtype=points.dtype, device=points.device)
    pixels = torch.round(((points + 1) * lengths - 1) / 2)
    return (2 * pixels + 1) / lengths - 1


@operator("AffineGrid")
def affine_grid(theta: Tensor, size: Ints, *, align_corners: int = 0) -> Tensor:
    """The points of an image of ``size`` (n, c, ...), mapped by ``theta`` (n, axes, axes + 1).

    Of an axis of one pixel, torch's own function takes the middle where ONNX Runtime takes the end.
    """
    axis = partial(_evenly, theta, aligned=bool(align_corners))
    meshed = torch.meshgrid([axis(count) for count in size[2:]], indexing="ij")
    # The first coordinate of a point is along the last axis.
    points = torch.stack([*reversed(meshed), torch.ones_like(meshed[0])], dim=-1)
    mapped = points.flatten(0, -2) @ theta.transpose(1, 2)
    return mapped.unflatten(1, size[2:])


def _evenly(theta: Tensor, count: int, *, aligned: bool) -> Tensor:
    """Points from −1 to 1 of the type of ``theta``: at the edges of all pixels, or their centres."""
    end = 1.0 if aligned else 1 - 1 / max(count, 1)
    start = end if count == 1 else -end
    return torch.linspace(start, end, count, dtype=theta.dtype, device=theta.device)
