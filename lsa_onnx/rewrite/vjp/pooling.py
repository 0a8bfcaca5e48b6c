"""Adjoints of pooling."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx

from lsa_onnx.rewrite.graph import is_standard
from lsa_onnx.rewrite.vjp.along import scatter
from lsa_onnx.rewrite.vjp.formulas import above_zero
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape
from lsa_onnx.rewrite.vjp.windows import Window, pool_window, window_counts


@rule("GlobalAveragePool")
def global_average_pool(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the mean over all spatial axes: each element gets an equal share."""
    sizes = (t.dims(op.x) or (None, None, None))[2:]
    numbers = [size for size in sizes if size is not None]
    if len(numbers) == len(sizes):
        share = t.op("Mul", g, t.scalar(1 / math.prod(numbers), op.x))
    else:
        count = t.op("ReduceProd", t.op("Slice", t.shape_of(op.x), t.ints(2), t.ints(1 << 30)))
        # Half precision ends before the number of pixels of an image does.
        part = t.op("Reciprocal", t.op("Cast", count, to=onnx.TensorProto.DOUBLE))
        share = t.op("Mul", g, t.op("Cast", part, to=t.element(op.x)))
    return [t.expand_like(share, op.x)]


@rule("GlobalMaxPool")
def global_max_pool(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the largest element: equal ones share the adjoint."""
    hits = t.op("Cast", t.op("Equal", op.x, op.y), to=t.element(op.x))
    axes = t.ints(*range(2, t.rank(op.x)))
    count = t.op("ReduceSum", hits, axes, keepdims=1)
    return [t.op("Mul", hits, t.op("Div", g, count))]


@rule("MaxPool")
def max_pool(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the largest element of each window, which gets the adjoint.

    Where windows tile the input, equal largest elements share it. Elsewhere the first one gets it,
    and windows that overlap add up: its position comes from a second MaxPool, with indices, because
    asking the forward one for them would take it out of the runtime's blocked layout.
    """
    window = pool_window(t, op)
    if _tiles_plane(t, op, window):
        return [_tiled_max(t, op, g, window)]
    names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    given = {name: op.attribute(name) for name in names}
    _, where = t.ops("MaxPool", op.x, outputs=2, **given)
    flat, indices = (t.op("Reshape", name, t.ints(-1)) for name in (g, where))
    size = t.op("ReduceProd", t.shape_of(op.x), keepdims=1)
    empty = t.op("ConstantOfShape", size, value=t.zero_tensor(op.x))
    overlap = any(r >= s for r, s in zip(window.reaches, window.strides, strict=True))
    filled = scatter(t, empty, indices, flat, 0, "add" if overlap else None, like=op.x)
    return [t.reshape_like(filled, op.x)]


def settles_relu(t: Tape, op: Op) -> bool:
    """Whether the adjoint that ``op`` passes on is 0 wherever the Relu that made its input gave 0.

    A window's largest element is positive, or the whole window is 0 behind a Relu: the adjoint can be
    set to 0 once per window, and the Relu has nothing left to do.
    """
    maker = t.maker(op.x)
    tiled = op.type == "MaxPool" and _tiles_plane(t, op, pool_window(t, op))
    return tiled and maker is not None and is_standard(maker, ("Relu",))


def _tiled_max(t: Tape, op: Op, g: str, window: Window) -> str:
    hits = t.op("Cast", t.op("Equal", op.x, _spread(t, op.y, op.y, window)), to=t.element(op.x))
    kernel = list(window.kernel)
    count = t.op("AveragePool", hits, kernel_shape=kernel, strides=kernel)
    each = t.op("Div", t.op("Mul", g, t.scalar(1 / np.prod(kernel), op.x)), count)
    if settles_relu(t, op):
        each = t.op("Mul", each, above_zero(t, op.y))
    return t.op("Mul", hits, _spread(t, each, op.y, window))


def _spread(t: Tape, pooled: str, like: str, window: Window) -> str:
    """Each element of ``pooled``, of the shape of ``like``, repeated over its window.

    As one sample with all channels: the runtime's blocked kernel for this is several times slower than
    the plain one, and reshaping keeps it out.
    """
    dims = t.dims(like) or ()
    scales = t.constant([1, 1, *window.kernel], np.float32)
    given = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    if len(dims) != 2 + window.spatial or None in dims[1:]:
        return t.op("Resize", pooled, "", scales, mode="nearest", **given)
    flat = t.op("Reshape", pooled, t.ints(1, -1, *(d for d in dims[2:] if d is not None)))
    whole = t.op("Resize", flat, "", scales, mode="nearest", **given)
    sizes = [d * k for d, k in zip(dims[2:], window.kernel, strict=True) if d is not None]
    return t.op("Reshape", whole, t.ints(-1, dims[1] or 1, *sizes))


@rule("AveragePool")
def average_pool(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the mean of each window: its elements get equal shares, overlaps add up."""
    window = pool_window(t, op)
    share = _shared(t, op, g, window)
    if _tiles(t, op, window):
        return [_spread(t, share, op.y, window)]
    channels = (t.dims(op.x) or (None, None))[1]
    if channels is None:
        raise RuleRefused("its number of channels is not known")
    ones = t.constant(np.ones((channels, 1, *window.kernel)), t.dtype(op.x))
    whole = t.op(
        "ConvTranspose",
        share,
        ones,
        kernel_shape=list(window.kernel),
        strides=list(window.strides),
        dilations=list(window.dilations),
        group=channels,
    )
    return [window.cut(t, whole, op.x)]


def _tiles_plane(t: Tape, op: Op, window: Window) -> bool:
    return window.spatial == 2 and _tiles(t, op, window)


def _tiles(t: Tape, op: Op, window: Window) -> bool:
    """Whether windows lie side by side and cover the input."""
    sizes = (t.dims(op.x) or (None,) * (2 + window.spatial))[2:]
    covered = all(s is not None and s % k == 0 for s, k in zip(sizes, window.kernel, strict=True))
    return (
        covered
        and window.kernel == window.strides
        and set(window.dilations) == {1}
        and not any(window.pads)
    )


def _shared(t: Tape, op: Op, g: str, window: Window) -> str:
    """The adjoint over the number of elements that each window averages."""
    whole = int(np.prod(window.kernel))
    padded = any(window.pads) or op.attribute("ceil_mode", 0)
    if not padded:
        return t.op("Mul", g, t.scalar(1 / whole, op.x))
    sizes, outs = t.fixed_dims(op.x, 2), t.fixed_dims(op.y, 2)
    if op.attribute("count_include_pad", 0):
        # Padding counts, but not what lies beyond it (where ceil_mode lets a window reach).
        sizes = tuple(np.add(sizes, np.reshape(window.pads, (2, -1)).sum(axis=0)))
        window = dataclasses.replace(
            window, begins=(0,) * window.spatial, ends=(0,) * window.spatial
        )
    counts = window_counts(window, sizes, outs)
    return t.op("Mul", g, t.constant(1 / counts, t.dtype(op.x)))
