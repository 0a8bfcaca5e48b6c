"""Made-up inputs for a model without data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.dataset import Dataset, fingerprint, select
from lsa_onnx.inputs.ids import FREE_LENGTH, Ids, RandomIds
from lsa_onnx.inputs.spec import InputSpec, Layout, SampleShape, resolve_layout, shape_text
from lsa_onnx.inputs.units import Units

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from lsa_onnx.inputs.images import Hash

FREE_SPATIAL = 224
FREE_CHANNELS = 3
FREE_OTHER = 1
# An image of 16,384 by 16,384.
_MOST_ELEMENTS = 1 << 28


@dataclass(frozen=True)
class UniformSamples:
    """``count`` samples of independent values, uniform in the declared range.

    Sample ``i`` depends on ``seed`` and ``i`` alone.
    """

    count: int
    shape: tuple[int, ...]
    units: Units
    seed: int

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Samples ``start`` to ``stop``, ``(n, *shape)``, the same however batches are cut."""
        spec = self.units.spec
        out = np.empty((stop - start, *self.shape), self.units.dtype)
        for index in range(start, stop):
            values = np.random.default_rng([self.seed, index]).random(self.shape)
            out[index - start] = np.clip(spec.low + values * spec.width, spec.low, spec.high)
        return out

    def survey(self, digest: Hash) -> None:
        """Feed all samples to ``digest``, one at a time."""
        digest.update(f"{self.units.dtype.str} {self.shape}".encode())
        for index in range(self.count):
            digest.update(self.read(index, index + 1).tobytes())


def synthetic_data(
    spec: InputSpec,
    sample_shape: SampleShape,
    samples: int,
    seed: int,
    *,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """``samples`` inputs, uniform in the declared range, without labels.

    A free height or width is taken as ``FREE_SPATIAL``, free channels as ``FREE_CHANNELS``, any
    other free dimension as ``FREE_OTHER``.

    Raises:
        DataError: ``samples`` is below 1, ``seed`` is negative, or ``dtype`` is no floating point
            type.
    """
    units = Units(spec, dtype)
    shape = _filled(sample_shape, resolve_layout(spec.layout, sample_shape))
    made = UniformSamples(samples, shape, units, seed)
    source = "synthetic (uniform in the declared range)"
    return _made_up(made, units, source, samples, seed, sample_shape)


def _made_up(
    made: UniformSamples | RandomIds,
    units: Units,
    source: str,
    samples: int,
    seed: int,
    wanted: SampleShape,
) -> Dataset:
    """All of ``made``, which has the shape ``wanted`` with its free dimensions set."""
    if samples < 1:
        raise DataError(f"--samples {samples} is not usable; give a number of at least 1")
    if math.prod(made.shape) > _MOST_ELEMENTS:
        raise DataError(
            f"a sample of shape {shape_text(made.shape)} has {math.prod(made.shape):,} elements; at most "
            f"{_MOST_ELEMENTS:,} are made up: give --data"
        )
    index, _ = select(samples, None, seed, "synthetic data")
    notes = []
    if None in wanted:
        notes = [f"free dimensions of {shape_text(wanted)} set: {shape_text(made.shape)}"]
    return Dataset(
        made,
        source=source,
        fingerprint=fingerprint(made.survey, None),
        selection=np.sort(index),
        available=samples,
        sample_shape=made.shape,
        units=units,
        notes=notes,
        synthetic=True,
    )


def synthetic_ids(
    sample_shape: SampleShape,
    samples: int,
    seed: int,
    *,
    dtype: DTypeLike = np.int64,
    limits: tuple[int, int] = (0, 0),
) -> Dataset:
    """``samples`` inputs of random ids, without labels.

    Args:
        sample_shape: Of one; a free dimension is taken as ``FREE_LENGTH``.
        samples: How many.
        seed: Of the ids.
        dtype: The integer type that the model takes.
        limits: The smallest and the largest id; without a table, 0 is the one that is sure to be valid.

    Raises:
        DataError: ``samples`` is below 1, or ``seed`` is negative.
    """
    shape = tuple(FREE_LENGTH if size is None else size for size in sample_shape)
    units = Ids(dtype, limits)
    made = RandomIds(samples, shape, units, seed)
    source = f"synthetic (random ids of {max(units.low, 0)} to {units.high})"
    return _made_up(made, units, source, samples, seed, sample_shape)


def _filled(sample_shape: SampleShape, layout: Layout) -> tuple[int, ...]:
    free = [FREE_OTHER] * len(sample_shape)
    if layout != "flat":
        free = [FREE_SPATIAL] * 3
        free[0 if layout == "NCHW" else 2] = FREE_CHANNELS
    return tuple(
        default if size is None else size for size, default in zip(sample_shape, free, strict=True)
    )
