"""The adjoint of a strided convolution as a convolution and a ``DepthToSpace``.

With stride s, the s × s phases of the result are computed as channels of one convolution and then
interleaved (the sub-pixel convolution of Shi et al. 2016). It costs more multiplications than
``ConvTranspose``, but runs on the blocked kernels and on all threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsa_onnx.rewrite.shapes import Dims
from lsa_onnx.rewrite.vjp.registry import Op
from lsa_onnx.rewrite.vjp.tape import Tape
from lsa_onnx.rewrite.vjp.windows import Window


@dataclass(frozen=True)
class Phases:
    """How position s·q + r of an axis is computed for all r at once.

    Attributes:
        entries: ``entries[r][d]`` is the position in the kernel through which output q + first + d
            read input s·q + r, or the kernel's size for none.
        begin: Padding before the adjoint.
        end: Padding after it.
        size: Of the axis.
    """

    entries: list[list[int]]
    begin: int
    end: int
    size: int


def plan_phases(window: Window, taken: Dims | None, given: Dims | None) -> list[Phases] | None:
    """How to write the adjoint in phases; ``None`` where that is not possible or does not pay.

    Args:
        window: Of the convolution.
        taken: Shape of its input.
        given: Shape of its output.
    """
    uniform = window.spatial == 2 and len(set(window.strides)) == 1
    # A kernel shorter than the stride leaves phases without a single entry.
    short = any(r + 1 < s for r, s in zip(window.reaches, window.strides, strict=True))
    if not uniform or short or taken is None or given is None or window.begins is None:
        return None
    plans = []
    for axis, (size, out) in enumerate(zip(taken[2:], given[2:], strict=True)):
        plan = _plan(window, axis, size, out) if size is not None and out is not None else None
        if plan is None:
            return None
        plans.append(plan)
    return plans


def _plan(window: Window, axis: int, size: int, out: int) -> Phases | None:
    """Output o reads input s·o − p + δ·j through entry j, so s·q + r is read by q + d with s·d = r + p − δ·j."""
    s, k, delta = window.strides[axis], window.kernel[axis], window.dilations[axis]
    p = window.pads[axis]
    first = -((delta * (k - 1) - p) // s)
    taps = (s - 1 + p) // s - first + 1
    end = -(-size // s) - out + first + taps - 1
    if first > 0 or end < 0:
        return None
    distances = [[r + p - s * (first + d) for d in range(taps)] for r in range(s)]
    return Phases([[_entry(d, delta, k) for d in row] for row in distances], -first, end, size)


def _entry(distance: int, dilation: int, size: int) -> int:
    """The kernel entry at ``distance``, ``size`` where there is none."""
    entry, rest = divmod(distance, dilation)
    return entry if rest == 0 and 0 <= entry < size else size


def write_phases(t: Tape, op: Op, g: str, window: Window, plans: list[Phases]) -> str:
    """The adjoint of the input of ``op`` for the adjoint ``g`` of its output."""
    stride = window.strides[0]
    phases = t.op(
        "Conv",
        g,
        _kernel(t, op, stride, plans),
        kernel_shape=[len(plan.entries[0]) for plan in plans],
        pads=[*(plan.begin for plan in plans), *(plan.end for plan in plans)],
        group=op.attribute("group", 1),
    )
    result = t.op("DepthToSpace", phases, blocksize=stride, mode="CRD")
    if all(plan.size % stride == 0 for plan in plans):
        return result
    sizes = t.ints(*(plan.size for plan in plans))
    return t.op("Slice", result, t.ints(0, 0), sizes, t.ints(2, 3))


def _kernel(t: Tape, op: Op, s: int, plans: list[Phases]) -> str:
    """The kernel (M, C/g, kh, kw) as (C·s·s, M/g, taps, taps), channels in DepthToSpace's order."""
    group = op.attribute("group", 1)
    given, taken = t.fixed_dims(op.inputs[1])[:2]
    # One more row and column of zeros stand for "no entry".
    kernel = t.op("Pad", op.inputs[1], t.ints(0, 0, 0, 0, 0, 0, 1, 1))
    for axis, plan in enumerate(plans):
        kernel = t.op("Gather", kernel, t.ints(*np.ravel(plan.entries).tolist()), axis=2 + axis)
    tall, wide = (len(plan.entries[0]) for plan in plans)
    split = t.op("Reshape", kernel, t.ints(group, given // group, taken, s, tall, s, wide))
    turned = t.op("Transpose", split, perm=[0, 2, 3, 5, 1, 4, 6])
    return t.op("Reshape", turned, t.ints(group * taken * s * s, given // group, tall, wide))
