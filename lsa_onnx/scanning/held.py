"""Inputs that are not perturbed: which have a value per sample, which one for all, and what they are given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.inputs import Dataset, Ids, InputSpec, held_rows, held_whole, parse_hold
from lsa_onnx.inputs.arrays import Rows
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.runtime.layout import Layout

Array = NDArray[Any]
Shape = tuple["int | None", ...]

_KINDS = "fiub"
_CHUNK_ROWS = 4096


def held_dtype(value: ValueDescription) -> np.dtype[Any]:
    """Of the arrays that the input ``value`` is fed.

    Raises:
        ModelError: numpy has no such type, so that nothing can be fed.
    """
    try:
        dtype = np.dtype("bool_" if value.dtype == "bool" else value.dtype)
    except TypeError:
        dtype = np.dtype("V")
    if dtype.kind not in _KINDS:
        raise ModelError(
            f"input {value.name!r} is of type {value.dtype}, which cannot be held at a value; accepted "
            "are tensors of floats, integers and booleans: export the model with such inputs"
        )
    return dtype


def as_taken(value: ValueDescription, rows: Array) -> Array:
    """``rows`` in the type that the input ``value`` takes.

    Raises:
        DataError: That type cannot hold a value.
    """
    dtype = held_dtype(value)
    with np.errstate(over="ignore", invalid="ignore"):
        taken = rows.astype(dtype, copy=False)
    if dtype.kind == "b" or taken is rows:
        return taken
    kept = np.isfinite(rows) == np.isfinite(taken)
    if dtype.kind in "iu":
        kept = (rows >= np.iinfo(dtype).min) & (rows <= np.iinfo(dtype).max)
    if not kept.all():
        raise DataError(
            f"input {value.name!r} is held at {rows[~kept].flat[0]:g}, which its type {dtype} cannot hold; "
            "give other values"
        )
    return taken


def named_sizes(value: ValueDescription, layout: Layout, dataset: Dataset) -> dict[str, int]:
    """The sizes that the samples give to the named dimensions of the input that they are for."""
    dims = (value.shape or [])[0 if layout.leading is None else 1 :]
    if len(dims) != len(dataset.sample_shape):
        return {}
    sizes = zip(dims, dataset.sample_shape, strict=True)
    return {name: size for name, size in sizes if isinstance(name, str)}


def whole_shape(
    value: ValueDescription,
    layout: Layout,
    sizes: Mapping[str, int],
    settings: Collection[str] = (),
) -> Shape | None:
    """The shape of an input that may have one value for all samples, ``None`` for one that has rows.

    Such an input sets shapes or axes, is a single number, or leads with a number that is not that of the
    batch. One that leads with 1 beside a free batch may be either, as may all where there is no batch.
    """
    if value.shape is None:
        return None
    leading = value.shape[0] if value.shape else 0
    counts = not isinstance(leading, int) or (not layout.free and leading == layout.leading)
    if layout.leading is not None and counts and value.name not in settings:
        return None
    return _sized(value.shape, sizes)


def row_shape(value: ValueDescription, layout: Layout, sizes: Mapping[str, int]) -> Shape:
    """What one sample takes of an input; ``None`` for a dimension that is free."""
    return _sized((value.shape or [])[0 if layout.leading is None else 1 :], sizes)


def _sized(dims: Sequence[int | str | None], sizes: Mapping[str, int]) -> Shape:
    return tuple(d if isinstance(d, int) else sizes.get(d) if d else None for d in dims)


@dataclass(frozen=True)
class Holding:
    """Settles what inputs that are held are given.

    Attributes:
        dataset: The samples; what it holds for other inputs is changed.
        held: Those inputs.
        layout: What one sample is.
        sizes: Of named dimensions.
        settings: Those of the inputs that set shapes or axes: they have no rows, whatever their length.
    """

    dataset: Dataset
    held: Sequence[ValueDescription]
    layout: Layout
    sizes: Mapping[str, int]
    settings: Collection[str] = ()

    def shape_of(self, value: ValueDescription) -> Shape | None:
        """As ``whole_shape``."""
        return whole_shape(value, self.layout, self.sizes, self.settings)

    def take(self, texts: Iterable[str]) -> None:
        """Take the values of ``--hold`` in place of those of the data.

        Raises:
            DataError: There is no such input, or the values do not fit it.
        """
        values = {value.name: value for value in self.held}
        given = dict(parse_hold(text) for text in texts)
        require_inputs("--hold", given, list(values), "an input that is held")
        for name, text in given.items():
            shape = self.shape_of(values[name])
            whole = held_whole(name, text, shape) if shape is not None else None
            row = row_shape(values[name], self.layout, self.sizes)
            self.dataset.extra.pop(name, None)
            self.dataset.whole.pop(name, None)
            if whole is not None:
                self.dataset.whole[name] = whole
            else:
                self.dataset.extra[name] = held_rows(name, text, row, self.dataset)

    def require_settings(self) -> None:
        """Hold inputs that set shapes or axes to one value for all samples of a batch.

        Raises:
            DataError: One has rows.
        """
        for value in self.held if self.layout.leading is not None else ():
            if value.name in self.settings and value.name in self.dataset.extra:
                taken = "a single number" if not value.shape else f"an array of shape {value.shape}"
                raise DataError(
                    f"input {value.name!r} sets a shape or axes, and {self.dataset.source} or --hold give it "
                    f"rows of shape {self.dataset.batch_of(value.name, 0, 1).shape[1:]}; it has one value "
                    f"for all samples, give {taken}"
                )

    def require_ids(self, limits: Mapping[str, tuple[int, int]]) -> None:
        """Hold the ids of held inputs to the tables that they are looked up in.

        Args:
            limits: Input → the smallest and the largest id.

        Raises:
            DataError: One is outside of its table.
        """
        for value in self.held:
            if value.name in limits:
                ids = Ids(held_dtype(value), limits[value.name])
                for rows in self._given(value.name):
                    ids.require_inside(int(rows.min()), int(rows.max()), f"input {value.name!r}")

    def _given(self, name: str) -> Iterator[Array]:
        """What the data hold for an input, in parts, empty ones left out."""
        parts = [self.dataset.whole[name]] if name in self.dataset.whole else []
        yield from (part for part in parts if part.size)
        if name in self.dataset.extra:
            for start in range(0, len(self.dataset), _CHUNK_ROWS):
                rows = self.dataset.batch_of(name, start, start + _CHUNK_ROWS)
                yield from [rows] * bool(rows.size)

    def fill(self, spec: InputSpec, unread: Collection[str]) -> None:
        """Make up values for inputs without any, if the samples are made up or nothing reads them.

        Raises:
            DataError: An input of a model with data of its own is left.
        """
        known = {*self.dataset.extra, *self.dataset.whole}
        missing = [value for value in self.held if value.name not in known]
        left = [v for v in missing if not (self.dataset.synthetic or v.name in unread)]
        if left:
            raise DataError(
                f"the model has {len(self.held) + 1} inputs, and {self.dataset.source} holds nothing "
                f"for {', '.join(repr(value.name) for value in left)}; give an npz with one array per "
                "input, under its name, or --hold NAME=FILE"
            )
        for value in missing:
            said = self._make_up(value, spec)
            if value.name not in unread:
                self.dataset.notes.append(f"{value.name!r} is made up: {said}")

    def _make_up(self, value: ValueDescription, spec: InputSpec) -> str:
        whole = self.shape_of(value)
        # Without a batch every sample has its own.
        if whole is not None and self.layout.leading is not None:
            self.dataset.whole[value.name], said = _made_up(value, whole, spec)
            return said
        made, said = _made_up(value, row_shape(value, self.layout, self.sizes), spec)
        rows = np.broadcast_to(made, (len(self.dataset), *made.shape))
        self.dataset.extra[value.name] = Rows(rows, None)
        return said

    def whole(self) -> dict[str, Array]:
        """Inputs with one value for all samples, in the types that they take."""
        return {
            value.name: as_taken(value, self.dataset.whole[value.name])
            for value in self.held
            if value.name in self.dataset.whole
        }


def _made_up(value: ValueDescription, shape: Shape, spec: InputSpec) -> tuple[Array, str]:
    """A value that an exported model is likely to take, and what it is."""
    dtype, name = held_dtype(value), value.name.lower()
    sizes = [1 if size is None else size for size in shape]
    # With nothing to attend to, a transformer divides 0 by 0.
    if "mask" in name and "pad" not in name:
        return np.ones(sizes, dtype), "1 throughout, as its name has 'mask' in it"
    if "position" in name and dtype.kind in "iu" and sizes:
        return np.broadcast_to(np.arange(sizes[-1], dtype=dtype), sizes), "counted from 0"
    if dtype.kind == "f":
        return np.full(sizes, spec.low + spec.width / 2, dtype), "the middle of the range"
    return np.zeros(sizes, dtype), "0 throughout"


def require_inputs(flag: str, names: Iterable[str], known: Sequence[str], what: str) -> None:
    """Refuse names that are not ``known``.

    Raises:
        DataError: There is one.
    """
    for name in names:
        if name not in known:
            listed = ", ".join(map(repr, known)) or "none"
            raise DataError(f"{flag} {name!r} is not {what}; accepted are {listed}")
