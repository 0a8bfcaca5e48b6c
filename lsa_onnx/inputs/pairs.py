"""Perturbed samples made elsewhere, paired with the clean ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import NpzFile, npy_file
from lsa_onnx.inputs.choose import Found, from_archive
from lsa_onnx.inputs.dataset import ArraySamples, Dataset, fingerprint
from lsa_onnx.inputs.detect import detect
from lsa_onnx.inputs.geometry import plan_conversion
from lsa_onnx.inputs.memory import Arrays
from lsa_onnx.inputs.sources import Archive
from lsa_onnx.inputs.spec import resolve_layout
from lsa_onnx.inputs.units import Units

if TYPE_CHECKING:
    import os


def open_perturbed(
    path: str | os.PathLike[str] | Arrays, dataset: Dataset, *, x_key: str | None = None
) -> Dataset:
    """The perturbed counterparts of ``dataset``: same samples, same order, same units.

    Args:
        path: npz (``x_key``, else ``x_adv``, ``x_perturbed``, ``x``, ``x_test`` or the only array)
            or npy with one row per sample of the *whole* source of ``dataset``, in the source's own
            order (for images: sorted by path); or such arrays in memory.
        dataset: the clean samples.
        x_key: array of an npz that holds the samples.

    Raises:
        DataError: another number of samples or shape, or values that break the declared range.
    """
    file = path if isinstance(path, Arrays) else Path(path)
    found = _perturbed_arrays(file, x_key)
    if dataset.available == 1:
        found.as_one_sample(dataset.sample_shape)
    if len(found.x) != dataset.available:
        text = (
            f"{found.x.name} holds {len(found.x)} samples, "
            f"the clean data {dataset.source} hold {dataset.available}"
        )
        chosen = (
            f" (of which {len(dataset)} are chosen)" if len(dataset) != dataset.available else ""
        )
        raise DataError(
            f"{text}{chosen}; give one perturbed sample for each clean one, in the same order"
        )
    units = Units(dataset.spec, dataset.dtype)
    layout = resolve_layout(dataset.spec.layout, dataset.sample_shape)
    plan = plan_conversion(found.x.shape[1:], dataset.sample_shape, layout, found.x.name)
    rows = found.x.select(dataset.selection)
    samples = ArraySamples(rows, plan, units, found.x.name, dataset.selection)
    return Dataset(
        samples,
        source=str(file),
        fingerprint=fingerprint(samples.survey, dataset.labels),
        selection=dataset.selection,
        available=dataset.available,
        sample_shape=plan.shape,
        units=units,
        labels=dataset.labels,
        classes=dataset.classes,
        notes=[*found.notes, *units.notes(rows.data.dtype), *plan.notes],
        extra=dataset.extra,
    )


def _perturbed_arrays(path: Path | Arrays, x_key: str | None) -> Found:
    if isinstance(path, Arrays):
        return _chosen(path, x_key) if path.x is None else Found(path.samples())
    kind = detect(path)
    if kind == "npy" and x_key is None:
        return Found(npy_file(path))
    if kind != "npz":
        text = f"{str(path)!r} is {kind}" + (
            f" and --x-key {x_key!r} is given" if kind == "npy" else ""
        )
        raise DataError(f"{text}; perturbed samples are read from an npy, or an array of an npz")
    return _chosen(NpzFile(path), x_key)


def _chosen(archive: Archive, x_key: str | None) -> Found:
    names = ("x_adv", "x_perturbed", "x", "x_test")
    if x_key is None:
        _refuse_several(archive, names[:2])
    return from_archive(archive, x_key=x_key, x_names=names, use_labels=False)


def _refuse_several(archive: Archive, names: Sequence[str]) -> None:
    """What several attacks made holds the clean samples too, which must not pass for perturbed ones."""
    keys = archive.keys
    several = [key for key in keys if key.startswith(f"{names[0]}_")]
    if several and not any(name in keys for name in names):
        raise DataError(
            f"{archive} holds the results of several attacks: {', '.join(map(repr, several))}; "
            f"store the one that is meant in a file of its own, as {names[0]!r}"
        )
