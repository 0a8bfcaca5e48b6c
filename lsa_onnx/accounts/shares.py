"""Shares of samples: accuracies, the gate on one, and how often a label changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, GateFailed
from lsa_onnx.report.document import Accuracy
from lsa_onnx.statistics import wilson_interval

Array = NDArray[Any]


def all_classes(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """The classes of all samples, shape (samples,); ``None`` unless every batch had them."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known and len(known) == len(parts) else None


def accuracy_of(classes: Array | None, labels: Array | None) -> Accuracy | None:
    """Share of ``classes`` that equal ``labels``, both of shape (n,); ``None`` without either."""
    if classes is None or labels is None:
        return None
    return share_of(int((classes == labels).sum()), len(labels))


def share_of(hits: int, n: int) -> Accuracy:
    """``hits`` of ``n`` > 0 samples with the 95 % Wilson interval."""
    return Accuracy(hits / n, n, wilson_interval(hits, n))


def flips_of(classes: Array | None, clean: Array | None) -> float | None:
    """Share of samples whose predicted class, shape (n,) each, changed."""
    if classes is None or clean is None:
        return None
    return float((classes != clean).mean())


def require_accuracy(accuracy: Accuracy | None, expected: float | None) -> None:
    """The gate of ``--expect-accuracy``.

    Raises:
        DataError: There is nothing to compare.
        GateFailed: The accuracy is lower.
    """
    if expected is None:
        return
    if accuracy is None:
        raise DataError(
            f"--expect-accuracy {expected:g} needs labels and a model that predicts classes; "
            "give --labels, --decision binary where one score tells two classes apart, or leave it out"
        )
    if accuracy.value < expected:
        raise GateFailed(
            f"clean accuracy {accuracy.value:.4f} on {accuracy.n} samples is below the expected "
            f"{expected:g}; check --range, --mean, --std, --layout and the labels"
        )
