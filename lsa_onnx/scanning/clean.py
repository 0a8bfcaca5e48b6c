"""The untouched model on clean inputs: its accuracy, and what the observer check compares to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.shares import accuracy_of, all_classes
from lsa_onnx.errors import DataError
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.report.document import Accuracy
from lsa_onnx.rewrite.names import separate_names
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.matching import relative_difference
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.rows import join_rows, same_shape
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

# Outputs kept for the observer check, so that memory does not grow with the number of samples.
_KEPT_BYTES = 16 << 20
_REPEATED = 1e-4
_TWO = 2


@dataclass(frozen=True)
class CleanRun:
    """What the untouched model says of the clean samples.

    Attributes:
        classes: Predicted class of each sample, shape (n,); ``None`` for a model without.
        accuracy: On the labels, ``None`` without labels or classes.
        outputs: Output name → values of the first ``kept`` samples, shape (kept, ...).
        kept: How many samples those are.
        repeatable: Whether a second run on the first samples gave the same.
        start: Position of the first sample in the selection; all of this is counted from there.
    """

    classes: NDArray[np.int64] | None
    accuracy: Accuracy | None
    outputs: dict[str, Array]
    kept: int
    repeatable: bool = True
    start: int = 0


def run_clean(
    subject: Subject,
    head: Head | None,
    device: Device,
    batch: int,
    *,
    one_by_one: bool,
    listener: Listener,
    span: range | None = None,
) -> CleanRun:
    """Run the model file itself, as it would be deployed, over all clean samples.

    Args:
        subject: Model and data.
        head: How a class is read, ``None`` for models without.
        device: Where to run.
        batch: Samples to read at a time, and per run where the model's batch is free.
        one_by_one: A run's whole output belongs to one sample (native mode).
        listener: Told of progress.
        span: Positions of the samples, whole batches; all by default.

    Raises:
        DataError: A label is not one of the model's classes, or one score per sample is to tell two classes
            apart and the output holds another number.
    """
    deployed = Deployed(subject, head, device, one_by_one=one_by_one)
    span = range(len(subject.dataset)) if span is None else span
    kept, repeatable = _Kept(span.start), True
    classes: list[NDArray[np.int64] | None] = []
    listener.begin("clean", len(span))
    for start in span[::batch]:
        feeds, labels = subject.feeds(start, min(start + batch, span.stop))
        outputs = deployed.run(feeds)
        if start == span.start:
            repeatable = _same(outputs, deployed.run(feeds))
        classes.append(predicted_classes(head, outputs) if head else None)
        if head is not None and head.binary and classes[-1] is None:
            raise _no_single_score(head, outputs[head.output])
        if head is not None and classes[-1] is not None and labels is not None:
            _check_labels(labels, head, outputs[head.output])
        count = len(feeds[subject.input.name])
        kept.offer(outputs, count)
        listener.advance(count)
    found = all_classes(classes)
    labels = subject.dataset.labels
    accuracy = accuracy_of(found, None if labels is None else labels[span.start : span.stop])
    return CleanRun(found, accuracy, kept.joined(), kept.samples, repeatable, span.start)


def _same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    """Whether two runs agree but for what a different order of sums may change."""
    return all(
        relative_difference(*same_shape(value, second[name])) <= _REPEATED
        for name, value in first.items()
        if value.dtype.kind in "fiub"
    )


class _Kept:
    """The outputs of the first samples: whole batches, until ``_KEPT_BYTES`` are reached.

    The samples ``before`` the first one that is offered count as if they were as large as that: the shards
    of a scan then keep what the whole scan would.
    """

    def __init__(self, before: int) -> None:
        self.samples = 0
        self._before = before
        self._batches: list[dict[str, Array]] = []
        self._bytes: int | None = None
        self._full = False

    def offer(self, outputs: dict[str, Array], samples: int) -> None:
        """Keep a batch, unless an earlier one was the last to fit."""
        size = sum(value.nbytes for value in outputs.values())
        if self._bytes is None:
            self._bytes = self._before * size // samples
            # What was kept is asked for its shapes, even where it is nothing.
            self._batches.append({name: value[:0] for name, value in outputs.items()})
        self._full = self._full or bool(self._bytes and self._bytes + size > _KEPT_BYTES)
        if not self._full:
            self._batches.append(outputs)
            self._bytes += size
            self.samples += samples

    def joined(self) -> dict[str, Array]:
        """All kept outputs, each of shape (samples, ...)."""
        return {n: join_rows([each[n] for each in self._batches]) for n in self._batches[0]}


def class_count(head: Head | None, clean: CleanRun) -> int | None:
    """The number of classes that the model scores; ``None`` where it does not score classes."""
    if head is None or clean.classes is None:
        return None
    return _scored_classes(head, clean.outputs[head.output])


def _scored_classes(head: Head, scores: Array) -> int | None:
    """How many classes ``scores``, shape (n, ...), tell apart; ``None`` where they are no scores."""
    if head.binary:
        return _TWO
    if head.kind != "scores":
        return None
    return int(np.prod(scores.shape[1:]))


def read_as_logit(head: Head | None) -> str | None:
    """The output that is read as one logit per sample, if any: it might be a probability."""
    return head.output if head is not None and head.binary and not head.threshold else None


def require_known_labels(labels: Array, classes: int) -> None:
    """Refuse labels, shape (n,), that are not in 0 to ``classes`` − 1.

    Raises:
        DataError: One is not.
    """
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise DataError(
            f"label {int(wrong[0])} is not one of the model's {classes} classes "
            f"(0..{classes - 1}); give labels that count from 0, or --labels none"
        )


def _check_labels(labels: Array, head: Head, scores: Array) -> None:
    classes = _scored_classes(head, scores)
    if classes is not None:
        require_known_labels(labels, classes)


def _no_single_score(head: Head, scores: Array) -> DataError:
    return DataError(
        f"--decision binary: output {head.output!r} has shape {scores.shape} for {len(scores)} samples, which "
        "is not one score for each; use --decision max for one score per class, or none"
    )


def declared_classes(subject: Subject, head: Head | None) -> int | None:
    """The number of classes, where the model file says it: before anything runs."""
    if head is None or head.binary:
        return None if head is None else _TWO
    shapes = {value.name: value.shape for value in subject.model.outputs}
    sizes = (shapes.get(head.output) or [])[1:] if head.kind == "scores" else _scores(subject, head)
    numbers = [size for size in sizes if isinstance(size, int)]
    # One axis of scores: anything else is judged by the values of a run.
    return numbers[0] if len(numbers) == len(sizes) == 1 and numbers[0] > 1 else None


def _scores(subject: Subject, head: Head) -> Sequence[int | None]:
    """The shape of one sample's scores, of which the model returns only the best."""
    if head.logits is None:
        return ()
    return (KnownShapes(separate_names(subject.model.proto)).dims(head.logits) or ())[1:]
