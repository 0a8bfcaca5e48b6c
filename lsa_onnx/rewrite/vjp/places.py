"""The places that indices name, and the adjoints of values that are combined there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsa_onnx.rewrite.vjp.along import Numbers, Vector, count_up, joined, scatter, sizes, written
from lsa_onnx.rewrite.vjp.formulas import mask
from lsa_onnx.rewrite.vjp.registry import RuleRefused
from lsa_onnx.rewrite.vjp.tape import Tape


@dataclass(frozen=True)
class Places:
    """The entries of a table that GatherElements reads and ScatterElements writes.

    Attributes:
        indices: An index along ``axis`` for each update.
        axis: Of the table.
        like: A tensor of the element type of the table.
    """

    indices: str
    axis: int
    like: str

    def gather(self, t: Tape, table: str) -> str:
        """What ``table`` holds there."""
        return t.op("GatherElements", table, self.indices, axis=self.axis)

    def scatter(self, t: Tape, table: str, updates: str, reduction: str | None = None) -> str:
        """``table`` with updates put there, or combined with what is there."""
        return scatter(t, table, self.indices, updates, self.axis, reduction, like=self.like)


@dataclass(frozen=True)
class Rows:
    """The pieces of a tensor that tuples of indices name, as rows of a matrix.

    Attributes:
        numbers: int64 vector, the row for each tuple.
        width: The number of entries of a piece.
        like: A tensor of the element type.
    """

    numbers: str
    width: Vector
    like: str

    def of(self, t: Tape, name: str) -> str:
        """A tensor whose last axes are those of a piece, as a matrix with a row for each."""
        shape = joined(t, np.array([-1]), self.width)
        return t.op("Reshape", name, written(t, shape))

    def places(self, t: Tape, updates: str) -> Places:
        """Where the rows of ``updates`` belong, entry by entry."""
        column = t.op("Reshape", self.numbers, t.ints(-1, 1))
        return Places(t.op("Expand", column, t.op("Shape", updates)), 0, self.like)


def rows_named_by(t: Tape, indices: str, data: str, batch: int = 0) -> Rows:
    """The rows that GatherND and ScatterND mean.

    Args:
        t: The tape.
        indices: Tuples of indices along its last axis; negative ones count from the end.
        data: The tensor that is indexed.
        batch: How many leading axes both have in common.

    Raises:
        RuleRefused: The length of the tuples is not known.
    """
    dims = t.dims(indices)
    if dims is None or dims[-1] is None:
        raise RuleRefused("it is not known how many axes are indexed")
    depth = batch + dims[-1]
    lengths = written(t, sizes(t, data, batch, depth))
    # The remainder counts negative indices from the end.
    inside = t.op("Mod", indices, lengths)
    strides = [_product(t, data, axis + 1, depth) for axis in range(batch, depth)]
    steps = t.op("Mul", inside, written(t, joined(t, *strides)))
    numbers = t.op("ReduceSum", steps, t.ints(-1), keepdims=0)
    if batch:
        numbers = _with_batch(t, numbers, data, batch, depth)
    width = _product(t, data, depth, t.rank(data))
    return Rows(t.op("Reshape", numbers, t.ints(-1)), width, data)


def _with_batch(t: Tape, numbers: str, data: str, batch: int, depth: int) -> str:
    """Rows of each batch after those of the ones before it."""
    count = _product(t, data, 0, batch)
    within = t.op("Reshape", numbers, written(t, joined(t, count, np.array([-1]))))
    first = t.op("Mul", written(t, count_up(t, count)), written(t, _product(t, data, batch, depth)))
    return t.op("Add", within, t.op("Reshape", first, t.ints(-1, 1)))


def _product(t: Tape, name: str, start: int, end: int) -> Vector:
    """The number of entries in axes ``start`` to ``end`` (exclusive), in a vector."""
    lengths = sizes(t, name, start, end) if start < end else np.ones(1, np.int64)
    if isinstance(lengths, str):
        return t.op("ReduceProd", lengths, keepdims=1)
    product: Numbers = lengths.prod(keepdims=True)
    return product


def of_product(t: Tape, places: Places, data: str, updates: str, g: str) -> tuple[str, str]:
    """Adjoints of data and updates where these multiply.

    Zeros are counted and left out of the product, so that no factor is divided by 0: an update gets the
    product of the others if it is the only 0, or if there is none.
    """
    like, zero = places.like, t.scalar(0, places.like)
    is_zero = mask(t, "Equal", updates, zero, like)
    factors = t.op("Add", updates, is_zero)
    nothing, ones = (t.op("Expand", t.scalar(v, like), t.op("Shape", data)) for v in (0, 1))
    zeros = places.scatter(t, nothing, is_zero, "add")
    product = t.op("Mul", g, places.scatter(t, ones, factors, "mul"))
    none = mask(t, "Equal", zeros, zero, like)
    others = t.op("Div", places.gather(t, t.op("Mul", product, data)), factors)
    alone = mask(t, "Equal", places.gather(t, zeros), is_zero, like)
    return t.op("Mul", product, none), t.op("Mul", others, alone)


def of_extreme(t: Tape, places: Places, data: str, updates: str, y: str, g: str) -> tuple[str, str]:
    """Adjoints of data and updates whose largest or smallest is ``y``."""
    data_won = mask(t, "Equal", data, y, places.like)
    updates_won = mask(t, "Equal", updates, places.gather(t, y), places.like)
    share = t.op("Div", g, places.scatter(t, data_won, updates_won, "add"))
    return t.op("Mul", share, data_won), t.op("Mul", places.gather(t, share), updates_won)
