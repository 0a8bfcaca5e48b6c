"""Samples of any shape as stacks of planes, and the windows of Square in them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.arrays import Array, namespace


@dataclass(frozen=True)
class Planes:
    """Samples as (n, channels, height, width), whatever their own shape.

    Images keep their axes, signals (n, channels, length) have height 1, and samples without a channel
    axis are one row of all their features.

    Attributes:
        channel_axis: Counted with the batch axis; ``None`` for samples without.
        shape: Of the samples with channels first, without the batch axis.
        channels: Planes of a sample.
        height: Of a plane.
        width: Of a plane.
    """

    channel_axis: int | None
    shape: tuple[int, ...]
    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, x: Array, channel_axis: int | None) -> Planes:
        """The planes of samples like ``x``, shape (n, ...)."""
        shape = tuple(x.shape[1:])
        if channel_axis is None or len(shape) < 2:
            return cls(None, shape, 1, 1, math.prod(shape))
        channels = shape[channel_axis - 1]
        shape = (channels, *shape[: channel_axis - 1], *shape[channel_axis:])
        return cls(channel_axis, shape, channels, math.prod(shape[1:-1]), shape[-1])

    def split(self, x: Array) -> Array:
        """``x``, shape (n, ...), as (n, channels, height, width)."""
        xp = namespace(x)
        if self.channel_axis is not None:
            x = xp.moveaxis(x, self.channel_axis, 1)
        return xp.reshape(x, (x.shape[0], self.channels, self.height, self.width))

    def join(self, planes: Array) -> Array:
        """The inverse of ``split``."""
        xp = namespace(planes)
        x = xp.reshape(planes, (planes.shape[0], *self.shape))
        return x if self.channel_axis is None else xp.moveaxis(x, 1, self.channel_axis)

    def window(self, share: float, least: int = 1) -> tuple[int, int]:
        """Height and width of a window of ``share`` of a plane: a square, or a part of the row."""
        if self.height == 1:
            return 1, _within(round(share * self.width), least, self.width)
        side = round(math.sqrt(share * self.height * self.width))
        side = _within(side, least, min(self.height, self.width))
        return side, side


@dataclass(frozen=True)
class Windows:
    """One window in the planes of each of n samples.

    Attributes:
        rows: Position of each row of the plane in the window, shape (n, height); it is inside where
            this is 0 to ``size[0]`` − 1.
        columns: Likewise, shape (n, width).
        size: Height and width of the windows.
    """

    rows: Array
    columns: Array
    size: tuple[int, int]

    @classmethod
    def at_random(cls, planes: Planes, size: tuple[int, int], uniform: Array) -> Windows:
        """Windows at places drawn with ``uniform``, shape (n, 2)."""
        rows = _offsets(planes.height, size[0], uniform[:, :1])
        return cls(rows, _offsets(planes.width, size[1], uniform[:, 1:]), size)

    def mask(self) -> Array:
        """Whether an element is inside, shape (n, 1, height, width)."""
        rows = (self.rows >= 0) & (self.rows < self.size[0])
        columns = (self.columns >= 0) & (self.columns < self.size[1])
        return rows[:, None, :, None] & columns[:, None, None, :]

    def pick(self, patterns: Array, which: Array) -> Array:
        """A pattern laid into each window, shape (n, 1, height, width); anything outside of it.

        Args:
            patterns: Shape (patterns, *size).
            which: The pattern of each sample, shape (n,), int64.
        """
        xp = namespace(patterns)
        height, width = self.size
        rows = xp.clip(self.rows, 0, height - 1)[:, :, None]
        columns = xp.clip(self.columns, 0, width - 1)[:, None, :]
        index = which[:, None, None] * (height * width) + rows * width + columns
        picked = xp.take(xp.reshape(patterns, (-1,)), xp.reshape(index, (-1,)), axis=0)
        return xp.reshape(picked, index.shape)[:, None, :, :]


@functools.lru_cache(maxsize=64)
def bumps(height: int, width: int) -> NDArray[np.float64]:
    """The two patterns of Square in the l2 norm, shape (2, height, width), of unit norm.

    One half rises towards its centre and the other falls: above and below, or left and right
    (Andriushchenko et al. 2020, Sec. 3.4).
    """
    both = np.stack([_halves(height, width), _halves(width, height).T])
    if min(height, width) == 1:
        both[:] = both[0 if width == 1 else 1]
    return both


def tiles(planes: Planes, parts: int = 5) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """The start of Square in the l2 norm: the planes in tiles, ``parts`` to a side.

    Returns:
        The patterns of all tiles, zero at the rest of the plane, shape (height, width); the tile that
        each element belongs to, likewise; the number of tiles.
    """
    if planes.height == 1:
        size = (1, max(planes.width // parts, 1))
    else:
        size = (max(min(planes.height, planes.width) // parts, 1),) * 2
    down, across = planes.height // size[0], planes.width // size[1]
    pattern = np.tile(bumps(*size)[0], (down, across))
    number = np.arange(down * across).reshape(down, across)
    number = np.repeat(np.repeat(number, size[0], axis=0), size[1], axis=1)
    rest = [_around(planes.height - len(pattern)), _around(planes.width - pattern.shape[1])]
    return np.pad(pattern, rest), np.pad(number, rest), down * across


def like(values: NDArray[Any], x: Array) -> Array:
    """A constant of numpy as an array like ``x``; integers stay integers."""
    dtype = x.dtype if values.dtype.kind == "f" else None
    return namespace(x).asarray(values, dtype=dtype, device=array_api_compat.device(x))


def _offsets(length: int, size: int, uniform: Array) -> Array:
    """Positions 0 to length − 1 relative to a random start, shape (n, length), int64."""
    xp = namespace(uniform)
    places = length - size + 1
    start = xp.clip(xp.astype(uniform * places, xp.int64), 0, places - 1)
    device = array_api_compat.device(uniform)
    return xp.arange(length, dtype=xp.int64, device=device)[None, :] - start


def _halves(height: int, width: int) -> NDArray[np.float64]:
    half = height // 2
    both = np.concatenate([_bump(half, width), -_bump(height - half, width)])
    unit: NDArray[np.float64] = both / np.linalg.norm(both)
    return unit


def _bump(height: int, width: int) -> NDArray[np.float64]:
    """Nested rectangles about the centre, the k-th of them adding 1/k²; of unit norm."""
    bump = np.zeros((height, width))
    top, left = height // 2, width // 2
    for k in range(max(height, width) // 2 + 1):
        rows = slice(max(top - k, 0), top + k + 1)
        bump[rows, max(left - k, 0) : left + k + 1] += 1 / (k + 1) ** 2
    norm = np.linalg.norm(bump)
    scaled: NDArray[np.float64] = bump / norm if norm else bump
    return scaled


def _around(rest: int) -> tuple[int, int]:
    return rest // 2, rest - rest // 2


def _within(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)
