"""Which arrays of a file are the samples, the labels and the model's further inputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.inputs.arrays import NpzFile, idx_file, is_idx, npy_file
from lsa_onnx.inputs.geometry import fits
from lsa_onnx.inputs.guard import reading
from lsa_onnx.inputs.sources import Archive, SourceArray, listed
from lsa_onnx.inputs.spec import SampleShape, shape_text

Array = NDArray[Any]

_LABEL_KEYS = ("y", "labels", "label")


@dataclass
class Found:
    """Arrays of one source, headers only, and what the report should say about the choice."""

    x: SourceArray
    y: SourceArray | None = None
    extra: dict[str, SourceArray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_one_sample(self, shape: SampleShape) -> None:
        """Take ``x`` for a single sample if it has that ``shape`` itself."""
        if fits(self.x.shape, shape):
            text = "a single number" if not shape else shape_text(self.x.shape)
            self.notes.append(f"the array is one sample: it has its shape, {text}")
            self.x = self.x.as_one_row()

    def take_whole(self, shapes: Mapping[str, SampleShape]) -> dict[str, Array]:
        """Take out of ``extra`` what is one value of such a shape for all samples."""
        stored = {name: self.extra[name] for name in shapes if name in self.extra}
        names = [name for name, array in stored.items() if is_whole(array.shape, shapes[name])]
        return {name: as_whole(self.extra.pop(name), shapes[name]) for name in names}

    def require_lengths(self) -> None:
        """Hold ``extra`` to one row per sample.

        Raises:
            DataError: an array has another number.
        """
        for name, array in self.extra.items():
            if array.shape[:1] != self.x.shape[:1]:
                rows = f"{len(array)} rows" if array.shape else "a single value"
                raise DataError(
                    f"{array.name} holds {rows} for the model input {name!r}, {self.x.name} holds "
                    f"{len(self.x)} samples; give one row per sample"
                )


def is_whole(stored: tuple[int, ...], shape: SampleShape) -> bool:
    """Whether an array of the shape ``stored`` is one value of ``shape``; a scalar has one element."""
    return fits(stored, shape) or (not shape and math.prod(stored) == 1)


def as_whole(stored: SourceArray, shape: SampleShape) -> Array:
    """What ``stored`` holds, for an input of ``shape``."""
    found = stored.whole()
    return found if shape else found.reshape(())


def from_archive(
    archive: Archive,
    *,
    x_key: str | None = None,
    y_key: str | None = None,
    split: str | None = None,
    split_if_any: bool = False,
    input_names: Sequence[str] = (),
    x_names: Sequence[str] = ("x", "x_test"),
    use_labels: bool = True,
    single: Collection[str] = (),
) -> Found:
    """Choose from arrays by name: the keys given, else the model's input, ``x_names``, the only arrays.

    Args:
        archive: an npz, or arrays in memory.
        x_key: array of the samples, chosen by the user.
        y_key: array of the labels, chosen by the user.
        split: "test" takes x_test and y_test, "train" x_train and y_train, and so on.
        split_if_any: do without such a part where there is none.
        input_names: the model's inputs, the one that is perturbed first. What has the name of another
            one is neither samples nor labels.
        x_names: usual names of the samples' array, best first.
        use_labels: whether to look for labels.
        single: inputs whose array may be a single value, of shape ().

    Raises:
        DataError: a key is absent, or the arrays cannot be told apart; the keys are listed.
    """
    keys = archive.keys
    if split is not None and x_key is None and not (split_if_any and f"x_{split}" not in keys):
        x_key = f"x_{split}"
    usual = [name for name in x_names if name not in input_names[1:]]
    key = x_key or _usual_key(keys, (*input_names[:1], *usual))
    key = key or _only_key(archive, input_names)
    labels = (y_key or _label_key(archive, key, input_names)) if use_labels else None
    found = Found(
        archive.array(key, single=key in single), archive.array(labels) if labels else None
    )
    # z_train belongs to x_train, also where there is a z. An input x_scale is no part of an x.
    part = key[1:] if key.startswith("x_") and key not in input_names else ""
    for name in input_names[1:]:
        other = _usual_key(keys, (name + part, name))
        if other is not None:
            found.extra[name] = archive.array(other, single=name in single)
    if len(keys) > 1:
        found.notes.append(f"array {key!r} used" + (f", labels from {labels!r}" if labels else ""))
    return found


def from_idx(path: Path, *, gzipped: bool, use_labels: bool = True) -> Found:
    """Samples from an IDX file, and labels from the file that goes with it by name, if any.

    Raises:
        DataError: either file is damaged or may not be read.
    """
    found = Found(idx_file(path, gzipped=gzipped))
    sibling = _idx_labels(path) if use_labels else None
    if sibling is not None:
        found.y = idx_file(sibling, gzipped=sibling.suffix == ".gz")
        found.notes.append(f"labels from {sibling.name!r}")
    return found


def label_array(path: Path, y_key: str | None) -> SourceArray | None:
    """The labels in an npy, npz or IDX file; ``None`` where the file is none of these.

    Raises:
        DataError: the file cannot be read, or holds several arrays and none is chosen.
    """
    with reading(path):
        if path.exists() and not path.is_file():
            raise DataError(f"{str(path)!r} is a device, a pipe or a folder; give a file of labels")
        with path.open("rb") as file:
            head = file.read(8)
    if head.startswith(b"\x93NUMPY"):
        return npy_file(path)
    if head.startswith(b"\x1f\x8b") or is_idx(head):
        return idx_file(path, gzipped=not is_idx(head))
    if not head.startswith(b"PK"):
        return None
    npz = NpzFile(path)
    key = y_key or _usual_key(npz.keys, (*_LABEL_KEYS, "y_test"))
    if key is None and len(npz.keys) != 1:
        raise DataError(f"{str(path)!r} holds {listed(npz.keys)}; choose the labels with --y-key")
    return npz.array(key or npz.keys[0])


def _usual_key(keys: list[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in keys), None)


def _only_key(archive: Archive, input_names: Sequence[str]) -> str:
    """The only array, or of two the one that is not a list of labels."""
    keys = [key for key in archive.keys if key not in input_names[1:]]
    if len(keys) == 2:
        keys = [key for key in keys if not _looks_like_labels(archive.array(key))] or keys
    if len(keys) != 1:
        accepted = "x, x_test, the model's input name, or a single array"
        text = f"{archive} holds {listed(archive.keys)}; the samples may be {accepted}"
        raise DataError(f"{text}; choose with --x-key (and --y-key)")
    return keys[0]


def _label_key(archive: Archive, x_key: str, input_names: Sequence[str]) -> str | None:
    twin = ["y" + x_key[1:]] if x_key.startswith("x") else []
    others = [key for key in archive.keys if key not in (x_key, *input_names)]
    named = _usual_key(others, (*twin, *_LABEL_KEYS))
    if named is None and len(others) == 1 and _looks_like_labels(archive.array(others[0])):
        samples = archive.array(x_key)
        return others[0] if len(samples) == len(archive.array(others[0])) else None
    return named


def _looks_like_labels(array: SourceArray) -> bool:
    one_per_sample = len(array.shape) == 1 or (len(array.shape) == 2 and array.shape[1] == 1)
    return one_per_sample and array.dtype.kind in "iu"


def _idx_labels(path: Path) -> Path | None:
    stem = path.name.removesuffix(".gz")
    if "images" not in stem:
        return None
    name = stem.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    candidates = [path.with_name(name), path.with_name(name + ".gz")]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
