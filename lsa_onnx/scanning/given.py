"""What a model is given: what one sample of its input is, the samples, and values of its other inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.inputs import Dataset, Ids, InputSpec, open_data, synthetic_data, synthetic_ids
from lsa_onnx.layers.settings import setting_inputs
from lsa_onnx.model import Model
from lsa_onnx.prediction import model_head
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.rewrite.embeddings import id_limits
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.layout import Layout, input_layout, padded
from lsa_onnx.scanning.held import Holding, as_taken, held_dtype, named_sizes, whole_shape
from lsa_onnx.scanning.leading import counts_samples
from lsa_onnx.scanning.options import SYNTHETIC_SAMPLES, SubjectOptions
from lsa_onnx.scanning.target import FLOAT_INPUTS, unread_inputs

Array = NDArray[Any]

# A batch that is fixed to more, or to 0, is none.
_MOST_ROWS = 1 << 16


@dataclass(frozen=True)
class Given:
    """What all inputs of a model get.

    Attributes:
        layout: What one sample is.
        dataset: The samples, with the rows of other inputs.
        whole: Inputs without a row per sample, and the value that all samples share.
    """

    layout: Layout
    dataset: Dataset
    whole: Mapping[str, Array]

    def one_run(self, held: Sequence[ValueDescription], size: int) -> dict[str, Array]:
        """Inputs that are not perturbed as a run of the first ``size`` samples takes them."""
        count = 1 if self.layout.leading is None else size
        found = dict(self.whole)
        for value in held:
            if value.name not in found:
                rows = as_taken(value, self.dataset.batch_of(value.name, 0, count))
                found[value.name] = self.layout.feed(padded(rows, count))
        return found


@dataclass(frozen=True)
class Giving:
    """Opens the data for a model.

    Attributes:
        model: The model.
        target: The input that the samples are for.
        held: The other inputs.
        outputs: Its outputs that are tensors.
        spec: What the values of the samples mean.
        options: Where the data are from.
    """

    model: Model
    target: ValueDescription
    held: Sequence[ValueDescription]
    outputs: Sequence[ValueDescription]
    spec: InputSpec
    options: SubjectOptions

    @property
    def ids(self) -> bool:
        """Whether the samples are integers."""
        return self.target.dtype not in FLOAT_INPUTS

    @cached_property
    def settings(self) -> set[str]:
        """The inputs that set shapes or axes."""
        return setting_inputs(self.model.proto.graph)

    def given(self) -> Given:
        """What one sample is, by the declared shapes and, for rows that might be samples, by trying.

        Raises:
            LsaError: The data cannot be used.
        """
        shapes = [value.shape for value in self.outputs]
        layout = input_layout(self.target.shape, shapes, ids=self.ids)
        size = layout.leading
        if self.ids or size is None or size == 1:
            return self._under(layout)
        whole = Layout((size, *(layout.sample_shape or ())), None, free=False)
        if not 0 < size <= _MOST_ROWS:
            return self._under(whole)
        return self._tried(layout, whole, size)

    def _tried(self, layout: Layout, whole: Layout, size: int) -> Given:
        """Under ``layout`` if ``size`` rows are that many samples, else under ``whole``."""
        try:
            given = self._under(layout)
        except DataError:
            # Samples of the other layout have another shape.
            other = self._under_if_fits(whole)
            if self._are_samples(other or self._made_up(layout, size), layout, size) is False:
                return other or self._under(whole)
            raise
        found = self._are_samples(given, layout, size)
        if found is None:
            # Some fit by chance, and do not run.
            other = self._under_if_fits(whole)
            found = other is None or self._are_samples(other, layout, size) is not False
        return given if found else self._under(whole)

    def _are_samples(self, given: Given, layout: Layout, size: int) -> bool | None:
        """Whether the model treats ``size`` rows, here random ones, as that many samples of ``layout``.

        ``None`` where that cannot be told.
        """
        shape = given.dataset.sample_shape
        rows_shape = shape if given.layout.leading is None else (size, *shape)
        drawn = np.random.default_rng(0).random(rows_shape)
        x = (self.spec.low + self.spec.width * drawn).astype(self.target.dtype)
        feeds = {self.target.name: x, **given.one_run(self.held, size)}
        rows = [
            value.name
            for value in (self.target, *self.held)
            if feeds[value.name].shape[:1] == (size,)
            and whole_shape(value, layout, {}, self.settings) is None
        ]
        device = resolve_device(self.options.device, self.options.libraries)
        names = [value.name for value in self.outputs]
        return counts_samples(self.model, feeds, rows, names, device)

    def _under_if_fits(self, layout: Layout) -> Given | None:
        try:
            return self._under(layout)
        except DataError:
            return None

    def _under(self, layout: Layout) -> Given:
        """What the user gives, where ``layout`` is what one sample is."""
        if layout.sample_shape is None:
            raise ModelError(
                f"input {self.target.name!r} declares no shape; export the model with a shape for its inputs"
            )
        return self._filled(layout, self._dataset(layout, layout.sample_shape), self.options.hold)

    def _made_up(self, layout: Layout, count: int) -> Given:
        """Made up values of every input."""
        dtype = np.dtype(FLOAT_INPUTS[self.target.dtype])
        made = synthetic_data(self.spec, layout.sample_shape or (), count, 0, dtype=dtype)
        return self._filled(layout, made, ())

    def _filled(self, layout: Layout, dataset: Dataset, hold: Sequence[str]) -> Given:
        """Settle what the inputs get that are not perturbed."""
        sizes = named_sizes(self.target, layout, dataset)
        holding = Holding(dataset, self.held, layout, sizes, self.settings)
        holding.take(hold)
        holding.require_settings()
        holding.require_ids(id_limits(self.model.proto))
        holding.fill(self.spec, unread_inputs(self.model.proto))
        return Given(layout, dataset, holding.whole())

    def _dataset(self, layout: Layout, shape: tuple[int | None, ...]) -> Dataset:
        """The samples, with what the data hold for the other inputs."""
        options, limits = self.options, id_limits(self.model.proto).get(self.target.name)
        dtype = held_dtype(self.target) if self.ids else np.dtype(FLOAT_INPUTS[self.target.dtype])
        if options.data is None:
            count = options.samples or SYNTHETIC_SAMPLES
            if self.ids:
                made = limits or (0, 0)
                return synthetic_ids(shape, count, options.seed, dtype=dtype, limits=made)
            return synthetic_data(self.spec, shape, count, options.seed, dtype=dtype)
        return open_data(
            options.data,
            self.spec,
            shape,
            dtype=np.float32 if self.ids else dtype,
            ids=Ids(dtype, limits) if self.ids else None,
            labels=options.labels,
            x_key=options.x_key,
            y_key=options.y_key,
            samples=options.samples,
            seed=options.seed,
            split=options.split,
            resize=options.resize,
            input_names=[self.target.name, *(value.name for value in self.held)],
            whole=self._whole_shapes(layout),
            classes=model_head(self.model, options.decision) is not None,
            single=layout.leading is None,
        )

    def _whole_shapes(self, layout: Layout) -> dict[str, tuple[int | None, ...]]:
        """The inputs that may have one value for all samples, with its shape."""
        shapes = {v.name: whole_shape(v, layout, {}, self.settings) for v in self.held}
        return {name: shape for name, shape in shapes.items() if shape is not None}
