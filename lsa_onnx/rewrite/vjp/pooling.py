"""Adjoints of pooling."""

from __future__ import annotations

import numpy as np

from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape
from lsa_onnx.rewrite.vjp.windows import Window, pool_window, window_counts


@rule("GlobalAveragePool")
def global_average_pool(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the mean over all spatial axes: each element gets an equal share."""
    sizes = (t.dims(op.x) or (None,))[2:]
    count = int(np.prod([s for s in sizes if s is not None])) if None not in sizes else None
    if count is not None and t.known.rank(op.x) is not None:
        share = t.op("Mul", g, t.scalar(1 / count, op.x))
    else:
        ones = t.op("ReduceProd", t.op("Slice", t.shape_of(op.x), t.ints(2), t.ints(1 << 30)))
        share = t.op("Div", g, t.op("Cast", ones, to=t.element(op.x)))
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
    if _tiles(t, op, window) and window.spatial == 2:
        return [_tiled_max(t, op, g, window)]
    names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    given = {name: op.attribute(name) for name in names}
    _, where = t.ops("MaxPool", op.x, outputs=2, **given)
    flat, indices = (t.op("Reshape", name, t.ints(-1)) for name in (g, where))
    size = t.op("ReduceProd", t.shape_of(op.x), keepdims=1)
    empty = t.op("ConstantOfShape", size, value=t.zero_tensor(op.x))
    overlap = any(r >= s for r, s in zip(window.reaches, window.strides, strict=True))
    reduction = "add" if overlap else "none"
    filled = t.op("ScatterElements", empty, indices, flat, axis=0, reduction=reduction)
    return [t.reshape_like(filled, op.x)]


def _tiled_max(t: Tape, op: Op, g: str, window: Window) -> str:
    hits = t.op("Cast", t.op("Equal", op.x, _spread(t, op.y, window)), to=t.element(op.x))
    kernel = list(window.kernel)
    share = t.op("AveragePool", hits, kernel_shape=kernel, strides=kernel)
    each = t.op("Div", t.op("Mul", g, t.scalar(1 / np.prod(kernel), op.x)), share)
    return t.op("Mul", hits, _spread(t, each, window))


def _spread(t: Tape, pooled: str, window: Window) -> str:
    """Each element repeated over its window."""
    return t.op(
        "Resize",
        pooled,
        "",
        t.constant([1, 1, *window.kernel], np.float32),
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


@rule("AveragePool")
def average_pool(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the mean of each window: its elements get equal shares, overlaps add up."""
    window = pool_window(t, op)
    share = _shared(t, op, g, window)
    if _tiles(t, op, window):
        return [_spread(t, share, window)]
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


def _tiles(t: Tape, op: Op, window: Window) -> bool:
    """Whether windows lie side by side and cover the input."""
    sizes = (t.dims(op.x) or (None,))[2:]
    plain = window.kernel == window.strides and set(window.dilations) == {1}
    return plain and not any(window.pads) and all(
        size is not None and size % k == 0 for size, k in zip(sizes, window.kernel, strict=True)
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
        total = tuple(
            s + b + e
            for s, b, e in zip(
                sizes, window.pads[: window.spatial], window.pads[window.spatial :], strict=True
            )
        )
        bare = Window(window.kernel, window.strides, window.dilations, (0,) * window.spatial, (0,) * window.spatial)
        counts = window_counts(bare, total, outs)
    else:
        counts = window_counts(window, sizes, outs)
    return t.op("Mul", g, t.constant(1 / counts, t.dtype(op.x)))
