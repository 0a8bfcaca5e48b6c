"""The inputs that attacks made, kept on disk while they run and saved as one npz."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from lsa_onnx.attacks import Attack
from lsa_onnx.errors import DataError
from lsa_onnx.files import writing_atomically
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]
Positions = NDArray[np.int64]

# Samples that are copied at a time.
_ROWS = 256


class Keeper:
    """Collects adversarial inputs; memory does not grow with their number.

    The npz holds ``x`` (clean, in units of the declared range), ``y`` (labels, where there are any),
    ``index`` (positions in the data that were read), and for each attack ``x_adv_NAME`` and, where the
    model has classes, ``predicted_NAME``, all in one order. Where another input of the model is called
    x, the clean inputs have the name of theirs, so that the file can be read again. Where an inner
    tensor is perturbed, all of these are values of that tensor. A single attack's
    inputs are called ``x_adv``, which is what ``--perturbed`` looks for.
    """

    def __init__(self, subject: Subject, path: Path, span: range | None = None) -> None:
        """Start with nothing; until ``save``, files go to the private folder of the subject's model.

        Args:
            subject: Model and data.
            path: The npz.
            span: Positions of the samples; all by default.
        """
        self._subject = subject
        self._path = path
        self._span = range(len(subject.dataset)) if span is None else span
        self._arrays: dict[str, Array] = {}
        self._predicted: dict[str, Array] = {}

    def carry(self, attack: str, earlier: str | None, predicted: Array) -> None:
        """Let an attack begin with what it made at an earlier strength.

        Args:
            attack: Name of the attack, and of its strength where there are several.
            earlier: Its name at that strength; ``None`` for the clean inputs.
            predicted: The class that the untouched model sees in each of those, shape (samples,).
        """
        kept = self._array(attack)
        if earlier is None:
            self._copy_clean(kept)
        else:
            kept[:] = self._array(earlier)
        self._predicted[attack] = predicted.copy()

    def add(self, attack: str, positions: Positions, x_adv: Array, predicted: Array | None) -> None:
        """Keep a batch.

        Args:
            attack: Name of the attack, and of its strength where there are several.
            positions: Of the samples in the selection, shape (n,).
            x_adv: What the attack made, shape (n, ...).
            predicted: The class that the untouched model sees in each, shape (n,).
        """
        rows = positions - self._span.start
        self._array(attack)[rows] = x_adv
        if predicted is not None:
            known = self._predicted.setdefault(attack, np.zeros(len(self._span), np.int64))
            known[rows] = predicted

    def save(self) -> None:
        """Write everything.

        Raises:
            DataError: The file cannot be written; what was there before is intact.
        """
        dataset, alone = self._subject.dataset, len(self._arrays) == 1
        clean = self._mapped("clean")
        self._copy_clean(clean)
        rows = slice(self._span.start, self._span.stop)
        members: dict[str, Array] = {self._name: clean, "index": dataset.selection[rows]}
        if dataset.labels is not None:
            members["y"] = dataset.labels[rows]
        for attack, array in self._arrays.items():
            members["x_adv" if alone else f"x_adv_{attack}"] = array
            if attack in self._predicted:
                members["predicted" if alone else f"predicted_{attack}"] = self._predicted[attack]
        with writing_atomically(self._path) as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in members.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy_format.write_array(member, np.asanyarray(array), allow_pickle=False)

    def _copy_clean(self, array: Array) -> None:
        first, stop = self._span.start, self._span.stop
        for start in self._span[::_ROWS]:
            x, _ = self._subject.dataset.batch(start, min(start + _ROWS, stop))
            array[start - first : start - first + len(x)] = x

    @property
    def _name(self) -> str:
        """Of the clean inputs."""
        taken = any(value.name == "x" for value in self._subject.held)
        return self._subject.input.name if taken else "x"

    def _array(self, attack: str) -> Array:
        if attack not in self._arrays:
            self._arrays[attack] = self._mapped(f"adversarial-{len(self._arrays)}")
        return self._arrays[attack]

    def _mapped(self, name: str) -> Array:
        dataset = self._subject.dataset
        path = self._subject.model.workspace / f"{name}.npy"
        shape = (len(self._span), *dataset.sample_shape)
        return npy_format.open_memmap(path, "w+", dtype=dataset.dtype, shape=shape)


def open_keeper(
    subject: Subject, path: Path | None, attacks: Sequence[Attack], span: range | None = None
) -> Keeper | None:
    """What keeps the inputs that ``attacks`` make for the npz ``path``; ``None`` without a path.

    Raises:
        DataError: There is no attack that moves an input.
    """
    if path is None:
        return None
    if not any(attack.eps > 0 for attack in attacks):
        raise DataError(
            f"--save-adversarial {str(path)!r} has nothing to save: no attack moves an input; give "
            "an attack such as --attack pgd, and an eps above 0"
        )
    return Keeper(subject, path, span)
