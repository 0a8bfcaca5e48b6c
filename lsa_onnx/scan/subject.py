"""What is audited: a model, the meaning of its inputs, and data for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.inputs import (
    Dataset,
    Ids,
    InputSpec,
    channel_count,
    load_spec,
    open_data,
    resolve_layout,
    synthetic_data,
    synthetic_ids,
)
from lsa_onnx.model import Model, load_model
from lsa_onnx.prediction import find_head
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.rewrite import prepend
from lsa_onnx.rewrite.embeddings import id_limits
from lsa_onnx.rewrite.promote import with_constants
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.layout import Layout, input_layout
from lsa_onnx.runtime.memory import give_back_memory
from lsa_onnx.scan.held import Holding, as_taken, held_dtype, named_sizes, whole_shape
from lsa_onnx.scan.leading import counts_samples
from lsa_onnx.scan.options import SYNTHETIC_SAMPLES, SubjectOptions
from lsa_onnx.scan.promotion import Promotion, promoted
from lsa_onnx.scan.target import FLOAT_INPUTS, choose_target, unread_inputs
from lsa_onnx.statistics import row_slices

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

# A batch that is fixed to more is none.
_MOST_ROWS = 1 << 16
_TENSORS_WITHOUT_ROWS = frozenset({"sequence", "optional", "map", "sparse_tensor", "undeclared"})


@dataclass(frozen=True)
class Subject:
    """A model with data that fit it.

    Attributes:
        model: The model, with the graph that is audited: that of the file, or what comes behind an inner
            tensor, with inputs that are held whole as constants.
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
        loaded: The model as loaded.
        whole: Inputs of the file without a row per sample, and the value that all samples share.
        promotion: How an inner tensor came to be ``input``; ``None`` for an input of the file.
        notes: What a report should say of the input.
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
    loaded: Model
    whole: Mapping[str, Array]
    promotion: Promotion | None = None
    notes: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the perturbed input."""
        return np.dtype(FLOAT_INPUTS[self.input.dtype])

    @property
    def holds_ids(self) -> bool:
        """Whether the samples are integers, which are not perturbed themselves."""
        return self.input.dtype not in FLOAT_INPUTS

    @property
    def channel_axis(self) -> int | None:
        """Of a batch of the perturbed input; ``None`` for samples without channels."""
        shape = self.dataset.sample_shape
        if len(shape) < 3 or self.layout.leading is None or self.promotion is not None:
            return None
        return {"NCHW": 1, "NHWC": len(shape), "flat": None}[
            resolve_layout(self.spec.layout, shape)
        ]

    def feeds(self, start: int, stop: int) -> tuple[dict[str, Array], Array | None]:
        """Inputs by name, each (n, ...), in declared units; and ``dataset.labels`` of the samples."""
        x, labels = self.dataset.batch(start, stop)
        others = {
            value.name: as_taken(value, self.dataset.batch_of(value.name, start, stop))
            for value in self.held
        }
        return {self.input.name: x, **others}, labels

    def as_deployed(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The same inputs as the untouched model takes them: normalised."""
        if self.promotion is not None or self.spec.is_identity:
            return dict(feeds)
        x = feeds[self.input.name]
        normalised = np.empty_like(x)
        for part in row_slices(len(x), x[:1].size):
            normalised[part] = x[part].astype(np.float64) * self.scale + self.offset
        return {**feeds, self.input.name: normalised}


def open_subject(path: str, options: SubjectOptions) -> Subject:
    """Load the model and open the data.

    Raises:
        LsaError: The model, the declared range or the data cannot be used.
    """
    model = load_model(path)
    give_back_memory()
    target, tensor = choose_target(model, options)
    subject = _opened(model, target, options)
    return subject if tensor is None else promoted(subject, tensor, options)


def _opened(model: Model, target: ValueDescription, options: SubjectOptions) -> Subject:
    """The subject of the file, with samples for its input ``target``."""
    ids = target.dtype not in FLOAT_INPUTS
    held = [value for value in model.inputs if value.name != target.name]
    for value in held:
        held_dtype(value)
    spec = _declared(model, options, ids=ids)
    outputs = [value for value in model.outputs if value.dtype not in _TENSORS_WITHOUT_ROWS]
    if not outputs:
        raise ModelError(f"no output of {str(model.path)!r} is a tensor; nothing can be compared")
    layout = _layout(model, target, outputs, spec, options)
    dataset = _open_dataset(options, model, spec, layout, target, held)
    holding = Holding(dataset, held, layout, named_sizes(target, layout, dataset))
    holding.take(options.hold)
    holding.require_ids(id_limits(model.proto))
    holding.fill(spec, unread_inputs(model.proto))
    whole = holding.whole()
    audited = model
    if whole:
        audited = dataclasses.replace(model, proto=with_constants(model.proto, whole))
    prepared, scale, offset = _prepare(audited, target, spec, dataset, layout)
    return Subject(
        model=audited,
        input=target,
        held=tuple(value for value in held if value.name not in whole),
        outputs=tuple(value.name for value in outputs),
        spec=spec,
        dataset=dataset,
        layout=layout,
        prepared=prepared,
        scale=scale,
        offset=offset,
        loaded=model,
        whole=whole,
        notes=tuple(f"{name!r} is one value for all samples, not perturbed" for name in whole),
    )


