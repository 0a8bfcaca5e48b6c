"""Several models on the same samples, opened and held against each other before any long run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.shares import require_accuracy
from lsa_onnx.errors import DataError
from lsa_onnx.prediction import Decision, Head, model_head
from lsa_onnx.report.sections import DataSection, InputSection, ModelSection
from lsa_onnx.runtime.devices import Device
from lsa_onnx.scanning.clean import (
    CleanRun,
    declared_classes,
    require_known_labels,
    run_clean,
)
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.describe import data_section, input_section, model_section
from lsa_onnx.scanning.instrument import Running, lay_batches
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.options import SubjectOptions
from lsa_onnx.scanning.promotion import announce_promotion
from lsa_onnx.scanning.subject import Subject, open_subject

Array = NDArray[Any]


@dataclass(frozen=True)
class Opened:
    """A model with its samples, how it runs, and what it says of them.

    Attributes:
        subject: Model and data.
        head: How a class is read, ``None`` for models without.
        running: How the model is run.
        clean: What the untouched model says of the clean samples.
        deployed: The untouched model.
        device: Where it runs.
        decision: How a class was to be read.
    """

    subject: Subject
    head: Head | None
    running: Running
    clean: CleanRun
    deployed: Deployed
    device: Device
    decision: Decision

    @property
    def name(self) -> str:
        """Of the file, for messages."""
        return self.subject.model.path.name

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """What the model should say, shape (samples,): labels, or its own clean predictions."""
        if self.clean.classes is None:
            return None
        given = self.subject.dataset.labels
        return given if given is not None else self.clean.classes

    @property
    def section(self) -> ModelSection:
        """What a document says of the model."""
        return model_section(self.subject, self.head, self.device, self.decision)


def open_models(
    models: Sequence[str | Path], options: SubjectOptions, device: Device, listener: Listener
) -> list[Opened]:
    """Open ``models`` on the samples that ``options`` name.

    Raises:
        LsaError: One cannot be used, or they do not read the same samples in the same units.
        GateFailed: The clean accuracy of one is below what was expected.
    """
    if not models:
        raise DataError("there is no model; give the path of one or more ONNX files")
    opened = [open_one(model, options, device, listener) for model in models]
    for other in opened[1:]:
        require_alike(opened[0].subject, other.subject)
    if device.note:
        listener.message(device.note)
    for number, each in enumerate(opened, start=1):
        if len(opened) > 1:
            listener.message(f"{each.subject.model.path} ({number} of {len(opened)})")
        announce_promotion(each.subject, listener)
        if each.clean.accuracy is not None:
            listener.clean_accuracy(each.clean.accuracy)
        require_accuracy(each.clean.accuracy, options.expect_accuracy)
    return opened


def open_one(
    model: str | Path, options: SubjectOptions, device: Device, listener: Listener
) -> Opened:
    """Open one of them, see ``open_models``."""
    subject = open_subject(str(model), options)
    head = model_head(subject.model, options.decision)
    classes, labels = declared_classes(subject, head), subject.dataset.labels
    if labels is not None and classes is not None:
        require_known_labels(labels, classes)
    running = lay_batches(subject, options, device)
    alone = running.plan.fixed_batch == 1
    clean = run_clean(subject, head, device, running.batch, one_by_one=alone, listener=listener)
    deployed = Deployed(subject, head, device, one_by_one=alone)
    return Opened(subject, head, running, clean, deployed, device, options.decision)


def require_alike(one: Subject, two: Subject) -> None:
    """That both mean the same by a sample and by a distance.

    Raises:
        DataError: They do not.
    """
    ranges = [(each.spec.low, each.spec.high) for each in (one, two)]
    if ranges[0] != ranges[1]:
        low, high = ranges[1]
        raise DataError(
            f"{str(two.model.path)!r} declares the range {low:g} to {high:g}, and "
            f"{str(one.model.path)!r} {ranges[0][0]:g} to {ranges[0][1]:g}; surfaces share axes, so give "
            "one --range for all, or draw the models apart"
        )
    if one.dataset.fingerprint != two.dataset.fingerprint:
        raise DataError(
            f"{str(two.model.path)!r} reads other samples of {one.dataset.source!r} than "
            f"{str(one.model.path)!r}; name the array that all take with --x-key"
        )


def shared_data(opened: Sequence[Opened]) -> DataSection:
    """What a document says of the samples, which all models share."""
    return data_section(opened[0].subject)


def shared_input(opened: Sequence[Opened], *notes: str) -> InputSection:
    """What a document says of the input: that of the first model, and where another one's differs."""
    first, *others = (input_section(each.subject) for each in opened)
    differing = [
        f"{each.name} normalises by mean {other.mean} and std {other.std}"
        for each, other in zip(opened[1:], others, strict=True)
        if (other.mean, other.std) != (first.mean, first.std)
    ]
    return dataclasses.replace(first, notes=[*first.notes, *differing, *notes])
