"""``Dataset``: the selected samples, a batch at a time, in declared units and the model's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import CHUNK_BYTES, Rows

if TYPE_CHECKING:
    from lsa_onnx.inputs.geometry import Conversion
    from lsa_onnx.inputs.images import Hash
    from lsa_onnx.inputs.units import NameOf, Units

Array = NDArray[Any]
Index = NDArray[np.intp]
Labels = NDArray[Any]


class Samples(Protocol):
    """Where the inputs of a dataset come from."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Array:
        """Samples ``start`` to ``stop``, ``(n, *sample_shape)`` in the declared range."""


class RowSource(Protocol):
    """Where the values of a further input come from."""

    def read(self, start: int, stop: int) -> Array:
        """Those of samples ``start`` to ``stop``, ``(n, ...)`` as stored; may be a view."""


@dataclass(frozen=True)
class ArraySamples:
    """Samples of a stored array, converted when read; ``index`` are their numbers in the file."""

    rows: Rows
    conversion: Conversion
    units: Units
    source: str
    index: Index

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> Array:
        """As ``Samples.read``.

        Raises:
            DataError: a value is not finite or outside the declared range, or colours are to be
                merged.
        """
        rows, name_of = self._converted(start, stop)
        return self.units.convert(rows, self.source, name_of)

    def survey(self, digest: Hash) -> None:
        """Check every selected sample ahead of any work, and feed them to ``digest``.

        Raises:
            DataError: as ``read``; a violated range is named as it is over all samples.
        """
        shape, dtype = self.rows.data.shape[1:], self.rows.data.dtype
        digest.update(f"{dtype.str} {shape}".encode())
        unchecked = self.units.takes_all(dtype) and not self.conversion.merges
        step = max(1, CHUNK_BYTES // (int(np.prod(shape)) * dtype.itemsize))
        extents = []
        for start in range(0, len(self), step):
            stop = min(start + step, len(self))
            digest.update(np.ascontiguousarray(self.rows.read(start, stop)).tobytes())
            if not unchecked:
                rows, name_of = self._converted(start, stop)
                extents.append(self.units.extent(rows, self.source, name_of))
        if extents and not self.units.takes_all(dtype):
            low, high = min(low for low, _ in extents), max(high for _, high in extents)
            self.units.require_inside(low, high, self.source)

    def _converted(self, start: int, stop: int) -> tuple[Array, NameOf]:
        def name_of(position: int) -> str:
            return f"sample {self.index[start + position]}"

        rows = self.rows.read(start, stop)
        return self.conversion.apply(rows, self.source, name_of), name_of


class Dataset:
    """Selected samples in shuffled order.

    Attributes:
        source: where they come from, for the report.
        synthetic: whether they were made up rather than read.
        fingerprint: SHA-256 (hex) over the selected samples as stored, in their order, and their
            labels.
        available: samples in the source.
        selection: positions in the source of the selected samples, ``(n,)``.
        sample_shape: shape of one sample.
        dtype: of the inputs that ``batch`` returns.
        labels: class numbers ``(n,)``, int64; for a model without classes, what it should give for each
            sample, ``(n, ...)``; or ``None``.
        classes: class names by number, or ``None``.
        notes: what was done to the data, for the report.
        extra: further model inputs by name, of the same selection.
        whole: model inputs without samples, by name: one value for all.
        stored_shape: shape of one sample in the source, where it was an array; ``None`` else.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        source: str,
        fingerprint: str,
        selection: Index,
        available: int,
        sample_shape: tuple[int, ...],
        units: Units,
        labels: Labels | None = None,
        classes: Sequence[str] | None = None,
        notes: Sequence[str] = (),
        extra: Mapping[str, RowSource] | None = None,
        whole: Mapping[str, Array] | None = None,
        synthetic: bool = False,
        stored_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._samples = samples
        self.extra = dict(extra or {})
        self.whole = dict(whole or {})
        self.source = source
        self.synthetic = synthetic
        self.fingerprint = fingerprint
        self.selection = selection
        self.available = available
        self.sample_shape = sample_shape
        self.spec = units.spec
        self.dtype = units.dtype
        self.labels = labels
        self.classes = None if classes is None else list(classes)
        self.notes = list(notes)
        self.stored_shape = stored_shape

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def extra_names(self) -> tuple[str, ...]:
        """The further model inputs that the source holds."""
        return tuple(self.extra)

    def batch(self, start: int, stop: int) -> tuple[Array, Labels | None]:
        """Samples ``start`` to ``stop`` (cut at the end) and their labels.

        Returns:
            ``x`` ``(n, *sample_shape)``, a new C-contiguous array of ``dtype`` in the declared
            range and the model's layout, and ``y``, the ``labels`` of those samples, or ``None`` where
            there are none.

        Raises:
            DataError: a sample cannot be decoded, is not finite, or is outside the declared range.
        """
        start, stop = self._bounds(start, stop)
        x = self._samples.read(start, stop)
        return x, None if self.labels is None else self.labels[start:stop].copy()

    def batch_of(self, name: str, start: int, stop: int) -> Array:
        """The further model input ``name`` for the same samples, ``(n, ...)``, as stored.

        Raises:
            DataError: the source holds no such array.
        """
        if name not in self.extra:
            text = f"{self.source} holds no array {name!r} for that model input"
            raise DataError(
                f"{text}; it holds {', '.join(map(repr, self.extra)) or 'no further inputs'}; "
                "add it to the npz"
            )
        start, stop = self._bounds(start, stop)
        return np.array(self.extra[name].read(start, stop), order="C", copy=True)

    def _bounds(self, start: int, stop: int) -> tuple[int, int]:
        if not 0 <= start < min(stop, len(self)):
            raise ValueError(f"batch {start}:{stop} is empty or outside 0..{len(self)}")
        return start, min(stop, len(self))


def select(available: int, samples: int | None, seed: int, source: str) -> tuple[Index, list[str]]:
    """A seeded random choice without replacement, in random order, and a note on it.

    Files are often sorted by class, so even a full selection is shuffled. A smaller selection with
    the same seed is the beginning of a larger one.

    Raises:
        DataError: the source is empty, ``samples`` is below 1, or ``seed`` is negative.
    """
    if available < 1:
        raise DataError(f"{source} holds 0 samples; give data with at least one")
    if samples is not None and samples < 1:
        raise DataError(f"--samples {samples} is not usable; give a number of at least 1")
    if seed < 0:
        raise DataError(f"--seed {seed} is not usable; give a number of at least 0")
    order = np.random.default_rng(seed).permutation(available).astype(np.intp)
    if samples is None or samples == available:
        return order, [f"all {available} samples, shuffled with seed {seed}"]
    if samples > available:
        return order, [f"all {available} samples ({samples} asked for), shuffled with seed {seed}"]
    return order[:samples], [f"{samples} of {available} samples, drawn with seed {seed}"]


def fingerprint(survey: Callable[[Hash], None], labels: Labels | None) -> str:
    """SHA-256 (hex) of what ``survey`` feeds and of the labels ``(n, ...)``."""
    digest = hashlib.sha256()
    survey(digest)
    if labels is not None:
        digest.update(b"labels")
        digest.update(np.ascontiguousarray(labels, labels.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
