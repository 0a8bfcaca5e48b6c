"""Adjoints of convolutions by their kernel, for kernels that the input makes (dynamic convolutions).

Each entry of a kernel is multiplied with the windows' elements that it meets, so its adjoint is a
convolution too: of one tensor with the other, in which samples and channels change places and strides
and dilations do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsa_onnx.rewrite.vjp.registry import Op
from lsa_onnx.rewrite.vjp.tape import Tape
from lsa_onnx.rewrite.vjp.windows import Window

_END = np.iinfo(np.int64).max


def by_kernel(
    t: Tape, op: Op, slid_over: str, windows: str, window: Window, pads: Sequence[int]
) -> str:
    """The adjoint of the kernel ``op.inputs[1]``, (a, b, …).

    Args:
        t: Where to write.
        op: The convolution; its kernel has a × b channels per group.
        slid_over: What its windows lie on: the input, or the adjoint of a transposed convolution.
        windows: What there is one of per window: the adjoint, or that operator's input.
        window: Its geometry.
        pads: Begins, then ends.
    """
    whole = t.op(
        "Conv",
        _channels_first(t, op, slid_over, window),
        t.op("Transpose", windows, perm=_swapped(window)),
        strides=list(window.dilations),
        dilations=list(window.strides),
        pads=list(pads),
        group=op.attribute("group", 1),
    )
    kernel = t.op("Transpose", whole, perm=_swapped(window))
    if set(window.strides) == {1} and not any(op.attribute("output_padding") or []):
        return kernel
    # What lies beyond the last window would make the kernel longer.
    axes = range(2, 2 + window.spatial)
    return t.op(
        "Slice", kernel, t.ints(*[0] * window.spatial), t.ints(*window.kernel), t.ints(*axes)
    )


def _swapped(window: Window) -> list[int]:
    return [1, 0, *range(2, 2 + window.spatial)]


def _channels_first(t: Tape, op: Op, name: str, window: Window) -> str:
    """(n, g c, …) as (c, g n, …): for each channel of a group, the samples of every group."""
    group = op.attribute("group", 1)
    if group == 1:
        return t.op("Transpose", name, perm=_swapped(window))
    per_group = t.fixed_dims(op.inputs[1])[1]
    split = t.op("Reshape", name, t.ints(0, group, per_group, -1))
    turned = t.op("Transpose", split, perm=[2, 1, 0, 3])
    places = t.op("Slice", t.shape_of(name), t.ints(2), t.ints(_END))
    return t.op("Reshape", turned, t.op("Concat", t.ints(per_group, -1), places, axis=0))
