"""Adjoints of operators that add margins or cut them off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsa_onnx.rewrite.vjp.along import (
    Numbers,
    Vector,
    add_at,
    count_up,
    entries,
    joined,
    read,
    size,
    written,
)
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape

_END = np.iinfo(np.int64).max


@rule("Pad")
def pad(t: Tape, op: Op, g: str) -> Adjoints:
    """Adds margins to x (or, where they are negative, cuts some off): dx = dy without them.

    In the modes that fill the margins from x, each copy adds its adjoint to the entry it came from.
    The adjoint of a constant is the sum over the margins.
    """
    mode = op.attribute("mode", "constant")
    if mode != "constant":
        return [_pad_with_copies(t, op, g, mode)]
    dx = _without_margins(t, op, g)
    value, dvalue = op.input(2), None
    if value is not None and t.active(value):
        margins = t.op("Sub", *(t.op("ReduceSum", a, keepdims=0) for a in (g, dx)))
        dvalue = t.reshape_like(margins, value)
    return [dx, None, dvalue]


def _without_margins(t: Tape, op: Op, g: str) -> str:
    pads = t.value(op.inputs[1])
    if pads is not None and (pads >= 0).all():
        return _cropped(t, g, _padded_axes(t, op), pads)
    return t.op("Pad", g, t.op("Neg", op.inputs[1]), "", op.input(3) or "")


def _cropped(t: Tape, g: str, axes: Sequence[int], pads: Numbers) -> str:
    """``g`` without margins, none of them negative; Slice does it faster than Pad."""
    ends = zip(axes, pads[: len(axes)].tolist(), pads[len(axes) :].tolist(), strict=True)
    cut = [end for end in ends if end[1] or end[2]]
    if not cut:
        return g
    starts = t.ints(*(before for _, before, _ in cut))
    stops = t.ints(*(-after if after else _END for _, _, after in cut))
    return t.op("Slice", g, starts, stops, t.ints(*(axis for axis, _, _ in cut)))


def _padded_axes(t: Tape, op: Op) -> list[int]:
    given = op.input(3)
    if given is None:
        return list(range(t.rank(op.x)))
    axes = t.value(given)
    if axes is None:
        raise RuleRefused("the axes are not constant")
    return [t.axis(int(axis), op.x) for axis in axes]


def _pad_with_copies(t: Tape, op: Op, g: str, mode: str) -> str:
    """The adjoint of the modes edge, reflect and wrap, one axis after the other."""
    axes, pads = _padded_axes(t, op), read(t, op.inputs[1])
    for index, axis in enumerate(axes):
        ends = [entries(t, pads, i, i + 1) for i in (index, index + len(axes))]
        both = joined(t, *ends)
        if isinstance(both, str) or (both < 0).any():
            g = _all_added_up(t, op, g, mode, axis, both)
        elif both.any():
            g = _margins_added_up(t, op, g, mode, axis, both)
    return g


def _sources(t: Tape, op: Op, mode: str, axis: int, pads: Vector) -> Vector:
    """Which entry of x each entry of y is along ``axis``: Pad tells, made to pad 0, 1, 2."""
    places = count_up(t, size(t, op.x, axis))
    if isinstance(places, str) or isinstance(pads, str) or (pads < 0).any():
        return t.op("Pad", written(t, places), written(t, pads), mode=mode)
    copied: Numbers = np.pad(places, tuple(pads.tolist()), mode=mode)  # type: ignore[call-overload]
    return copied


def _all_added_up(t: Tape, op: Op, g: str, mode: str, axis: int, pads: Vector) -> str:
    """Every entry added to the one that it is a copy of."""
    before, after = t.op("Shape", g, start=0, end=axis), t.op("Shape", g, start=axis + 1)
    shape = joined(t, before, size(t, op.x, axis), after)
    zeros = t.op("Expand", t.scalar(0, op.x), written(t, shape))
    return add_at(
        t, zeros, _sources(t, op, mode, axis, pads), g, axis, rank=t.rank(op.x), like=op.x
    )


def _margins_added_up(t: Tape, op: Op, g: str, mode: str, axis: int, pads: Numbers) -> str:
    """The middle, and only the margins added to it: they are small, and adding by index is slow."""
    before, after = pads.tolist()
    cuts = [(0, before)] if before else []
    cuts += [(-after, _END)] if after else []
    margins = [t.op("Slice", g, t.ints(a), t.ints(b), t.ints(axis)) for a, b in cuts]
    sources = _sources(t, op, mode, axis, pads)
    copied = joined(t, *(entries(t, sources, *cut) for cut in cuts))
    together = t.op("Concat", *margins, axis=axis)
    return add_at(
        t, _cropped(t, g, [axis], pads), copied, together, axis, rank=t.rank(op.x), like=op.x
    )


@rule("CenterCropPad")
def center_crop_pad(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes the middle of x, with zeros around it where y is larger: dx does so with dy."""
    axes = op.attribute("axes") or list(range(t.rank(op.x)))
    target = joined(t, *(size(t, op.x, axis) for axis in axes))
    return [t.op("CenterCropPad", g, written(t, target), axes=axes)]
