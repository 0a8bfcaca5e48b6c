"""Poolings other than plain maxima and averages, and rearrangements of pixels into channels."""

from __future__ import annotations

import numpy as np
from onnx import helper

from lsa_onnx.rewrite.expand.activations import root
from lsa_onnx.rewrite.expand.builder import Builder, Expansion, NotExpandable


def _pixels(b: Builder) -> list[int]:
    """The axes behind batch and channels."""
    return list(range(2, b.rank(b.input(0))))


def _power(b: Builder, x: str, p: int) -> str:
    """``|x|`` to the power of ``p``."""
    if p == 2:
        return b("Mul", x, x)
    return b("Abs", x) if p == 1 else b("Pow", b("Abs", x), float(p))


def _global_lp_pool(b: Builder) -> str:
    p = b.attribute("p", 2)
    sums = b("ReduceSum", _power(b, b.input(0), p), _pixels(b), keepdims=1)
    return sums if p == 1 else root(b, sums, p)


def _lp_pool(b: Builder) -> str:
    """The sum over a window is a convolution with ones, one channel at a time."""
    if b.attribute("ceil_mode", 0):
        raise NotExpandable("windows beyond the padding are not known here")
    x, p = b.input(0), b.attribute("p", 2)
    window = b.attribute("kernel_shape", list[int]())
    kernel = np.ones((1, 1, *window), helper.tensor_dtype_to_np_dtype(b.dtype))
    alone = b("Reshape", _power(b, x, p), b.concat_dims([-1, 1], b.dims(x, 2)))
    options = b.attributes("auto_pad", "dilations", "kernel_shape", "pads", "strides")
    sums = b("Conv", alone, kernel, **options)
    shape = b.concat_dims(b("Shape", x, end=2), b.dims(sums, 2))
    total = b("Reshape", sums, shape)
    return total if p == 1 else root(b, total, p)


def _space_to_depth(b: Builder) -> str:
    """(n, c, h, w) to (n, c s², h / s, w / s): the place in a block becomes the slower channel index."""
    x, size = b.input(0), b.attribute("blocksize", 1)
    blocks = b("Div", b.dims(x, 2), [size])
    rows, columns = b.several("Split", 2, blocks, axis=0, num_outputs=2)
    split = b("Reshape", x, b.concat_dims([0, 0], rows, [size], columns, [size]))
    moved = b("Transpose", split, perm=[0, 3, 5, 1, 2, 4])
    return b("Reshape", moved, b.concat_dims([0, -1], blocks))


def _depth_to_space(b: Builder) -> str:
    """(n, c s², h, w) to (n, c, h s, w s); the modes say which channel index is the slower one."""
    x, size = b.input(0), b.attribute("blocksize", 1)
    column_first = b.attribute("mode", "DCR") == "CRD"
    channels = [0, -1, size, size] if column_first else [0, size, size, -1]
    perm = [0, 1, 4, 2, 5, 3] if column_first else [0, 3, 4, 1, 5, 2]
    split = b("Reshape", x, b.concat_dims(channels, b.dims(x, 2)))
    larger = b("Mul", b.dims(x, 2), [size])
    return b("Reshape", b("Transpose", split, perm=perm), b.concat_dims([0, -1], larger))


def _chain(op: str) -> Expansion:
    """An operator of many operands as one of two, repeated."""

    def expansion(b: Builder) -> str:
        total = b.input(0)
        for name in list(b.node.input)[1:]:
            total = b(op, total, name)
        return total

    return expansion


def _mean(b: Builder) -> str:
    total = b("Sum", *b.node.input)
    return b("Div", total, float(len(b.node.input)))


def _dropout(b: Builder) -> str:
    """Nothing, as at inference."""
    if b.has(2) or b.wants(1):
        raise NotExpandable("it may be training, or the mask is wanted")
    return b.input(0)


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    ("", "DepthToSpace"): _depth_to_space,
    ("", "Dropout"): _dropout,
    ("", "GlobalAveragePool"): lambda b: b("ReduceMean", b.input(0), _pixels(b), keepdims=1),
    ("", "GlobalLpPool"): _global_lp_pool,
    ("", "GlobalMaxPool"): lambda b: b("ReduceMax", b.input(0), _pixels(b), keepdims=1),
    ("", "LpPool"): _lp_pool,
    ("", "Mean"): _mean,
    ("", "SpaceToDepth"): _space_to_depth,
    ("", "Sum"): _chain("Add"),
}
