"""Writing entries along one axis: what the adjoints of slices, gathers, paddings and crops share.

Sums over repeated positions are written with ScatterElements. ScatterND with ``reduction="add"`` is
faster, but ONNX Runtime's CPU kernel loses updates of one row that fall to different threads.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp.formulas import HALVES
from lsa_onnx.rewrite.vjp.tape import Tape

Numbers: TypeAlias = NDArray[np.int64]
# An int64 vector: its numbers where they are known, else the name of the tensor that holds them.
Vector: TypeAlias = "Numbers | str"


def written(t: Tape, vector: Vector) -> str:
    """The name of a tensor that holds ``vector``."""
    return vector if isinstance(vector, str) else t.constant(vector, np.int64)


def read(t: Tape, name: str) -> Vector:
    """What a tensor of integers holds, as a vector if it is known."""
    value = t.value(name)
    if value is not None:
        return value.astype(np.int64).reshape(-1)
    if t.known.element(name) == onnx.TensorProto.INT64:
        return name
    return t.op("Cast", name, to=onnx.TensorProto.INT64)


def known_size(t: Tape, name: str, axis: int) -> int | None:
    """The length of an axis, ``None`` where it follows the batch or is not known."""
    dims = t.dims(name)
    return None if dims is None else dims[axis]


def sizes(t: Tape, name: str, start: int = 0, end: int | None = None) -> Vector:
    """The lengths of axes ``start`` to ``end`` (exclusive), both of which may be negative."""
    dims = t.dims(name)
    found = () if dims is None else dims[start:end]
    if dims is not None and None not in found:
        return np.array(found, np.int64)
    return t.op("Shape", name, start=start, end=end)


def size(t: Tape, name: str, axis: int) -> Vector:
    """The length of one axis, in a vector."""
    return sizes(t, name, axis, axis + 1 or None)


def joined(t: Tape, *parts: Vector) -> Vector:
    """Vectors one after another."""
    numbers = [part for part in parts if not isinstance(part, str)]
    if len(numbers) == len(parts):
        return np.concatenate(numbers)
    return t.op("Concat", *(written(t, part) for part in parts), axis=0)


def entries(t: Tape, vector: Vector, start: int, end: int) -> Vector:
    """Those from ``start`` to ``end`` (exclusive); negative numbers count from the end."""
    if not isinstance(vector, str):
        return vector[start:end]
    return t.op("Slice", vector, t.ints(start), t.ints(end))


def count_up(t: Tape, length: Vector) -> Vector:
    """0, 1, … below ``length``, a vector with one entry."""
    if not isinstance(length, str):
        return np.arange(int(length[0]))
    scalar = t.op("Reshape", length, t.constant([], np.int64))
    return t.op("Range", t.constant(0, np.int64), scalar, t.constant(1, np.int64))


def place(t: Tape, g: str, positions: Vector, x: str, axis: int) -> str:
    """Entry i of ``g`` at ``positions[i]`` of an axis as long as that of ``x``, and 0 elsewhere.

    Args:
        t: The tape.
        g: Along ``axis`` as long as ``positions``, and after it as ``x``.
        positions: No two are the same; negative ones count from the end.
        x: Says how long the axis becomes. Its axes before that one do not matter.
        axis: The axis, from 0.
    """
    length = known_size(t, x, axis)
    if isinstance(positions, str) or length is None:
        return _placed_at_run_time(t, g, written(t, positions), x, axis)
    numbers = np.where(positions < 0, positions + length, positions)
    step = spacing(numbers)
    if step == 1:
        return pad(t, g, {axis: (int(numbers[0]), int(length - 1 - numbers[-1]))})
    if step is not None:
        return _dilated(t, g, x, axis, range(int(numbers[0]), int(numbers[-1]) + step, step))
    return _gathered_back(t, g, numbers, length, axis)


def spacing(numbers: Numbers) -> int | None:
    """The distance between equally spaced ascending numbers (1 for a single one), else ``None``."""
    steps = np.unique(np.diff(numbers))
    if not numbers.size or steps.size > 1 or (steps <= 0).any():
        return None
    return int(steps[0]) if steps.size else 1


def pad(t: Tape, g: str, margins: dict[int, tuple[int, int]]) -> str:
    """``g`` with zeros before and after; axis → how many. Negative numbers cut off."""
    margins = {axis: margin for axis, margin in margins.items() if margin != (0, 0)}
    if not margins:
        return g
    pads = [before for before, _ in margins.values()] + [after for _, after in margins.values()]
    return t.op("Pad", g, t.ints(*pads), "", t.ints(*margins))


def _placed_at_run_time(t: Tape, g: str, positions: str, x: str, axis: int) -> str:
    count = t.op("Shape", positions)
    nowhere = t.op("Expand", count, written(t, size(t, x, axis)))
    numbers = written(t, count_up(t, count))
    back = t.op("ScatterElements", nowhere, positions, numbers, axis=0)
    return t.op("Gather", pad(t, g, {axis: (0, 1)}), back, axis=axis)


def _gathered_back(t: Tape, g: str, numbers: Numbers, length: int, axis: int) -> str:
    """Every position takes its entry of ``g``, those without one a row of zeros at its end."""
    back = np.full(length, numbers.size)
    back[numbers] = np.arange(numbers.size)
    rows = pad(t, g, {axis: (0, 1)}) if numbers.size < length else g
    return t.op("Gather", rows, t.constant(back, np.int64), axis=axis)


def _dilated(t: Tape, g: str, x: str, axis: int, positions: range) -> str:
    """Equally spaced positions: ``step`` − 1 zeros between the entries, then the ends."""
    step, count = positions.step, len(positions)
    length = known_size(t, x, axis) or 0
    whole, offset = divmod(positions.start, step)
    ends = {axis: (whole * step, length - (whole + count) * step)}
    if axis == t.rank(x) - 1 and t.element(x) == onnx.TensorProto.FLOAT:
        return pad(t, _dilated_row(t, g, axis, positions, offset), ends)
    # The axes after this one are merged, so that lengths that are not known can be copied.
    parted = t.op("Reshape", g, t.ints(*[0] * axis, count, 1, -1))
    spaced = pad(t, parted, {axis + 1: (offset, step - 1 - offset)})
    shape = joined(t, np.array([0] * axis + [count * step]), sizes(t, x, axis + 1))
    return pad(t, t.op("Reshape", spaced, written(t, shape)), ends)


def _dilated_row(t: Tape, g: str, axis: int, positions: range, offset: int) -> str:
    """Zeros between single numbers. Repeating and masking is five times as fast as Pad or Gather."""
    scales = t.constant([*[1.0] * axis, float(positions.step)], np.float32)
    repeated = t.op(
        "Resize",
        g,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    mask = np.zeros((len(positions), positions.step), np.float32)
    mask[:, offset] = 1
    return t.op("Mul", repeated, t.constant(mask.reshape(-1)))


def add_at(
    t: Tape, onto: str, positions: Vector, g: str, axis: int, *, rank: int, like: str
) -> str:
    """``onto`` plus entry i of ``g`` at ``positions[i]`` of an axis; repeated positions add up.

    Args:
        t: The tape.
        onto: What to add to.
        positions: Negative ones count from the end.
        g: As ``onto``, but along ``axis`` as long as ``positions``.
        axis: The axis, from 0.
        rank: Of ``onto`` and ``g``.
        like: A tensor of their element type.
    """
    ones = [1] * (rank - 1 - axis)
    if isinstance(positions, str):
        column = t.op("Reshape", positions, t.ints(-1, *ones))
    else:
        column = t.constant(positions.reshape(-1, *ones), np.int64)
    everywhere = t.op("Expand", column, t.op("Shape", g))
    return scatter(t, onto, everywhere, g, axis, "add", like=like)


def scatter(
    t: Tape, onto: str, indices: str, updates: str, axis: int, reduction: str | None, *, like: str
) -> str:
    """ScatterElements of tensors of the element type of ``like``.

    Half precision is widened where it is to be reduced: the CPU provider cannot, and sums gain by it.
    """
    element = t.element(like)
    if reduction is None or element not in HALVES:
        return t.op("ScatterElements", onto, indices, updates, axis=axis, reduction=reduction)
    table, values = (t.op("Cast", name, to=onnx.TensorProto.FLOAT) for name in (onto, updates))
    wide = t.op("ScatterElements", table, indices, values, axis=axis, reduction=reduction)
    return t.op("Cast", wide, to=element)
