"""A subject whose perturbed input is an inner tensor of its model, such as the embedding of token ids."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.inputs import Dataset, InputSpec
from lsa_onnx.inputs.units import Units
from lsa_onnx.model import describe
from lsa_onnx.report.document import NotScored, ValueDescription
from lsa_onnx.rewrite.embeddings import find_embedding
from lsa_onnx.rewrite.graph import node_key, producers, stable_names, true_inputs
from lsa_onnx.rewrite.promote import promote
from lsa_onnx.runtime.devices import Device, resolve_device
from lsa_onnx.runtime.matching import relative_difference
from lsa_onnx.runtime.memory import give_back_memory
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.front import FedRows, Front, FrontSamples
from lsa_onnx.scanning.rows import same_shape
from lsa_onnx.weights import is_external

if TYPE_CHECKING:
    from lsa_onnx.scanning.listener import Listener
    from lsa_onnx.scanning.options import SubjectOptions
    from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

_CHUNK_ELEMENTS = 1 << 22
_TOLERANCE = 1e-3
_HALF_TOLERANCE = 3e-2
_PROBE_SAMPLES = 2


@dataclass(frozen=True)
class Promotion:
    """How an inner tensor came to be perturbed.

    Attributes:
        tensor: Its name.
        source: Model and data as they are in their files.
        told: What is perturbed, in words.
        dropped: Tensors that only it is computed from: they are as they were.
    """

    tensor: str
    source: Subject
    told: str
    dropped: tuple[NotScored, ...]


def promoted(source: Subject, tensor: str, options: SubjectOptions) -> Subject:
    """The subject of what comes behind ``tensor``; its samples are what comes before it.

    Args:
        source: Model and data as they are in their files.
        tensor: An inner tensor of floats, with a row per sample.
        options: Where to run.

    Raises:
        DataError: Values are outside the declared range.
        ModelError: The tensor cannot be perturbed, or the model is not the same when cut there.
    """
    device = resolve_device(options.device, options.libraries)
    before = Front(source, tensor, device)
    target = _described(before)
    proto = promote(source.prepared, tensor, before.element, target.shape)
    target = dataclasses.replace(target, dtype=describe(proto.graph.input[0]).dtype)
    others = [describe(value) for value in true_inputs(proto.graph) if value.name != tensor]
    spec, said = _spec(before, np.dtype(target.dtype))
    told = _told(source, tensor)
    subject = dataclasses.replace(
        source,
        model=dataclasses.replace(source.model, proto=proto),
        input=target,
        held=tuple(others),
        spec=spec,
        dataset=_dataset(before, spec, np.dtype(target.dtype), [value.name for value in others]),
        layout=dataclasses.replace(source.layout, sample_shape=before.sample_shape),
        prepared=proto,
        scale=np.ones(1),
        offset=np.zeros(1),
        whole={},
        promotion=Promotion(tensor, source, told, _dropped(source.prepared, proto)),
        notes=(told, said, *source.notes),
    )
    _require_same(source, subject, device)
    give_back_memory()
    return subject


def announce_promotion(subject: Subject, listener: Listener) -> None:
    """Say which inner tensor is perturbed, and where its range is from, if it is one."""
    if subject.promotion is not None:
        for note in subject.notes[:2]:
            listener.message(note)


def _described(before: Front) -> ValueDescription:
    """The tensor as an input, but for its element type."""
    source, inner = before.source, list(before.sample_shape)
    fits = len(before.declared) == len(inner) + (source.layout.leading is not None)
    shape: list[int | str | None] = list(before.declared)
    if not fits:
        free = [None] * len(inner) if source.layout.free else inner
        shape = [None, *free] if source.layout.leading is not None else list(inner)
    if source.layout.leading is not None:
        shape[0] = (source.input.shape or [None])[0]
    batch = source.input.batch
    return ValueDescription(before.tensor, shape, "float32", batch)


def _told(source: Subject, tensor: str) -> str:
    embedding = find_embedding(source.model.proto)
    name = source.input.name
    if embedding is not None and (embedding.tensor, embedding.source) == (tensor, name):
        return f"perturbed is the embedding {tensor!r} of the ids {name!r}, not the ids"
    return f"perturbed is the inner tensor {tensor!r}, computed from {name!r}"


def _spec(before: Front, dtype: np.dtype[Any]) -> tuple[InputSpec, str]:
    """The range of the tensor, and where it is from."""
    source = before.source
    if source.holds_ids and source.spec.source != "default":
        units = Units(source.spec, dtype)
        units.require_inside(*_span(before), repr(before.tensor))
        return source.spec, "the range is the declared one, in units of that tensor"
    embedding = find_embedding(source.model.proto)
    table = embedding.table if embedding and embedding.tensor == before.tensor else None
    found = _table_span(table, source.model.folder) if table is not None else None
    of = "its table" if found else "the clean samples"
    low, high = found or _span(before)
    if not low < high:
        raise DataError(
            f"all values of {before.tensor!r} are {low + 0.0:g}, so they have no range; give another tensor "
            "with --perturb-at"
        )
    return InputSpec(low, high), f"the range is that of {of}: eps is in units of that tensor"


def _span(before: Front) -> tuple[float, float]:
    """The smallest and the largest value of all samples.

    Raises:
        DataError: One is not finite.
    """
    total, units = len(before.source.dataset), Units(InputSpec(), np.float32)
    step = max(1, _CHUNK_ELEMENTS // max(1, math.prod(before.sample_shape)))
    low, high = math.inf, -math.inf
    for start in range(0, total, step):
        index = before.source.dataset.selection[start:]
        rows = before.read(start, min(start + step, total))
        if not rows.size:
            raise DataError(
                f"{before.tensor!r} has shape {rows.shape}: there is nothing to perturb"
            )
        names = [f"sample {i}" for i in index[: len(rows)]]
        least, most = units.extent(rows, repr(before.tensor), names.__getitem__)
        low, high = min(low, least), max(high, most)
    return low, high


def _table_span(table: onnx.TensorProto, folder: Path) -> tuple[float, float] | None:
    """The smallest and the largest value of a constant; ``None`` where one is not finite."""
    low, high = math.inf, -math.inf
    values = _values(table, folder).reshape(-1)
    for start in range(0, values.size, _CHUNK_ELEMENTS):
        part = values[start : start + _CHUNK_ELEMENTS].astype(np.float64)
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _values(table: onnx.TensorProto, folder: Path) -> Array:
    """What ``table`` holds; mapped, where that is in another file."""
    if not is_external(table):
        return numpy_helper.to_array(table)
    entries = {entry.key: entry.value for entry in table.external_data}
    dtype = onnx.helper.tensor_dtype_to_np_dtype(table.data_type)
    start, shape = int(entries.get("offset", "0")), tuple(table.dims)
    return np.memmap(folder / entries["location"], dtype, "r", start, shape)


def _dataset(
    before: Front, spec: InputSpec, dtype: np.dtype[Any], others: Iterable[str]
) -> Dataset:
    source, units = before.source.dataset, Units(spec, dtype)
    return Dataset(
        FrontSamples(before, units),
        source=source.source,
        fingerprint=source.fingerprint,
        selection=source.selection,
        available=source.available,
        sample_shape=before.sample_shape,
        units=units,
        labels=source.labels,
        classes=source.classes,
        notes=source.notes,
        extra={name: FedRows(before.source, name) for name in others},
        synthetic=source.synthetic,
    )


def _dropped(whole: onnx.ModelProto, cut: onnx.ModelProto) -> tuple[NotScored, ...]:
    """What nodes of ``whole`` make and those of ``cut`` do not."""
    left, names = producers(cut.graph), stable_names(whole.graph)
    reason = "it comes before the tensor that is perturbed"
    return tuple(
        NotScored(name, names[node_key(node)], node.op_type, reason)
        for node in whole.graph.node
        for name in node.output
        if name and name not in left
    )


def _require_same(source: Subject, cut: Subject, device: Device) -> None:
    """Hold the model behind the tensor, fed what comes before, to what the file itself returns.

    Raises:
        ModelError: They differ by more than rounding, though the file returns the same twice.
    """
    alone = source.layout.leading in (None, 1)
    count = min(len(source.dataset), _PROBE_SAMPLES if alone else source.layout.leading or 1)
    feeds, inner = source.feeds(0, count)[0], cut.feeds(0, count)[0]
    file = Deployed(source, None, device, one_by_one=alone)
    wanted = file.run(feeds)
    steady = _apart(wanted, file.run(feeds)) <= _TOLERANCE
    del file
    found = Deployed(cut, None, device, one_by_one=alone).run(inner)
    half = cut.input.dtype == "float16"
    apart = _apart(found, wanted)
    if steady and not apart <= (_HALF_TOLERANCE if half else _TOLERANCE):
        raise ModelError(
            f"cannot perturb {cut.input.name!r}: the model behind it differs from the file by {apart:.2g} "
            "on the same samples; give another tensor with --perturb-at"
        )


def _apart(first: dict[str, Array], second: dict[str, Array]) -> float:
    """The largest relative difference of two runs, over outputs that are numbers."""
    return max(
        (
            relative_difference(*same_shape(value, second[name]))
            for name, value in first.items()
            if value.dtype.kind in "fiub"
        ),
        default=0.0,
    )
