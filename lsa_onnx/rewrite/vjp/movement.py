"""Adjoints of operators that move entries without changing them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lsa_onnx.rewrite.vjp.along import (
    Vector,
    count_up,
    entries,
    joined,
    known_size,
    pad,
    place,
    read,
    size,
    sizes,
    spacing,
    written,
)
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule, rule_of_all
from lsa_onnx.rewrite.vjp.tape import Tape


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(t: Tape, op: Op, g: str) -> Adjoints:
    """The entries of x in the same order: dx = dy in the shape of x."""
    return [t.reshape_like(g, op.x)]


@rule("Transpose")
def transpose(t: Tape, op: Op, g: str) -> Adjoints:
    """Axis i of y is axis perm[i] of x: the adjoint takes the axes back."""
    perm = op.attribute("perm")
    return [t.op("Transpose", g, perm=None if perm is None else np.argsort(perm).tolist())]


@rule("Expand")
def expand(t: Tape, op: Op, g: str) -> Adjoints:
    """Repeats x along axes of length 1 and new ones: dx sums dy over them."""
    return [t.unbroadcast(g, op.x, op.y)]


@rule("Tile")
def tile(t: Tape, op: Op, g: str) -> Adjoints:
    """Repeats x repeats[i] times along axis i: dx sums dy over the copies."""
    repeats = read(t, op.inputs[1])
    axes = [axis for axis in range(t.rank(op.x)) if isinstance(repeats, str) or repeats[axis] != 1]
    # Each repeated axis is parted in two: the copies, and the axis itself.
    parts = [size(t, op.x, axis) for axis in range(t.rank(op.x))]
    for axis in reversed(axes):
        parts.insert(axis, entries(t, repeats, axis, axis + 1))
    parted = t.op("Reshape", g, written(t, joined(t, *parts)), allowzero=1)
    copies = t.ints(*(axis + index for index, axis in enumerate(axes)))
    return [t.op("ReduceSum", parted, copies, keepdims=0, noop_with_empty_axes=1)]


@rule("Concat")
def concat(t: Tape, op: Op, g: str) -> Adjoints:
    """Puts a, b, … one after another along an axis: each gets its part of dy."""
    axis = op.attribute("axis")
    if len(op.inputs) == 1:
        return [g]
    lengths = joined(t, *(size(t, name, axis) for name in op.inputs))
    return t.ops("Split", g, written(t, lengths), outputs=len(op.inputs), axis=axis)


@rule_of_all("Split")
def split(t: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
    """Parts x along an axis: dx puts the parts together again."""
    parts = [
        t.zeros_like(name) if adjoint is None else adjoint
        for name, adjoint in zip(op.outputs, adjoints, strict=True)
    ]
    return [t.op("Concat", *parts, axis=op.attribute("axis", 0))]


@rule("Slice")
def slice_(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes every step-th entry between two ends: there dx = dy, and elsewhere 0."""
    cut = {axis: i for i, axis in enumerate(_sliced_axes(t, op)) if not _whole(t, op, axis)}
    # The last axis comes first: see ``place``.
    kept = {axis: _kept(t, op, axis, cut[axis]) for axis in sorted(cut, reverse=True)}
    margins = _margins(t, op.x, kept)
    if margins is not None:
        return [pad(t, g, margins)]
    if any(not isinstance(positions, str) and not positions.size for positions in kept.values()):
        return [t.zeros_like(op.x)]
    for axis, positions in kept.items():
        g = place(t, g, positions, op.x, axis)
    return [g]


def _sliced_axes(t: Tape, op: Op) -> list[int]:
    given = op.input(3)
    if given is None:
        counts = [known_size(t, bounds, 0) for bounds in op.inputs[1:3]]
        count = next((count for count in counts if count is not None), None)
        if count is None:
            raise RuleRefused("it is not known how many axes are sliced")
        return list(range(count))
    axes = t.value(given)
    if axes is None:
        raise RuleRefused("the axes are not constant")
    return [t.axis(int(axis), op.x) for axis in axes]


def _whole(t: Tape, op: Op, axis: int) -> bool:
    """Whether nothing is cut off: exporters write such slices for the batch."""
    steps = t.value(op.input(4))
    forward = op.input(4) is None or (steps is not None and bool((steps == 1).all()))
    known = t.dims(op.x) is not None and t.dims(op.y) is not None
    return forward and known and t.known.same_dim(op.x, axis, op.y, axis)


def _kept(t: Tape, op: Op, axis: int, index: int) -> Vector:
    """The positions along ``axis`` that a Slice keeps: what it makes of 0, 1, 2."""
    given = [op.inputs[1], op.inputs[2], op.input(4)]
    start, end, step = (
        np.array([1]) if name is None else entries(t, read(t, name), index, index + 1)
        for name in given
    )
    places = count_up(t, size(t, op.x, axis))
    if isinstance(places, str) or any(isinstance(bound, str) for bound in (start, end, step)):
        bounds = [written(t, bound) for bound in (start, end, step)]
        return t.op("Slice", written(t, places), *bounds[:2], t.ints(0), bounds[2])
    return places[slice(int(start[0]), int(end[0]), int(step[0]))]


def _margins(t: Tape, x: str, kept: Mapping[int, Vector]) -> dict[int, tuple[int, int]] | None:
    """What a Slice cuts off, by axis, where it is known and one piece is left; else ``None``."""
    margins = {}
    for axis, positions in kept.items():
        length = known_size(t, x, axis)
        if isinstance(positions, str) or length is None or spacing(positions) != 1:
            return None
        margins[axis] = (int(positions[0]), int(length - 1 - positions[-1]))
    return margins


@rule("DepthToSpace")
def depth_to_space(t: Tape, op: Op, g: str) -> Adjoints:
    """Lays channels out as blocks of pixels: dx takes the pixels of dy back to channels."""
    block = op.attribute("blocksize")
    deep = t.op("SpaceToDepth", g, blocksize=block)
    if op.attribute("mode", "DCR") == "DCR":
        return [deep]
    # SpaceToDepth puts the place in the block before the channel; here it comes after it.
    parted = joined(t, np.array([0, block * block, -1]), sizes(t, op.x, 2))
    apart = t.op("Reshape", deep, written(t, parted))
    swapped = t.op("Transpose", apart, perm=[0, 2, 1, 3, 4])
    return [t.reshape_like(swapped, op.x)]


@rule("SpaceToDepth")
def space_to_depth(t: Tape, op: Op, g: str) -> Adjoints:
    """Moves the pixels of each block to channels: dx takes the channels of dy back."""
    return [t.op("DepthToSpace", g, blocksize=op.attribute("blocksize"), mode="DCR")]


@rule("Trilu")
def trilu(t: Tape, op: Op, g: str) -> Adjoints:
    """Takes x above or below a diagonal and 0 beyond: dx does so with dy."""
    return [t.op("Trilu", g, *op.inputs[1:], upper=op.attribute("upper", 1))]


@rule("ReverseSequence")
def reverse_sequence(t: Tape, op: Op, g: str) -> Adjoints:
    """Reverses the first entries of each sequence: dx does so with dy, which restores the order."""
    batch, time = op.attribute("batch_axis", 1), op.attribute("time_axis", 0)
    return [t.op("ReverseSequence", g, op.inputs[1], batch_axis=batch, time_axis=time)]
