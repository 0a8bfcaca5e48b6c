"""Adjoints of convolutions by their input (those by their kernel are in ``kernels``).

The adjoint of a convolution is a transposed convolution, and ONNX Runtime's ``ConvTranspose`` adds its
columns up on one thread. Its ``Conv`` has blocked kernels that use all of them, so wherever it pays the
adjoint is written as a ``Conv``: with the kernel flipped for stride 1, in ``phases`` for others. Kernels
are rearranged by nodes on constants, which the runtime folds when it loads the model, so weights are
never read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lsa_onnx.rewrite.vjp.kernels import by_kernel
from lsa_onnx.rewrite.vjp.phases import plan_phases, write_phases
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape
from lsa_onnx.rewrite.vjp.windows import Window, conv_window

# The runtime's blocked kernels compute channels in groups of 8 or 16, wanted or not.
_BLOCK = 8


@rule("Conv")
def conv(t: Tape, op: Op, g: str) -> Adjoints:
    """y = x ∗ w + b: dx is the transposed convolution of dy with w; db the sum of dy per channel.

    dw is x ∗ dy, with samples for channels.
    """
    window = conv_window(t, op)
    dx = _conv_by_input(t, op, g, window) if t.active(op.x) else None
    dw = by_kernel(t, op, op.x, g, window, window.pads) if t.active(op.inputs[1]) else None
    return [dx, dw, _by_bias(t, op, g)]


@rule("ConvTranspose")
def conv_transpose(t: Tape, op: Op, g: str) -> Adjoints:
    """y is the transposed convolution of x with w: dx = dy ∗ w, with the same strides and pads.

    dw is dy ∗ x, with samples for channels.
    """
    weight, window = op.inputs[1], conv_window(t, op)
    pads = _transposed_pads(t, op, window)
    given: dict[str, Any] = {
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "pads": pads,
    }
    dx = dw = None
    if t.active(op.x):
        dx = t.op("Conv", g, weight, group=op.attribute("group", 1), **given)
    if t.active(weight):
        dw = by_kernel(t, op, g, op.x, window, pads)
    return [dx, dw, _by_bias(t, op, g)]


def _by_bias(t: Tape, op: Op, g: str) -> str | None:
    bias = op.input(2)
    return _sum_per_channel(t, g, op.y) if bias is not None and t.active(bias) else None


def _sum_per_channel(t: Tape, g: str, y: str) -> str:
    return t.op("ReduceSum", g, t.ints(0, *range(2, t.rank(y))), keepdims=0)


def _conv_by_input(t: Tape, op: Op, g: str, window: Window) -> str:
    if set(window.strides) == {1}:
        if _flipping_pays(t, op, window):
            return _flipped_conv(t, op, g, window)
    else:
        plans = plan_phases(window, t.dims(op.x), t.dims(op.y))
        if plans is not None:
            return write_phases(t, op, g, window, plans)
    return _transposed_conv(t, op, g, window)


def _flipping_pays(t: Tape, op: Op, window: Window) -> bool:
    """Whether the flipped convolution is possible and the faster one.

    It computes channels in whole blocks. ``ConvTranspose`` does not, but adds its columns up on one
    thread, so it is the faster one only where a block would be half empty: behind a first layer.
    """
    if any(pad > reach for pad, reach in zip(window.pads, window.reaches * 2, strict=True)):
        return False
    dims, group = t.dims(op.x), op.attribute("group", 1)
    channels = dims[1] if dims is not None else None
    return channels is None or group > 1 or 2 * channels > _BLOCK


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
