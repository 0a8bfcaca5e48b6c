"""Adjoints of sampling an image at the points of a grid, and of the grid of an affine map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp.along import entries, joined, known_size, read, size, written
from lsa_onnx.rewrite.vjp.places import Places
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, rule
from lsa_onnx.rewrite.vjp.tape import Tape


@dataclass(frozen=True)
class _Kernel:
    """How a mode interpolates along one axis.

    Attributes:
        first: The first pixel that is read, counted from the pixel before the point.
        weights: Those of the pixels (columns), as polynomials of how far the point is behind the pixel
            before it: the coefficients of each power (rows), highest first.
    """

    first: int
    weights: NDArray[np.float64]

    @property
    def slopes(self) -> NDArray[np.float64]:
        """Derivatives of the weights, likewise."""
        powers = np.arange(len(self.weights) - 1, 0, -1)
        slopes: NDArray[np.float64] = self.weights[:-1] * powers[:, None]
        return slopes


def _cubic(a: float) -> _Kernel:
    """Cubic convolution over four pixels (Keys 1981), whose slope at distance 1 is ``a``."""
    pixels = [
        (a, -2 * a, a, 0),
        (a + 2, -(a + 3), 0, 1),
        (-(a + 2), 2 * a + 3, -a, 0),
        (-a, a, 0, 0),
    ]
    return _Kernel(-1, np.array(pixels, np.float64).T)


_LINEAR = _Kernel(0, np.array([[-1.0, 1.0], [1.0, 0.0]]))
# Modes had longer names before opset 20.
_KERNELS = {
    "nearest": _Kernel(0, np.ones((1, 1))),
    "bilinear": _LINEAR,
    "linear": _LINEAR,
    "bicubic": _cubic(-0.75),
    "cubic": _cubic(-0.75),
}


@dataclass(frozen=True)
class _Taps:
    """The pixels that the points read along one axis, as tensors of shape (n, points, pixels).

    Attributes:
        indices: Which ones, inside of the image.
        weights: Their weights; 0 for what is outside, where that is 0.
        slopes: The derivatives of the weights by the coordinate in the grid.
    """

    indices: str
    weights: str
    slopes: str


@rule("GridSample")
def grid_sample(t: Tape, op: Op, g: str) -> Adjoints:
    """Each pixel of y is a weighted sum of pixels of x: dx sums dy times these weights.

    The grid gets dy times the slopes of the weights; none in the mode nearest.
    """
    x, grid = op.inputs
    kernel = _KERNELS[op.attribute("mode", "linear")]
    axes = [_taps(t, op, kernel, axis) for axis in range(2, t.rank(x))]
    read_pixels = _flat_indices(t, x, axes)
    # dy with an axis for the pixels that each point reads.
    dy = t.op("Reshape", g, t.ints(0, 0, -1, 1))
    dx = dgrid = None
    if t.active(x):
        weights = reduce(partial(_outer, t, "Mul"), [taps.weights for taps in axes])
        parts = t.op("Mul", dy, t.op("Unsqueeze", weights, t.ints(1)))
        nothing, parts = (_flat(t, name) for name in (t.zeros_like(x), parts))
        dx = t.reshape_like(read_pixels.scatter(t, nothing, parts, "add"), x)
    if t.active(grid) and kernel.slopes.size:
        values = read_pixels.gather(t, _flat(t, x))
        pixels = kernel.weights.shape[1] ** len(axes)
        each = t.op("Mul", dy, t.op("Reshape", values, t.ints(0, 0, -1, pixels)))
        total = t.op("ReduceSum", each, t.ints(1), keepdims=0)
        dgrid = t.reshape_like(_slopes_summed(t, total, axes), grid)
    return [dx, dgrid]


def _flat(t: Tape, image: str) -> str:
    """With all axes but those of the batch and the channels merged."""
    return t.op("Reshape", image, t.ints(0, 0, -1))


def _flat_indices(t: Tape, x: str, axes: Sequence[_Taps]) -> Places:
    """Where the pixels that are read are in a flat image, in every channel."""
    indices = axes[0].indices
    for axis, taps in enumerate(axes[1:], start=3):
        before = t.op("Mul", indices, written(t, size(t, x, axis)))
        indices = _outer(t, "Add", before, taps.indices)
    once = t.op("Reshape", indices, t.ints(0, 1, -1))
    channels = joined(t, np.array([1]), size(t, x, 1), np.array([1]))
    return Places(t.op("Expand", once, written(t, channels)), 2, x)


def _slopes_summed(t: Tape, total: str, axes: Sequence[_Taps]) -> str:
    """The adjoint of the points, (n, points, axes), from that of the weights."""
    parts = []
    # The first coordinate of a point is along the last axis.
    for moved in reversed(axes):
        factors = [taps.slopes if taps is moved else taps.weights for taps in axes]
        slopes = reduce(partial(_outer, t, "Mul"), factors)
        parts.append(t.op("ReduceSum", t.op("Mul", total, slopes), t.ints(2), keepdims=1))
    return t.op("Concat", *parts, axis=2)


def _outer(t: Tape, kind: str, a: str, b: str) -> str:
    """All pixels of ``a`` combined with all of ``b``, point by point."""
    rows, columns = t.op("Unsqueeze", a, t.ints(3)), t.op("Unsqueeze", b, t.ints(2))
    return t.op("Reshape", t.op(kind, rows, columns), t.ints(0, 0, -1))


def _taps(t: Tape, op: Op, kernel: _Kernel, axis: int) -> _Taps:
    """What the points read along ``axis`` of the image."""
    x, grid = op.inputs
    count = t.rank(x) - 2
    points = t.op("Reshape", grid, t.ints(0, -1, count))
    coordinate = t.op("Gather", points, t.ints(count + 1 - axis), axis=2)
    position, scale = _position(t, op, coordinate, axis)
    pixel = t.op("Floor" if kernel.slopes.size else "Round", position)
    behind = t.op("Sub", position, pixel)
    numbers = np.arange(kernel.weights.shape[1]) + kernel.first
    indices = t.op("Add", pixel, t.constant(numbers, t.dtype(grid)))
    indices = t.op("Cast", indices, to=onnx.TensorProto.INT64)
    weights, slopes = (_polynomials(t, behind, c, grid) for c in (kernel.weights, kernel.slopes))
    slopes = t.op("Mul", slopes, scale)
    inside = _inside(t, op, indices, written(t, size(t, x, axis)))
    if op.attribute("padding_mode", "zeros") == "zeros":
        valid = t.op("Cast", t.op("Equal", indices, inside), to=t.element(grid))
        weights, slopes = (t.op("Mul", factor, valid) for factor in (weights, slopes))
    return _Taps(inside, weights, slopes)


def _position(t: Tape, op: Op, coordinate: str, axis: int) -> tuple[str, str]:
    """Coordinates from −1 to 1 in pixels, and how many pixels one coordinate unit is."""
    grid = op.inputs[1]
    length = t.op("Cast", written(t, size(t, op.x, axis)), to=t.element(grid))
    one, half = t.scalar(1, grid), t.scalar(0.5, grid)
    centre = t.op("Mul", t.op("Sub", length, one), half)
    scale = centre if op.attribute("align_corners", 0) else t.op("Mul", length, half)
    return t.op("Add", t.op("Mul", coordinate, scale), centre), scale


def _polynomials(t: Tape, x: str, coefficients: NDArray[np.float64], like: str) -> str:
    """Polynomials (columns: coefficients, highest power first) of x, (n, points, 1)."""
    powers = t.constant(np.arange(len(coefficients))[::-1], t.dtype(like))
    return t.op("MatMul", t.op("Pow", x, powers), t.constant(coefficients, t.dtype(like)))


def _inside(t: Tape, op: Op, indices: str, length: str) -> str:
    """The pixels that stand for those outside: the nearest, or the reflected one."""
    if op.attribute("padding_mode", "zeros") == "reflection":
        return _reflected(t, indices, length, whole=bool(op.attribute("align_corners", 0)))
    last = t.op("Sub", length, t.ints(1))
    return t.op("Max", t.op("Min", indices, last), t.ints(0))


def _reflected(t: Tape, indices: str, length: str, *, whole: bool) -> str:
    """Indices reflected at the first and last pixel (``whole``), or at their outer edges."""
    if whole:
        period = t.op("Mul", t.op("Sub", length, t.ints(1)), t.ints(2))
        # An image of one pixel has no period; it has no other index than 0 either.
        period = t.op("Max", period, t.ints(1))
        start = t.op("Mod", indices, period)
        return t.op("Min", start, t.op("Sub", period, start))
    period = t.op("Mul", length, t.ints(2))
    start = t.op("Mod", indices, period)
    return t.op("Min", start, t.op("Sub", t.op("Sub", period, t.ints(1)), start))


@rule("AffineGrid")
def affine_grid(t: Tape, op: Op, g: str) -> Adjoints:
    """Each point of y is θ times (p, 1), with p the point that the identity gives: dθ = Σ dy (p, 1)ᵀ."""
    theta, given = op.inputs
    axes = known_size(t, theta, 1) or t.rank(op.y) - 2
    extent = joined(t, np.array([1]), entries(t, read(t, given), 1, axes + 2))
    identity = t.constant(np.eye(axes, axes + 1)[None], t.dtype(theta))
    align = op.attribute("align_corners", 0)
    grid = t.op("AffineGrid", identity, written(t, extent), align_corners=align)
    points = t.op("Reshape", grid, t.ints(-1, axes))
    homogeneous = t.op("Pad", points, t.ints(0, 1), t.scalar(1, theta), t.ints(1))
    dy = t.op("Transpose", t.op("Reshape", g, t.ints(0, -1, axes)), perm=[0, 2, 1])
    return [t.op("MatMul", dy, homogeneous)]
