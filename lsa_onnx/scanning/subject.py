"""What is audited: a model, the meaning of its inputs, and data for it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.inputs import (
    Dataset,
    InputSpec,
    channel_count,
    load_spec,
    resolve_layout,
)
from lsa_onnx.model import Model, load_model
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.rewrite import prepend
from lsa_onnx.rewrite.promote import with_constants
from lsa_onnx.runtime.layout import Layout
from lsa_onnx.runtime.memory import give_back_memory
from lsa_onnx.scanning.given import Giving
from lsa_onnx.scanning.held import as_taken, held_dtype
from lsa_onnx.scanning.options import SubjectOptions
from lsa_onnx.scanning.promotion import Promotion, promoted
from lsa_onnx.scanning.target import FLOAT_INPUTS, choose_target
from lsa_onnx.statistics import row_slices

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

_log = logging.getLogger(__name__)

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
        scale: Per channel, shaped to broadcast against ``(n, *sample_shape)``: model_input =
            x × scale + offset.
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
    started = time.perf_counter()
    model = load_model(path)
    give_back_memory()
    _log.debug("loaded %s in %.2f s", path, time.perf_counter() - started)
    target, tensor = choose_target(model, options)
    subject = _opened(model, target, options)
    _log.debug(
        "input %s: %d samples, %s", target.name, len(subject.dataset), subject.dataset.source
    )
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
    given = Giving(model, target, held, outputs, spec, options).given()
    layout, dataset, whole = given.layout, given.dataset, given.whole
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
