"""Adjoints of convolutions by their input.

The adjoint of a convolution is a transposed convolution. For stride 1 it is also a plain convolution
with the kernel flipped, for which ONNX Runtime has blocked kernels that ``ConvTranspose`` lacks; the
cheaper of the two is written. Kernels are rearranged by nodes on constants, which the runtime folds
when it loads the model, so weights are never read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape
from lsa_onnx.rewrite.vjp.windows import Window, conv_window

# The runtime's blocked kernels compute channels in groups of 8 or 16, wanted or not.
_BLOCK = 8
# Per element, adding the columns of a transposed convolution up costs about as much as this many
# multiplications; measured on convolutions of ResNet-18 and VGG-19.
_ADDITION = 13
# With fewer positions than this the matrix product behind a transposed convolution is inefficient.
_FEW_POSITIONS = 32


@rule("Conv")
def conv(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x ∗ w + b: dx is the transposed convolution of dy with w; db the sum of dy per channel."""
    if t.active(op.inputs[1]):
        raise RuleRefused("its kernel depends on the input")
    window = conv_window(t, op)
    dx = _conv_by_input(t, op, g, window) if t.active(op.x) else None
    bias = op.input(2)
    db = _sum_per_channel(t, g, op.y) if bias is not None and t.active(bias) else None
    return [dx, None, db]


@rule("ConvTranspose")
def conv_transpose(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the transposed convolution of x with w: dx = dy ∗ w, with the same strides and pads."""
    if t.active(op.inputs[1]):
        raise RuleRefused("its kernel depends on the input")
    window = conv_window(t, op)
    dx = None
    if t.active(op.x):
        pads = _transposed_pads(t, op, window)
        dx = t.op(
            "Conv",
            g,
            op.inputs[1],
            strides=list(window.strides),
            dilations=list(window.dilations),
            pads=pads,
            group=op.attribute("group", 1),
        )
    bias = op.input(2)
    db = _sum_per_channel(t, g, op.y) if bias is not None and t.active(bias) else None
    return [dx, None, db]


def _sum_per_channel(t: Tape, g: str, y: str) -> str:
    return t.op("ReduceSum", g, t.ints(0, *range(2, t.rank(y))), keepdims=0)


def _conv_by_input(t: Tape, op: Op, g: str, window: Window) -> str:
    if set(window.strides) == {1} and _flipping_pays(t, op, window):
        return _flipped_conv(t, op, g, window)
    return _transposed_conv(t, op, g, window)


def _flipping_pays(t: Tape, op: Op, window: Window) -> bool:
    """Whether the flipped convolution is possible and the cheaper one, by counted multiplications."""
    if any(pad > reach for pad, reach in zip(window.pads, window.reaches * 2, strict=True)):
        return False
    taken, given = t.dims(op.x), t.dims(op.y)
    if taken is None or given is None or None in (*taken[1:], *given[1:]):
        return True
    group = op.attribute("group", 1)
    channels, given_channels = (d[1] // group for d in (taken, given) if d[1] is not None)
    inside, outside = (int(np.prod(d[2:])) for d in (taken, given))  # type: ignore[arg-type]
    blocked = -(-channels // _BLOCK) * _BLOCK
    flipped = blocked * given_channels * inside
    return outside < _FEW_POSITIONS or flipped <= channels * (given_channels + _ADDITION) * outside


def _flipped_conv(t: Tape, op: Op, g: str, window: Window) -> str:
    """Stride 1: a convolution with the kernel flipped and its channels swapped."""
    pads = [reach - pad for pad, reach in zip(window.pads, window.reaches * 2, strict=True)]
    axes = range(2, 2 + window.spatial)
    kernel = _swapped(t, op, window)
    if any(size > 1 for size in window.kernel):
        kernel = t.op(
            "Slice",
            kernel,
            t.ints(*[-1] * window.spatial),
            t.ints(*[np.iinfo(np.int64).min] * window.spatial),
            t.ints(*axes),
            t.ints(*[-1] * window.spatial),
        )
    return t.op(
        "Conv",
        g,
        kernel,
        kernel_shape=list(window.kernel),
        dilations=list(window.dilations),
        pads=pads,
        group=op.attribute("group", 1),
    )


def _swapped(t: Tape, op: Op, window: Window) -> str:
    """The kernel (M, C/g, …) as (C, M/g, …): what the adjoint reads are the outputs."""
    weight, group = op.inputs[1], op.attribute("group", 1)
    rank = 2 + window.spatial
    if group == 1:
        return t.op("Transpose", weight, perm=[1, 0, *range(2, rank)])
    given, taken = t.fixed_dims(weight)[:2]
    grouped = t.op("Reshape", weight, t.ints(group, given // group, taken, *window.kernel))
    turned = t.op("Transpose", grouped, perm=[0, 2, 1, *range(3, rank + 1)])
    return t.op("Reshape", turned, t.ints(group * taken, given // group, *window.kernel))


def _transposed_conv(t: Tape, op: Op, g: str, window: Window) -> str:
    """Any strides: ``ConvTranspose`` with the same kernel, as large as the input."""
    given: dict[str, Any] = {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "group": op.attribute("group", 1),
    }
    rest = window.remainder(t.dims(op.x), t.dims(op.y))
    if rest is not None:
        given |= {"pads": window.pads, "output_padding": rest}
        return t.op("ConvTranspose", g, op.inputs[1], **given)
    return window.cut(t, t.op("ConvTranspose", g, op.inputs[1], **given), op.x)


def _transposed_pads(t: Tape, op: Op, window: Window) -> Sequence[int]:
    """The pads of a ``ConvTranspose``, also where it is given the shape of its output instead."""
    if op.attribute("output_shape") is None and op.attribute("auto_pad", "NOTSET") in (
        "NOTSET",
        "VALID",
    ):
        return window.pads
    taken, given = t.fixed_dims(op.x, 2), t.fixed_dims(op.y, 2)
    pads: list[tuple[int, int]] = []
    for axis, (size, out) in enumerate(zip(taken, given, strict=True)):
        span = window.strides[axis] * (size - 1) + window.reaches[axis] + 1
        extra = (op.attribute("output_padding") or [0] * window.spatial)[axis]
        total = span + extra - out
        upper = op.attribute("auto_pad", "NOTSET") == "SAME_UPPER"
        begin = total // 2 if upper else total - total // 2
        pads.append((begin, total - begin))
    if any(pad < 0 for pair in pads for pad in pair):
        raise RuleRefused("its output is larger than its kernel reaches")
    return [begin for begin, _ in pads] + [end for _, end in pads]
