"""Resize: along each resized axis, an entry of y is a weighted sum of a few entries of x.

Where torch's own interpolation is the same, it is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from lsa_trainer.ops.registry import Floats, Ints, Op, operator
from lsa_trainer.ops.resampling_taps import (
    CENTRED,
    CROP,
    REACH,
    Axis,
    How,
    Taps,
    single,
    taps_along,
)

_COORDINATES = (*CENTRED, "align_corners", "asymmetric", CROP)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _refusal(op: Op) -> str | None:
    """Names that ONNX does not define, or not any more."""
    known = {
        "mode": ("nearest", *REACH),
        "coordinate_transformation_mode": _COORDINATES,
        "nearest_mode": _NEAREST,
    }
    for name, names in known.items():
        given = op.attributes.get(name, names[0])
        if given not in names:
            return f"{name} {given!r} is none of {', '.join(names)}"
    return None


@operator("Resize", refuse=_refusal)
def resize(
    x: Tensor,
    roi: Floats | None = None,
    scales: Floats | None = None,
    sizes: Ints | None = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """Resize axes of ``x`` by ``scales``, or to ``sizes``.

    Axes whose scale is 1 stay as they are, in ``tf_crop_and_resize`` too: so has it ONNX Runtime.
    """
    how = How(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        antialias,
        exclude_outside,
        cubic_coeff_a,
        extrapolation_value,
    )
    chosen = [a % x.dim() for a in axes] if axes else list(range(x.dim()))
    lengths = [x.shape[a] for a in chosen]
    by_size = _from_sizes(lengths, sizes, keep_aspect_ratio_policy) if sizes else []
    targets = _from_scales(lengths, scales) if scales else by_size
    regions = _regions(roi or [], len(chosen), how)
    parts = zip(chosen, lengths, targets, regions, strict=True)
    resized = [Axis(a, n, *target, r) for a, n, target, r in parts if target[1] != 1]
    # ONNX Runtime copies x where y is no larger, also if a scale is not quite 1.
    return _resized(x, resized, how) if any(a.before != a.after for a in resized) else x


# For each axis, its length in y and its scale. That of a batch may not be known while a model is
# compiled, so nothing is computed with a length that stays.
_Targets: TypeAlias = "list[tuple[int, float]]"


def _from_scales(lengths: Sequence[int], scales: Sequence[float]) -> _Targets:
    pairs = zip(lengths, scales, strict=True)
    return [(n, 1.0) if s == 1 else (math.floor(single(n * s)), s) for n, s in pairs]


def _from_sizes(lengths: Sequence[int], sizes: Sequence[int], policy: str) -> _Targets:
    scales = [1.0 if a == b else a / b for a, b in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return list(zip(sizes, scales, strict=True))
    scale = single(min(scales) if policy == "not_larger" else max(scales))
    return [(math.floor(single(scale * n) + 0.5), scale) for n in lengths]


def _regions(roi: Sequence[float], count: int, how: How) -> list[tuple[float, float]]:
    """Start and end along each axis, from all starts, then all ends."""
    if how.coordinates != CROP:
        return [(0.0, 1.0)] * count
    return list(zip(roi[:count], roi[count:], strict=True))


def _resized(x: Tensor, axes: Sequence[Axis], how: How) -> Tensor:
    quick = _interpolation(x, axes, how)
    if quick is not None:
        return _interpolated(x, axes, quick, aligned=how.coordinates == "align_corners")
    y = x if how.mode == "nearest" else _weighable(x)
    # What shrinks most comes first; ONNX Runtime's order matters where it rounds in between.
    rounds = how.antialias and not x.is_floating_point()
    outside = []
    for axis in reversed(axes) if rounds else sorted(axes, key=lambda a: a.scale):
        taps = taps_along(axis, how, y)
        outside.append(taps.outside.view(_along(axis.axis, x.dim())))
        if how.antialias and axis.before == axis.after:
            continue
        y = _summed(y, axis.axis, taps)
        y = _clamped((y + 0.5).floor(), x.dtype) if rounds else y
    if how.coordinates == CROP:
        y = torch.where(reduce(torch.logical_or, outside), how.extrapolation_value, y)
    return (y if x.is_floating_point() else _clamped(y, x.dtype)).to(x.dtype)


def _along(axis: int, rank: int) -> list[int]:
    """The shape in which a vector lies along an axis."""
    return [-1 if a == axis else 1 for a in range(rank)]


def _weighable(x: Tensor) -> Tensor:
    """In a precision that holds weights: half precision and whole numbers do not."""
    return x if x.dtype == torch.float64 else x.float()


def _clamped(y: Tensor, dtype: torch.dtype) -> Tensor:
    bounds = torch.iinfo(dtype)
    return y.clamp(bounds.min, bounds.max)


def _interpolation(x: Tensor, axes: Sequence[Axis], how: How) -> str | None:
    """The mode in which torch's own function does the same, ``None`` if there is none."""
    spatial = x.dim() - 2
    exact = all(a.axis >= 2 and single(a.after / a.before) == single(a.scale) for a in axes)
    if not (x.is_floating_point() and 1 <= spatial <= 3 and exact) or x.numel() == 0:
        return None
    if how.mode == "nearest":
        return "nearest" if _repeats(axes, how) else None
    if how.coordinates not in (*CENTRED, "align_corners") or any(a.after == 1 for a in axes):
        return None
    if how.mode == "linear":
        return None if how.antialias else ("linear", "bilinear", "trilinear")[spatial - 1]
    plain = spatial == 2 and how.cubic_coeff_a == -0.75
    return "bicubic" if plain and not how.antialias and not how.exclude_outside else None


def _repeats(axes: Sequence[Axis], how: How) -> bool:
    """Whether each entry is repeated 2, 4, 8 … times; torch rounds other factors in its own way."""
    if any(a.after % a.before or math.frexp(a.scale)[0] != 0.5 for a in axes):
        return False
    if how.coordinates == "asymmetric":
        return how.nearest_mode == "floor"
    centred = how.coordinates in CENTRED
    return centred and how.nearest_mode.startswith("round") and all(a.after > 1 for a in axes)


def _interpolated(x: Tensor, axes: Sequence[Axis], mode: str, *, aligned: bool) -> Tensor:
    after = {axis.axis: axis.after for axis in axes}
    size = [after.get(axis, x.shape[axis]) for axis in range(2, x.dim())]
    align_corners = None if mode == "nearest" else aligned
    return functional.interpolate(x, size=size, mode=mode, align_corners=align_corners)


def _summed(x: Tensor, axis: int, taps: Taps) -> Tensor:
    """The weighted sums along an axis."""
    if taps.weights is None:
        return x.index_select(axis, taps.indices[:, 0])
    shape = _along(axis, x.dim())
    columns = zip(taps.indices.unbind(1), taps.weights.unbind(1), strict=True)
    parts = (x.index_select(axis, i) * w.view(shape) for i, w in columns)
    return reduce(torch.add, parts)
