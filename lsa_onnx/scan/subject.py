"""What is audited: a model, the meaning of its inputs, and data for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.inputs import (
    Dataset,
    InputSpec,
    channel_count,
    held_rows,
    load_spec,
    open_data,
    parse_hold,
    resolve_layout,
    synthetic_data,
)
from lsa_onnx.model import Model, load_model
from lsa_onnx.prediction import find_head
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.rewrite import prepend
from lsa_onnx.runtime.layout import Layout, input_layout
from lsa_onnx.runtime.memory import give_back_memory
from lsa_onnx.scan.options import SYNTHETIC_SAMPLES, SubjectOptions
from lsa_onnx.statistics import row_slices

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

_FLOAT_INPUTS = {"float32": np.float32, "float64": np.float64, "float16": np.float16}
_TENSORS_WITHOUT_ROWS = frozenset({"sequence", "optional", "map", "sparse_tensor", "undeclared"})


@dataclass(frozen=True)
class Subject:
    """A model with data that fit it.

    Attributes:
        model: The model as loaded.
        input: The input that is perturbed.
        held: The other inputs, fed alike to both branches.
        outputs: Names of the outputs that are tensors.
        spec: What the values of the perturbed input mean.
        dataset: Samples in units of the declared range.
        layout: What one sample is.
        prepared: The model that takes values of the declared range.
        scale: Per channel, shaped to broadcast against (n, *sample_shape): model_input =
            x * scale + offset.
        offset: Likewise.
    """

    model: Model
    input: ValueDescription
    held: tuple[ValueDescription, ...]
    outputs: tuple[str, ...]
    spec: InputSpec
    dataset: Dataset
    layout: Layout
    prepared: onnx.ModelProto
    scale: Array
    offset: Array

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the perturbed input."""
        return np.dtype(_FLOAT_INPUTS[self.input.dtype])

    @property
    def channel_axis(self) -> int | None:
        """Of a batch of the perturbed input; ``None`` for samples without channels."""
        shape = self.dataset.sample_shape
        if len(shape) < 3 or self.layout.leading is None:
            return None
        return {"NCHW": 1, "NHWC": len(shape), "flat": None}[
            resolve_layout(self.spec.layout, shape)
        ]

    def feeds(self, start: int, stop: int) -> tuple[dict[str, Array], Array | None]:
        """Inputs by name, each (n, ...), in declared units; and ``dataset.labels`` of the samples."""
        x, labels = self.dataset.batch(start, stop)
        others = {value.name: self._held_values(value, start, stop) for value in self.held}
        return {self.input.name: x, **others}, labels

    def as_deployed(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The same inputs as the untouched model takes them: normalised."""
        if self.spec.is_identity:
            return dict(feeds)
        x = feeds[self.input.name]
        normalised = np.empty_like(x)
        for part in row_slices(len(x), x[:1].size):
            normalised[part] = x[part].astype(np.float64) * self.scale + self.offset
        return {**feeds, self.input.name: normalised}

    def _held_values(self, value: ValueDescription, start: int, stop: int) -> Array:
        """Of an input that is not perturbed, shape (n, ...)."""
        dtype = np.dtype(value.dtype if value.dtype != "bool" else "bool_")
        if value.name in self.dataset.extra_names:
            return self.dataset.batch_of(value.name, start, stop).astype(dtype, copy=False)
        # Synthetic data: the middle of the range for floats, zeros (a valid index) for integers.
        filler = self.spec.low + self.spec.width / 2 if dtype.kind == "f" else 0
        shape = [size or 1 for size in _row_shape(value, self.layout)]
        return np.full((stop - start, *shape), filler, dtype)


def _row_shape(value: ValueDescription, layout: Layout) -> tuple[int | None, ...]:
    """What one sample takes of an input that is held; ``None`` for a dimension that is free."""
    dims = (value.shape or [])[0 if layout.leading is None else 1 :]
    return tuple(d if isinstance(d, int) else None for d in dims)


def open_subject(path: str, options: SubjectOptions) -> Subject:
    """Load the model and open the data.

    Raises:
        LsaError: The model, the declared range or the data cannot be used.
    """
    model = load_model(path)
    give_back_memory()
    target, held = _choose_input(model, options.perturb)
    given = dict(parse_hold(text) for text in options.hold)
    _require_inputs("--hold", given, [value.name for value in held], "an input that is held")
    spec = load_spec(
        model.path,
        range=options.range,
        mean=options.mean,
        std=options.std,
        layout=options.layout,
    )
    outputs = [value for value in model.outputs if value.dtype not in _TENSORS_WITHOUT_ROWS]
    if not outputs:
        raise ModelError(f"no output of {str(model.path)!r} is a tensor; nothing can be compared")
    layout = input_layout(target.shape, [value.shape for value in outputs])
    names = [target.name, *(value.name for value in held)]
    classes = find_head(model.proto) is not None
    dataset = _open_dataset(options, spec, layout, _FLOAT_INPUTS[target.dtype], names, classes)
    for value in held:
        if value.name in given:
            shape = _row_shape(value, layout)
            dataset.extra[value.name] = held_rows(value.name, given[value.name], shape, dataset)
    _require_held(dataset, held)
    prepared, scale, offset = _prepare(model, target, spec, dataset, layout)
    return Subject(
        model=model,
        input=target,
        held=tuple(held),
        outputs=tuple(value.name for value in outputs),
        spec=spec,
        dataset=dataset,
        layout=layout,
        prepared=prepared,
        scale=scale,
        offset=offset,
    )


def _choose_input(
    model: Model, wanted: str | None
) -> tuple[ValueDescription, list[ValueDescription]]:
    """The input to perturb (by default the first float tensor), and the others."""
    if wanted is not None:
        known = [value.name for value in model.inputs]
        _require_inputs("--perturb", [wanted], known, "an input of the model")
    floats = [value for value in model.inputs if value.dtype in _FLOAT_INPUTS]
    chosen = [value for value in floats if wanted in (None, value.name)]
    if not chosen:
        kinds = ", ".join(f"{value.name!r} ({value.dtype})" for value in model.inputs)
        what = (
            "no float input to perturb" if wanted is None else f"--perturb {wanted!r} is no float"
        )
        raise ModelError(
            f"{what} in {str(model.path)!r}: its inputs are {kinds or 'none'}; "
            "a model of integer inputs needs a perturbation of an inner tensor, which is not offered"
        )
    return chosen[0], [value for value in model.inputs if value.name != chosen[0].name]


def _require_inputs(flag: str, names: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            listed = ", ".join(map(repr, known)) or "none"
            raise DataError(f"{flag} {name!r} is not {what}; accepted are {listed}")


def _open_dataset(
    options: SubjectOptions,
    spec: InputSpec,
    layout: Layout,
    dtype: type,
    names: list[str],
    classes: bool,
) -> Dataset:
    if layout.sample_shape is None:
        raise ModelError(
            f"input {names[0]!r} declares no shape; export the model with a shape for its inputs"
        )
    if options.data is None:
        count = options.samples or SYNTHETIC_SAMPLES
        return synthetic_data(spec, layout.sample_shape, count, options.seed, dtype=dtype)
    return open_data(
        options.data,
        spec,
        layout.sample_shape,
        dtype=dtype,
        labels=options.labels,
        x_key=options.x_key,
        y_key=options.y_key,
        samples=options.samples,
        seed=options.seed,
        split=options.split,
        resize=options.resize,
        input_names=names,
        classes=classes,
    )


def _require_held(dataset: Dataset, held: list[ValueDescription]) -> None:
    missing = [v.name for v in held if v.name not in dataset.extra_names]
    if missing and not dataset.synthetic:
        raise DataError(
            f"the model has {len(held) + 1} inputs, and {dataset.source} holds nothing for "
            f"{', '.join(map(repr, missing))}; give an npz with one array per input, under its name, "
            "or --hold NAME=FILE"
        )


def _prepare(
    model: Model, target: ValueDescription, spec: InputSpec, dataset: Dataset, layout: Layout
) -> tuple[onnx.ModelProto, Array, Array]:
    """Fold the normalisation into the graph; also its scale and offset for use outside of it."""
    shape = dataset.sample_shape
    given = max(len(spec.mean or ()), len(spec.std or ()), 1)
    channels = channel_count(spec.layout, shape) or given
    scale, offset = spec.affine(channels)
    axis = {"NCHW": 1, "NHWC": len(shape), "flat": len(shape)}[resolve_layout(spec.layout, shape)]
    broadcast = [channels if channels > 1 and a == axis else 1 for a in range(len(shape) + 1)]
    graph_axis = axis if layout.leading is not None else axis - 1
    prepared = prepend(model.proto, target.name, scale, offset, graph_axis)
    return prepared, scale.reshape(broadcast), offset.reshape(broadcast)
