"""The geometry of sliding windows: kernels, strides, dilations and pads, in every spelling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsa_onnx.rewrite.shapes import Dims
from lsa_onnx.rewrite.vjp.registry import Op, RuleRefused
from lsa_onnx.rewrite.vjp.tape import Tape


@dataclass(frozen=True)
class Window:
    """A sliding window.

    Attributes:
        kernel: Size per spatial axis.
        strides: Likewise.
        dilations: Likewise.
        begins: Padding before the first element per axis; ``None`` where it depends on a size that
            is not known.
        ends: Padding after the last one, likewise.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...] | None
    ends: tuple[int, ...] | None

    @property
    def spatial(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def reaches(self) -> tuple[int, ...]:
        """Distance between the first and the last element of the window, per axis."""
        return tuple(d * (k - 1) for d, k in zip(self.dilations, self.kernel, strict=True))

    @property
    def pads(self) -> list[int]:
        """Begins, then ends, as ONNX writes them.

        Raises:
            RuleRefused: They are not known.
        """
        if self.begins is None or self.ends is None:
            raise RuleRefused("its padding depends on a size that is not known")
        return [*self.begins, *self.ends]

    def remainder(self, taken: Dims | None, given: Dims | None) -> list[int] | None:
        """How far the padded input reaches beyond the last window, per axis.

        Args:
            taken: Shape of what the window slides over, channels included.
            given: Shape of what it gives.

        Returns:
            0 to stride − 1 each; ``None`` where a size is not known or some window lies outside.
        """
        if taken is None or given is None or self.begins is None:
            return None
        rest = []
        for axis, (size, out) in enumerate(zip(taken[2:], given[2:], strict=True)):
            if size is None or out is None:
                return None
            covered = (out - 1) * self.strides[axis] + self.reaches[axis] + 1
            rest.append(size + self.pads[axis] + self.pads[axis + self.spatial] - covered)
        return rest if all(0 <= r < s for r, s in zip(rest, self.strides, strict=True)) else None

    def cut(self, t: Tape, whole: str, like: str) -> str:
        """What lies within ``like`` of a result ``whole`` that covers it with its padding.

        ``whole`` may end up to a stride before the padded end, where no window reached.
        """
        axes, begins, ends = range(2, 2 + self.spatial), *self._halves()
        fill = [max(0, s - 1 - end) for s, end in zip(self.strides, ends, strict=True)]
        if any(fill):
            pads = t.ints(*[0] * self.spatial, *fill)
            whole = t.op("Pad", whole, pads, "", t.ints(*axes))
        if not any(fill) and not any(begins) and not any(ends) and set(self.strides) == {1}:
            return whole
        start = t.ints(*begins)
        size = t.op("Slice", t.shape_of(like), t.ints(2), t.ints(2 + self.spatial))
        return t.op("Slice", whole, start, t.op("Add", size, start), t.ints(*axes))

    def _halves(self) -> tuple[list[int], list[int]]:
        return self.pads[: self.spatial], self.pads[self.spatial :]


def conv_window(t: Tape, op: Op) -> Window:
    """The window of a convolution, whose kernel size its weights may tell."""
    kernel = op.attribute("kernel_shape") or t.fixed_dims(op.inputs[1], 2)
    return _window(t, op, tuple(kernel))


def pool_window(t: Tape, op: Op) -> Window:
    """The window of a pooling operator."""
    return _window(t, op, tuple(op.attribute("kernel_shape")))


def _window(t: Tape, op: Op, kernel: tuple[int, ...]) -> Window:
    count = len(kernel)
    strides = tuple(op.attribute("strides") or [1] * count)
    dilations = tuple(op.attribute("dilations") or [1] * count)
    begins, ends = _pads(t, op, kernel, strides, dilations)
    return Window(kernel, strides, dilations, begins, ends)


def _pads(
    t: Tape,
    op: Op,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    count, auto = len(kernel), op.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = (op.attribute("pads") if auto == "NOTSET" else None) or [0] * 2 * count
        return tuple(pads[:count]), tuple(pads[count:])
    sizes = (t.dims(op.x) or (None,) * (2 + count))[2:]
    begins, ends = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        reach = d * (k - 1)
        if s > 1 and size is None:
            return None, None
        # With stride 1 the result has the size of the input whatever that is.
        total = reach if size is None else max(0, (-(-size // s) - 1) * s + reach + 1 - size)
        begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        begins.append(begin)
        ends.append(total - begin)
    return tuple(begins), tuple(ends)


def window_counts(window: Window, sizes: tuple[int, ...], outs: tuple[int, ...]) -> np.ndarray:
    """How many elements inside of the tensor each window covers, shape ``outs``.

    Args:
        window: The window, its pads known.
        sizes: Spatial size of what it slides over.
        outs: Spatial size of what it gives.
    """
    counts = np.ones((), np.int64)
    for axis, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        starts = np.arange(out) * window.strides[axis] - window.pads[axis]
        taps = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        inside = ((taps >= 0) & (taps < size)).sum(axis=1)
        counts = np.multiply.outer(counts, inside)
    return counts
