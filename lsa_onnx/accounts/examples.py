"""Which inputs a report shows: those that a perturbation changed to most effect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts.records import Classes, Clean, Series
from lsa_onnx.report.document import Example

# Of the perturbation that the headline is about; one picture shows what another one does.
SHOWN_OF_HEADLINE = 4
SHOWN_OF_OTHERS = 1


def effects(series: Series, classes: Classes | None, clean: Clean) -> list[tuple[int, float]]:
    """How much each of n samples was changed, to be sorted by: the classes first, then the layers.

    Args:
        series: The samples under the perturbation.
        classes: What the model says of them then, shape (n,).
        clean: The same samples without it.

    Returns:
        Whether the prediction changed, and from right to wrong (2, else 1, else 0); and ``mean_cm``.
    """
    changed = np.zeros(len(series.change), np.int64)
    if classes is not None and clean.classes is not None:
        changed += classes != clean.classes
        if clean.labels is not None:
            changed *= 1 + (clean.classes == clean.labels)
    return list(zip(changed.tolist(), mean_cm(series).tolist(), strict=True))


def mean_cm(series: Series) -> NDArray[np.float64]:
    """CM of each sample, averaged over the layers where it is defined, shape (n,); −1 where it is nowhere."""
    difference, clean = series.sums.difference, series.sums.clean
    defined = np.isfinite(difference + clean) & (clean > 0)
    ratio = np.sqrt(np.divide(difference, clean, out=np.zeros(clean.shape), where=defined))
    count = defined.sum(axis=1)
    return np.where(count > 0, ratio.sum(axis=1) / np.maximum(count, 1), -1.0)


def worst(examples: Iterable[Example], count: int) -> list[Example]:
    """The ``count`` that were changed most; of equal ones the first in the data."""
    return sorted(examples, key=order_of)[:count]


def shown(examples: Sequence[Example], headline: str) -> list[Example]:
    """What a report shows: more of the perturbation that its headline is about, and that first."""
    names = dict.fromkeys([headline, *(each.perturbation for each in examples)])
    found = []
    for name in names:
        count = SHOWN_OF_HEADLINE if name == headline else SHOWN_OF_OTHERS
        found += worst([each for each in examples if each.perturbation == name], count)
    return found


def order(changed: int, moved: float, index: int) -> tuple[int, float, int]:
    """What examples are sorted by, the worst first: two figures of ``effects``, then the place in the data."""
    return -changed, -max(moved, 0.0), index


def order_of(example: Example) -> tuple[int, float, int]:
    """The same of an example."""
    changed = int(example.perturbed_class != example.clean_class)
    if changed and example.label is not None:
        changed += example.clean_class == example.label
    return order(changed, example.mean_cm or 0.0, example.index)
