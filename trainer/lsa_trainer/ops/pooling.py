"""Pooling over windows and over whole images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Ints, Op, operator
from lsa_trainer.ops.windows import Window, as_torch_pads

# By number of spatial axes.
_MAXIMA: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _too_many_axes(op: Op) -> str | None:
    spatial = len(op.attributes["kernel_shape"])
    return f"{spatial} spatial axes are more than 3" if spatial > len(_MAXIMA) else None


@operator("MaxPool", refuse=_too_many_axes)
def max_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    outputs: int = 1,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each window, and where it is in x, seen as one long vector."""
    window = Window.of(kernel_shape, strides, dilations)
    begins, ends = _margins(window, x, auto_pad, pads)
    # Torch pools no bytes on some devices; single precision holds them all.
    wide = x if x.is_floating_point() else x.float()
    built_in, outer = begins, [0] * len(begins)
    if not _known_to_torch(window, begins, ends):
        counts = window.count(x.shape[2:], begins, ends, ceil=bool(ceil_mode))
        reached = window.reached(x.shape[2:], begins, counts)
        wide = F.pad(wide, as_torch_pads(begins, reached), value=-math.inf)
        built_in, outer, ceil_mode = outer, begins, 0
    how = (kernel_shape, window.strides, built_in, window.dilations, bool(ceil_mode), outputs > 1)
    pooled = _MAXIMA[len(kernel_shape)](wide, *how)
    if outputs == 1:
        return pooled.to(x.dtype)
    y, places = pooled
    return y.to(x.dtype), _places(places, wide.shape[2:], outer, x, storage_order)


@operator("AveragePool", refuse=_too_many_axes)
def average_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """The mean of each window, of its elements inside x or also of the padding, which is 0."""
    window = Window.of(kernel_shape, strides, dilations)
    begins, ends = _margins(window, x, auto_pad, pads)
    if _known_to_torch(window, begins, ends) and window.spans == window.kernel:
        pool = _MEANS[len(kernel_shape)]
        how = (window.strides, begins, bool(ceil_mode), bool(count_include_pad))
        return pool(x, kernel_shape, *how)
    counts = window.count(x.shape[2:], begins, ends, ceil=bool(ceil_mode))
    counted, before = x.new_ones((1, 1, *x.shape[2:])), begins
    if count_include_pad:
        # What a last window covers beyond the padding does not count.
        counted, before = F.pad(counted, as_torch_pads(begins, ends), value=1), [0] * len(begins)
    return _sums(x, window, begins, counts) / _sums(counted, window, before, counts)


@operator("LpPool", refuse=_too_many_axes)
def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """The p-norm of each window."""
    window = Window.of(kernel_shape, strides, dilations)
    begins, ends = _margins(window, x, auto_pad, pads)
    counts = window.count(x.shape[2:], begins, ends, ceil=bool(ceil_mode))
    return _root(_sums(_power(x, p), window, begins, counts), p)


@operator("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean(_pixels(x), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """The largest element of each channel; equal ones share its gradient."""
    return x.amax(_pixels(x), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    """The p-norm of each channel."""
    return _root(_power(x, p).sum(_pixels(x), keepdim=True), p)


@operator("MaxUnpool")
def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Ints | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    """Zeros, and x where a ``max_pool`` has found it."""
    window = Window.of(kernel_shape, strides, None)
    begins, ends = window.margins(x.shape[2:], "NOTSET", pads)
    sizes = [
        (count - 1) * stride - begin - end + kernel
        for count, stride, begin, end, kernel in zip(
            x.shape[2:], window.strides, begins, ends, kernel_shape, strict=True
        )
    ]
    shape = (*x.shape[:2], *(output_shape[2:] if output_shape else sizes))
    empty = x.new_zeros(math.prod(shape))
    return empty.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(shape)


def _margins(window: Window, x: Tensor, auto_pad: str, pads: Ints | None) -> tuple[Ints, Ints]:
    # ONNX Runtime's automatic padding for pools is that of a window without dilation.
    return window.margins(x.shape[2:], auto_pad, pads, spans=window.kernel)


def _known_to_torch(window: Window, begins: Ints, ends: Ints) -> bool:
    """Whether torch takes this padding: the same on both sides, half a window at most."""
    return begins == ends and all(
        2 * begin <= size for begin, size in zip(begins, window.kernel, strict=True)
    )


def _places(
    found: Tensor, sizes: Sequence[int], begins: Ints, x: Tensor, storage_order: int
) -> Tensor:
    """Where windows have their largest element, in the whole of x.

    Args:
        found: Where in its channel, counted in row-major order.
        sizes: Of a channel, with the padding that ``found`` counts.
        begins: That padding before the first element.
        x: The tensor, without padding.
        storage_order: 0 to count the elements of a channel in row-major order, 1 for column-major.
    """
    spatial = x.shape[2:]
    place = found
    if storage_order or any(begins) or sizes != spatial:
        steps = _steps(spatial[::-1])[::-1] if storage_order else _steps(spatial)
        place = torch.zeros_like(found)
        for size, begin, step, inner in zip(sizes, begins, steps, _steps(sizes), strict=True):
            place = place + (found // inner % size - begin) * step
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device) * math.prod(spatial)
    return place + planes.reshape(*x.shape[:2], *[1] * len(spatial))


def _steps(sizes: Sequence[int]) -> Ints:
    """How far apart neighbours are along each axis, in row-major order."""
    return [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]


def _sums(x: Tensor, window: Window, begins: Ints, counts: Ints) -> Tensor:
    """The sum of each of ``counts`` windows: a convolution with ones, one channel at a time."""
    n, c, *sizes = x.shape
    reached = window.reached(sizes, begins, counts)
    alone = F.pad(x.reshape(n * c, 1, *sizes), as_torch_pads(begins, reached))
    ones = x.new_ones((1, 1, *window.kernel))
    convolve = _CONVOLUTIONS[len(window.kernel)]
    sums = convolve(alone, ones, None, window.strides, 0, window.dilations)
    return sums.reshape(n, c, *counts)


def _power(x: Tensor, p: int) -> Tensor:
    if p == 1:
        return x.abs()
    return x * x if p == 2 else x.abs() ** p


def _root(sums: Tensor, p: int) -> Tensor:
    """The p-th root, with gradient 0 at 0 instead of an infinite one."""
    if p == 1:
        return sums
    positive = sums > 0
    return torch.where(positive, sums, 1) ** (1 / p) * positive


def _pixels(x: Tensor) -> Ints:
    return list(range(2, x.dim()))
