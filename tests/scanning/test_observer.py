"""The observer check notices an instrumented model that says something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.accounts.records import worst_observed
from lsa_onnx.prediction import Head
from lsa_onnx.report.document import ObserverCheck
from lsa_onnx.scanning.clean import CleanRun
from lsa_onnx.scanning.observer import observed

Array = NDArray[Any]
HEAD = Head("y", "scores", "y", "output 'y' itself")


def deployed() -> Array:
    return np.array(
        [[1.0, 4.0, 2.0], [8.0, 0.0, 1.0], [0.0, 1.0, 3.0], [5.0, 6.0, 1.0]], np.float32
    )


def checked(
    instrumented: Array, y: Array | None = None, *, head: Head | None = HEAD, batch: int = 3
) -> ObserverCheck:
    y = deployed() if y is None else y
    clean = CleanRun(y.argmax(axis=1) if head else None, None, {"y": y}, len(y))
    seen = [
        observed(clean, head, start, {"y": instrumented[start : start + batch]})
        for start in range(0, len(instrumented), batch)
    ]
    return worst_observed(seen).check(clean.kept)


def test_equal_outputs() -> None:
    assert checked(deployed()) == ObserverCheck(4, 0.0, 0.0, 0)


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_the_largest_difference_is_relative_to_the_largest_output(batch: int) -> None:
    other = deployed()
    other[3, 0] += 2.0
    other[0, 2] -= 0.5
    # 2.0 of 8.0; sample 3 now says class 0 instead of 1.
    assert checked(other, batch=batch) == ObserverCheck(4, 2.0, 0.25, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_lost_number_is_a_difference(value: float) -> None:
    other = deployed()
    other[2, 0] = value
    # Also in a batch whose own values are small beside those of other batches.
    for batch in (1, 3, 4):
        found = checked(other, batch=batch)
        assert (found.max_absolute_difference, found.max_relative_difference) == (8.0, 1.0)
    # And so is a number where the deployed model gives none.
    assert checked(deployed(), other).max_relative_difference == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_same_nan_or_infinity_on_both_sides_is_none(value: float) -> None:
    other = deployed()
    other[2, 0] = value
    assert checked(other, other.copy()).max_absolute_difference == 0.0


def test_outputs_of_zero() -> None:
    zero = np.zeros((2, 3), np.float32)
    assert checked(zero, zero.copy()).max_relative_difference == 0.0
    assert checked(zero + 1e-6, zero).max_relative_difference == 1.0


def test_samples_beyond_those_kept_are_passed_over() -> None:
    more = np.vstack([deployed(), 99 * np.ones((5, 3), np.float32)])
    assert checked(more) == ObserverCheck(4, 0.0, 0.0, 0)


def test_a_model_without_classes_has_no_flips() -> None:
    assert checked(deployed() + 1, head=None).label_flips is None


def test_outputs_that_are_no_numbers_are_not_compared() -> None:
    names = np.array([["cat"], ["dog"]])
    clean = CleanRun(None, None, {"name": names}, 2)
    assert observed(clean, None, 0, {"name": names}).check(2) == ObserverCheck(2, 0.0, 0.0, None)


def test_large_outputs_are_compared_whole() -> None:
    y = np.ones((3, 2, 400, 500), np.float32)
    other = y.copy()
    other[2, 1, 399, 499] = 3.0
    assert checked(other, y, head=None).max_absolute_difference == 2.0
