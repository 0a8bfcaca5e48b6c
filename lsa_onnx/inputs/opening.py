"""Open data of any supported kind as a ``Dataset``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.archives import Container, Folder, TarFile, ZipFile
from lsa_onnx.inputs.choose import Found, label_array
from lsa_onnx.inputs.classes import ImageSet, arrange, splits_of
from lsa_onnx.inputs.dataset import ArraySamples, Dataset, Labels, fingerprint, select
from lsa_onnx.inputs.detect import ACCEPTED, Kind, detect
from lsa_onnx.inputs.finding import NO_LABELS, in_file, in_memory, refuse_keys
from lsa_onnx.inputs.geometry import plan_conversion
from lsa_onnx.inputs.ids import Ids
from lsa_onnx.inputs.images import Hash, ImageSamples, Survey, plan_images, survey_images
from lsa_onnx.inputs.labels import read_as, read_text_labels, require_length
from lsa_onnx.inputs.memory import Arrays
from lsa_onnx.inputs.request import Request
from lsa_onnx.inputs.spec import InputSpec, SampleShape, resolve_layout
from lsa_onnx.inputs.units import Units

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

# Behind a split: take it if there is one.
_IF_ANY = "?"


def open_data(
    path: str | os.PathLike[str] | Arrays,
    spec: InputSpec,
    sample_shape: SampleShape,
    *,
    dtype: DTypeLike = np.float32,
    labels: str | os.PathLike[str] | None = None,
    x_key: str | None = None,
    y_key: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    split: str | None = None,
    resize: bool = False,
    input_names: Sequence[str] = (),
    whole: Mapping[str, SampleShape] | None = None,
    ids: Ids | None = None,
    classes: bool = True,
    single: bool = False,
) -> Dataset:
    """Open the data at ``path``; arrays are checked whole, images as far as their headers go.

    Args:
        path: npz, npy, IDX, or JPEG and PNG images in a folder, .tar, .tar.gz or .zip; told apart
            by content. Or arrays in memory.
        spec: what the values mean.
        sample_shape: shape of one model input without the batch axis, ``None`` for a free
            dimension.
        dtype: floating point type that batches have.
        labels: a file of labels (npy, npz, IDX, or text with one number per line) for all samples
            of the source in their order; "none" to ignore labels; by default those that the source
            itself holds.
        x_key: array of an npz that holds the samples.
        y_key: array of an npz that holds the labels.
        samples: how many samples to draw at random; all by default.
        seed: of the draw and of the order, which is random even when all samples are used.
        split: "train", "test", ... where the source has such folders or arrays; test by default. With a
            question mark behind it ("train?"), that part if there is one, else the default.
        resize: scale image files of another size bilinearly.
        input_names: the model's inputs, first the one that the samples are for; others are looked
            up in an npz.
        whole: of those, inputs that need not have a row per sample, and their shapes: an array of that
            shape is one value for all samples.
        ids: what integers are accepted, where the samples are ids and not values of ``spec`` in ``dtype``.
        classes: whether labels are class numbers. For a model without classes they are what it should
            give: any numbers, in any shape.
        single: whether an array that has the shape of one sample itself is one.

    Raises:
        DataError: the data or labels cannot be read, do not fit the model, or break the declared
            range.
    """
    request = Request(
        path=path if isinstance(path, Arrays) else Path(path),
        spec=spec,
        sample_shape=tuple(sample_shape),
        units=ids or Units(spec, dtype),
        labels=None if labels is None else os.fspath(labels),
        x_key=x_key,
        y_key=y_key,
        samples=samples,
        seed=seed,
        split=None if split is None else split.removesuffix(_IF_ANY),
        split_if_any=split is not None and split.endswith(_IF_ANY),
        resize=resize,
        input_names=tuple(input_names),
        whole=whole or {},
        classes=classes,
        single=single,
    )
    if isinstance(request.path, Arrays):
        return _open_arrays(request, in_memory(request, request.path))
    kind = detect(request.path)
    if kind in ("npz", "npy", "idx", "idx.gz"):
        return _open_arrays(request, in_file(request, request.path, kind))
    return _open_images(request, request.path, kind)


def _open_arrays(request: Request, found: Found) -> Dataset:
    if request.single:
        found.as_one_sample(request.sample_shape)
    labels, label_notes = _array_labels(request, found)
    index, drawn = select(len(found.x), request.samples, request.seed, found.x.name)
    if 0 in found.x.shape:
        raise DataError(
            f"{found.x.name} has shape {found.x.shape}: samples without values; give other data"
        )
    layout = resolve_layout(request.spec.layout, request.sample_shape)
    plan = plan_conversion(found.x.shape[1:], request.sample_shape, layout, found.x.name)
    whole = found.take_whole(request.whole)
    found.require_lengths()
    rows = found.x.select(index)
    samples = ArraySamples(rows, plan, request.units, found.x.name, index)
    chosen = None if labels is None else labels[index]
    return Dataset(
        samples,
        source=str(request.path),
        fingerprint=fingerprint(samples.survey, chosen),
        selection=index,
        available=len(found.x),
        sample_shape=plan.shape,
        units=request.units,
        labels=chosen,
        notes=[
            *found.notes,
            *drawn,
            *request.units.notes(rows.data.dtype),
            *plan.notes,
            *label_notes,
        ],
        extra={name: array.select(index) for name, array in found.extra.items()},
        whole=whole,
        stored_shape=rows.data.shape[1:],
    )


def _array_labels(request: Request, found: Found) -> tuple[Labels | None, list[str]]:
    if request.labels is not None:
        return _given_labels(request, len(found.x))
    if found.y is None:
        return None, []
    values = found.y.select().read(0, len(found.y))
    require_length(len(values), len(found.x), found.y.name, found.x.name)
    return read_as(values, found.y.name, classes=request.classes)


def _given_labels(request: Request, samples: int) -> tuple[Labels | None, list[str]]:
    if request.labels is None or request.labels == NO_LABELS:
        return None, ["labels ignored (--labels none)"]
    path = Path(request.labels)
    stored = label_array(path, request.y_key)
    values = (
        read_text_labels(path, classes=request.classes)
        if stored is None
        else stored.select().read(0, len(stored))
    )
    require_length(len(values), samples, repr(str(path)), request.source)
    labels, notes = read_as(values, repr(str(path)), classes=request.classes)
    return labels, [f"labels from {str(path)!r}", *notes]


def _open_images(request: Request, path: Path, kind: Kind) -> Dataset:
    container, images, notes = _list_images(request, path, kind)
    index, drawn = select(len(images.members), request.samples, request.seed, request.source)
    labels, classes, label_notes = images.labels, images.classes, [images.label_note]
    if request.labels is not None:
        labels, label_notes = _given_labels(request, len(images.members))
        classes = None
    encoded = container.pick([images.members[position] for position in index])
    found: list[Survey] = []

    def survey(digest: Hash) -> None:
        found.append(survey_images(encoded, digest))

    chosen = None if labels is None else labels[index]
    digest = fingerprint(survey, chosen)
    layout = resolve_layout(request.spec.layout, request.sample_shape)
    target = plan_images(
        found[0], request.sample_shape, layout, resize=request.resize, source=request.source
    )
    return Dataset(
        ImageSamples(encoded, target, request.units),
        source=str(request.path),
        fingerprint=digest,
        selection=index,
        available=len(images.members),
        sample_shape=target.shape,
        units=request.units,
        labels=chosen,
        classes=classes,
        notes=[
            *notes,
            *drawn,
            *request.units.notes(np.dtype(np.uint8)),
            *target.notes,
            *label_notes,
        ],
    )


def _list_images(request: Request, path: Path, kind: Kind) -> tuple[Container, ImageSet, list[str]]:
    if isinstance(request.units, Ids):
        raise DataError(
            f"{request.source} is a {kind} of images, the model takes ids of type "
            f"{request.units.dtype}; give an npz or an npy of integers"
        )
    refuse_keys(request, kind)
    container: Container
    if kind == "folder":
        container = Folder(path)
    elif kind == "zip":
        container = ZipFile(path)
    else:
        container = TarFile(path, gzipped=kind == "tar.gz")
    listing = container.list_images()
    if not listing.members:
        text = f"{request.source} holds no JPEG or PNG images"
        raise DataError(
            f"{text} ({'; '.join(listing.notes()) or 'nothing else either'}); {ACCEPTED}"
        )
    split = request.split
    if request.split_if_any and split not in splits_of(listing.members):
        split = None
    images = arrange(listing.members, split, request.source)
    return container, images, [*images.notes, *listing.notes()]
