"""Of which entries of x Resize makes those of y along an axis, and with which weights.

Coordinates are computed in single precision, as ONNX Runtime does: nearest neighbours depend on how
they are rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CROP = "tf_crop_and_resize"
CENTRED = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
# Pixels on each side of a point that have a weight.
REACH = {"linear": 1, "cubic": 2}
_ALMOST = 1e-6


@dataclass(frozen=True)
class Axis:
    """How one axis is resized.

    Attributes:
        axis: Which, from 0.
        before: Its length in x.
        after: Its length in y.
        scale: By how much it grows; ``after / before`` unless the file gives another number.
        region: Where y starts and ends, in parts of the length of x (tf_crop_and_resize).
    """

    axis: int
    before: int
    after: int
    scale: float
    region: tuple[float, float]


@dataclass(frozen=True)
class How:
    """The attributes of a Resize, in ONNX's words."""

    mode: str
    coordinates: str
    nearest_mode: str
    antialias: int
    exclude_outside: int
    cubic_coeff_a: float
    extrapolation_value: float


@dataclass(frozen=True)
class Taps:
    """What entries of y are made of along an axis.

    Attributes:
        indices: (after, taps), entries of x.
        weights: (after, taps), ``None`` where the only one is 1.
        outside: (after,), which entries of y lie outside of x.
    """

    indices: Tensor
    weights: Tensor | None
    outside: Tensor


def single(number: float) -> float:
    """Rounded to single precision, in a way that a compiler can follow."""
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(math.ldexp(mantissa, 24)), exponent - 24)


def taps_along(axis: Axis, how: How, like: Tensor) -> Taps:
    """The taps of an axis; weights are of the type of ``like``."""
    place = _coordinates(axis, how.coordinates, like.device)
    last = axis.before - 1
    outside = (place < 0) | (place > last)
    if how.mode == "nearest":
        nearest = _rounded(place, how.nearest_mode).clamp(0, last).long()
        return Taps(nearest[:, None], None, outside)
    indices, weights = _weighted(place, axis, how)
    return Taps(indices.clamp(0, last).long(), weights.to(like.dtype), outside)


def _weighted(place: Tensor, axis: Axis, how: How) -> tuple[Tensor, Tensor]:
    """Pixels around each place, some of which may not exist, and their weights."""
    stretch = max(1.0, 1 / axis.scale) if how.antialias else 1.0
    reach = REACH[how.mode] * stretch
    first = (place - reach).floor() + 1
    indices = first[:, None] + torch.arange(2 * math.ceil(reach), device=place.device)
    distance = (indices - place[:, None]).abs() / stretch
    weights = _kernel(how)(distance)
    if how.exclude_outside:
        weights = torch.where((indices < 0) | (indices > axis.before - 1), 0, weights)
    if how.antialias or how.exclude_outside:
        total = weights.sum(1, keepdim=True)
        weights = weights / torch.where(total == 0, 1, total)
    return indices, weights


def _kernel(how: How) -> Callable[[Tensor], Tensor]:
    """The weight of a pixel by its distance: a triangle, or cubic convolution (Keys 1981)."""
    if how.mode == "linear":
        return lambda d: (1 - d).clamp(min=0)
    a = how.cubic_coeff_a

    def cubic(d: Tensor) -> Tensor:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = a * (((d - 5) * d + 8) * d - 4)
        return torch.where(d <= 1, near, torch.where(d < 2, far, 0))

    return cubic


def _coordinates(axis: Axis, mode: str, device: torch.device) -> Tensor:
    """Where in x the entries of y lie: (after,) in pixels."""
    place = torch.arange(axis.after, device=device, dtype=torch.float32)
    # Divided by a tensor of its own: a GPU multiplies by the inverse of a number.
    divisor = axis.after - 1 if mode in ("align_corners", CROP) else axis.scale
    steps = torch.full_like(place, divisor)
    if mode == "asymmetric":
        return place / steps
    if mode == "align_corners":
        return place * (axis.before - 1) / steps if axis.after > 1 else place
    if mode == CROP:
        return _cropped(place, axis, steps)
    if mode == "pytorch_half_pixel" and axis.after == 1:
        return place
    if mode == "half_pixel_symmetric":
        # This one alone is rounded at the end.
        return ((place.double() + 0.5) / steps.double() - 0.5 + _shift(axis)).float()
    return (place + 0.5) / steps - 0.5


def _shift(axis: Axis) -> float:
    """Half of what is lost, in pixels of x, where the length of y is rounded down."""
    lost = single(1 - single(axis.after / single(axis.scale * axis.before)))
    return single(axis.before / 2 * lost)


def _cropped(place: Tensor, axis: Axis, steps: Tensor) -> Tensor:
    start, end = axis.region
    last = axis.before - 1
    if axis.after == 1:
        return place + 0.5 * (start + end) * last
    return start * last + place * (end - start) * last / steps


def _rounded(place: Tensor, mode: str) -> Tensor:
    """Places rounded to pixels; ONNX Runtime takes what is almost a half for one."""
    below = place.floor()
    if mode == "floor":
        return below
    if mode == "ceil":
        return place.ceil()
    part = place - below
    up = part > 0.5 + _ALMOST if mode == "round_prefer_floor" else part >= 0.5 - _ALMOST
    return below + up
