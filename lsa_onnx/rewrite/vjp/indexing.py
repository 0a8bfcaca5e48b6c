"""Adjoints of operators that pick entries by index, and of those that put them there."""

from __future__ import annotations

import numpy as np

from lsa_onnx.rewrite.vjp.along import (
    Vector,
    add_at,
    joined,
    known_size,
    pad,
    place,
    read,
    sizes,
    written,
)
from lsa_onnx.rewrite.vjp.places import Places, of_extreme, of_product, rows_named_by
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("Gather")
def gather(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes entries along an axis: each entry of dx sums dy over where it went."""
    data, indices = op.inputs
    axis, positions = t.axis(op.attribute("axis", 0), data), read(t, indices)
    if t.rank(indices) != 1:
        # The axes of the indices become one.
        shape = joined(t, np.array([0] * axis + [-1]), sizes(t, data, axis + 1))
        g = t.op("Reshape", g, written(t, shape))
        if isinstance(positions, str):
            positions = t.op("Reshape", positions, t.ints(-1))
    if t.rank(indices) == 0 or _distinct(positions, known_size(t, data, axis)):
        return [place(t, g, positions, data, axis)]
    return [add_at(t, t.zeros_like(data), positions, g, axis, rank=t.rank(data), like=data)]


def _distinct(positions: Vector, length: int | None) -> bool:
    """Whether it is known that no position comes twice, counted from either end."""
    if isinstance(positions, str) or (length is None and (positions < 0).any()):
        return False
    counted = positions if length is None else positions % length
    return len(np.unique(counted)) == len(positions)


@rule("GatherElements")
def gather_elements(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes an entry for each index, along an axis: each entry of dx sums dy over where it went."""
    data, indices = op.inputs
    places = Places(indices, op.attribute("axis", 0), data)
    return [places.scatter(t, t.zeros_like(data), g, "add")]


@rule("GatherND")
def gather_nd(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes pieces that tuples of indices name: each piece of dx sums dy over where it went."""
    data, indices = op.inputs
    rows = rows_named_by(t, indices, data, op.attribute("batch_dims", 0))
    zeros = rows.of(t, t.zeros_like(data))
    total = add_at(t, zeros, rows.numbers, rows.of(t, g), 0, rank=2, like=data)
    return [t.reshape_like(total, data)]


@rule("ScatterElements")
def scatter_elements(t: Tape, op: Op, g: str) -> Adjoints:
    """Updates replace entries of the data, or are combined with them.

    Replaced: the data gets dy but for 0 where an update went, and each update gets dy from there; ONNX
    forbids two updates of one entry. A sum passes dy to all its terms. Each factor of a product gets dy
    times the other factors. Of a largest or smallest value, equal ones share dy.
    """
    data, indices, updates = op.inputs
    reduction = op.attribute("reduction", "none")
    places = Places(indices, op.attribute("axis", 0), data)
    if reduction == "none":
        return [places.scatter(t, g, t.zeros_like(updates)), None, places.gather(t, g)]
    if reduction == "add":
        return [g, None, places.gather(t, g)]
    ddata, dupdates = _combined(t, op, places, data, updates, op.y, g)
    return [ddata, None, dupdates]


@rule("ScatterND")
def scatter_nd(t: Tape, op: Op, g: str) -> Adjoints:
    """As ScatterElements, with pieces that tuples of indices name."""
    data, indices, updates = op.inputs
    reduction = op.attribute("reduction", "none")
    if reduction in ("none", "add"):
        kept = g
        if reduction == "none":
            kept = t.op("ScatterND", g, indices, t.zeros_like(updates))
        return [kept, None, t.op("GatherND", g, indices)]
    rows = rows_named_by(t, indices, data)
    table, pieces, y, dy = (rows.of(t, name) for name in (data, updates, op.y, g))
    ddata, dupdates = _combined(t, op, rows.places(t, pieces), table, pieces, y, dy)
    return [t.reshape_like(ddata, data), None, t.reshape_like(dupdates, updates)]


def _combined(
    t: Tape, op: Op, places: Places, data: str, updates: str, y: str, g: str
) -> tuple[str, str]:
    """The adjoints of data and updates that are multiplied, or of which an extreme is kept."""
    if op.attribute("reduction") == "mul":
        return of_product(t, places, data, updates, g)
    return of_extreme(t, places, data, updates, y, g)


@rule("TopK")
def top_k(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes the k largest or smallest entries along an axis: dx has dy where they were, and 0 elsewhere."""
    places = Places(op.outputs[1], op.attribute("axis", -1), op.x)
    return [places.scatter(t, t.zeros_like(op.x), g)]


@rule("Compress")
def compress(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes the entries that a condition marks: dx has dy where they were, and 0 elsewhere."""
    marked = t.op("Reshape", t.op("NonZero", op.inputs[1]), t.ints(-1))
    axis = op.attribute("axis")
    if axis is not None:
        return [place(t, g, marked, op.x, t.axis(axis, op.x))]
    flat = t.op("Reshape", t.zeros_like(op.x), t.ints(-1))
    return [t.reshape_like(Places(marked, 0, op.x).scatter(t, flat, g), op.x)]


@rule("OneHot")
def one_hot(t: Tape, op: Op, g: str) -> Adjoints:
    """Writes values[1] at indices and values[0] elsewhere: each value gets the sum of dy from there."""
    indices, depth, values = op.inputs
    ends = t.constant([0, 1], t.dtype(values))
    hot = t.op("OneHot", indices, depth, ends, axis=op.attribute("axis", -1))
    on = t.op("ReduceSum", t.op("Mul", g, hot), keepdims=0)
    off = t.op("Sub", t.op("ReduceSum", g, keepdims=0), on)
    both = [t.op("Reshape", value, t.ints(1)) for value in (off, on)]
    return [None, None, t.op("Concat", *both, axis=0)]


@rule("MaxUnpool")
def max_unpool(t: Tape, op: Op, g: str) -> Adjoints:
    """Puts x at indices into all entries of y, in order, with 0 elsewhere: dx takes dy from there."""
    return [t.op("Gather", t.op("Reshape", g, t.ints(-1)), op.inputs[1])]


@rule("Col2Im")
def col2im(t: Tape, op: Op, g: str) -> Adjoints:
    """Sums overlapping windows, the columns of x, to an image: dx takes the windows out of dy."""
    image, block = (t.value(name) for name in op.inputs[1:3])
    if image is None or block is None:
        raise RuleRefused("the shapes of the image and the windows are not constant")
    axes = len(block)
    pads = op.attribute("pads") or [0] * 2 * axes
    strides, dilations = (op.attribute(name) or [1] * axes for name in ("strides", "dilations"))
    g = pad(t, g, {axis + 2: (pads[axis], pads[axis + axes]) for axis in range(axes)})
    # Each axis becomes two: the place in a window, and the window.
    for axis in reversed(range(axes)):
        inner = np.arange(block[axis]) * dilations[axis]
        last = image[axis] + pads[axis] + pads[axis + axes] - inner[-1]
        pixels = inner[:, None] + np.arange(0, last, strides[axis])
        g = t.op("Gather", g, t.constant(pixels, np.int64), axis=axis + 2)
    order = [0, 1, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2)]
    return [t.reshape_like(t.op("Transpose", g, perm=order), op.x)]
