"""Made-up inputs for a model without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.dataset import Dataset, fingerprint, select
from lsa_onnx.inputs.spec import InputSpec, Layout, SampleShape, resolve_layout, shape_text
from lsa_onnx.inputs.units import Units

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from lsa_onnx.inputs.images import Hash

FREE_SPATIAL = 224
FREE_CHANNELS = 3
FREE_OTHER = 1


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
    if samples < 1:
        raise DataError(f"--samples {samples} is not usable; give a number of at least 1")
    index, _ = select(samples, None, seed, "synthetic data")
    made = UniformSamples(samples, shape, units, seed)
    notes = []
    if None in sample_shape:
        notes = [f"free dimensions of {shape_text(sample_shape)} set: {shape_text(shape)}"]
    return Dataset(
        made,
        source="synthetic (uniform in the declared range)",
        fingerprint=fingerprint(made.survey, None),
        selection=np.sort(index),
        available=samples,
        sample_shape=shape,
        units=units,
        notes=notes,
        synthetic=True,
    )


def _filled(sample_shape: SampleShape, layout: Layout) -> tuple[int, ...]:
    free = [FREE_OTHER] * len(sample_shape)
    if layout != "flat":
        free = [FREE_SPATIAL] * 3
        free[0 if layout == "NCHW" else 2] = FREE_CHANNELS
    return tuple(
        default if size is None else size for size, default in zip(sample_shape, free, strict=True)
    )