def _layout(
    model: Model,
    target: ValueDescription,
    outputs: list[ValueDescription],
    spec: InputSpec,
    options: SubjectOptions,
) -> Layout:
    """What one sample is: by the declared shapes and, for rows that might be samples, by trying."""
    ids = target.dtype not in FLOAT_INPUTS
    layout = input_layout(target.shape, [value.shape for value in outputs], ids=ids)
    if ids or layout.leading in (None, 1) or len(model.inputs) > 1:
        return layout
    device = resolve_device(options.device, options.libraries)
    names = [value.name for value in outputs]
    few = (layout.leading or 0) <= _MOST_ROWS
    if few and counts_samples(model, target, names, spec, device):
        return layout
    return Layout((layout.leading, *(layout.sample_shape or ())), None, free=False)


def _declared(model: Model, options: SubjectOptions, *, ids: bool) -> InputSpec:
    """What the values of the samples mean; of ids, those of the tensor that is perturbed for them.

    Raises:
        DataError: A value is not usable, or is not for ids.
    """
    spec = load_spec(
        model.path,
        range=options.range,
        mean=options.mean,
        std=options.std,
        layout=options.layout,
    )
    for name in ("mean", "std", "layout"):
        given = getattr(spec, name)
        if ids and given is not None:
            raise DataError(
                f"{name} {given!r} is declared, and the samples are ids, which are not normalised and "
                "have no channels; leave it out"
            )
    return spec


def _open_dataset(
    options: SubjectOptions,
    model: Model,
    spec: InputSpec,
    layout: Layout,
    target: ValueDescription,
    held: list[ValueDescription],
) -> Dataset:
    """The samples for the input ``target``, with what the data hold for the others."""
    if layout.sample_shape is None:
        raise ModelError(
            f"input {target.name!r} declares no shape; export the model with a shape for its inputs"
        )
    limits = id_limits(model.proto).get(target.name)
    ids = target.dtype not in FLOAT_INPUTS
    dtype = held_dtype(target) if ids else np.dtype(FLOAT_INPUTS[target.dtype])
    if options.data is None:
        count, seed = options.samples or SYNTHETIC_SAMPLES, options.seed
        if ids:
            made = limits or (0, 0)
            return synthetic_ids(layout.sample_shape, count, seed, dtype=dtype, limits=made)
        return synthetic_data(spec, layout.sample_shape, count, seed, dtype=dtype)
    shapes = {value.name: whole_shape(value, layout, {}) for value in held}
    return open_data(
        options.data,
        spec,
        layout.sample_shape,
        dtype=np.float32 if ids else dtype,
        ids=Ids(dtype, limits) if ids else None,
        labels=options.labels,
        x_key=options.x_key,
        y_key=options.y_key,
        samples=options.samples,
        seed=options.seed,
        split=options.split,
        resize=options.resize,
        input_names=[target.name, *(value.name for value in held)],
        whole={name: shape for name, shape in shapes.items() if shape is not None},
        classes=find_head(model.proto) is not None,
    )


def _prepare(
    model: Model, target: ValueDescription, spec: InputSpec, dataset: Dataset, layout: Layout
) -> tuple[onnx.ModelProto, Array, Array]:
    """Fold the normalisation into the graph; also its scale and offset for use outside of it."""
    shape = dataset.sample_shape
    given = max(len(spec.mean or ()), len(spec.std or ()), 1)
    channels = channel_count(spec.layout, shape) or given
    scale, offset = spec.affine(channels)
    _require_finite(scale, offset, spec, np.dtype(FLOAT_INPUTS.get(target.dtype, np.float64)))
    axis = {"NCHW": 1, "NHWC": len(shape), "flat": len(shape)}[resolve_layout(spec.layout, shape)]
    broadcast = [channels if channels > 1 and a == axis else 1 for a in range(len(shape) + 1)]
    graph_axis = axis if layout.leading is not None else axis - 1
    prepared = prepend(model.proto, target.name, scale, offset, graph_axis)
    return prepared, scale.reshape(broadcast), offset.reshape(broadcast)


def _require_finite(scale: Array, offset: Array, spec: InputSpec, dtype: np.dtype[Any]) -> None:
    """That the model's own type can hold the normalisation."""
    with np.errstate(over="ignore"):
        held = np.concatenate([scale, offset]).astype(dtype)
    if not np.isfinite(held).all():
        raise DataError(
            f"mean {spec.mean} and std {spec.std} for the range {spec.low:g} to {spec.high:g} normalise by "
            f"numbers that {dtype} cannot hold; check them"
        )
