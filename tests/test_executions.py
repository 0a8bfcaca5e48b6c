"""Sums of squares by execution of a body, and what a report tells of them, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lsa_onnx.executions import MOST_LISTED, ExecutionSums, ExecutionTally, joined


def two_samples() -> ExecutionSums:
    """Three executions; CM 0.5, 0.1 and 0 in the first sample, 1, undefined and 2 in the second."""
    difference = np.array([[1.0, 0.04, 0.0], [9.0, 5.0, 16.0]])
    clean = np.array([[4.0, 4.0, 1.0], [9.0, 0.0, 4.0]])
    return ExecutionSums.of(difference, clean, clean + 1)


def cut_short() -> ExecutionSums:
    """One sample, whose clean side runs twice and whose perturbed side once."""
    return ExecutionSums.of(np.array([[2.0]]), np.array([[8.0, 100.0]]), np.array([[3.0]]))


def test_sums_add_up_over_what_both_sides_ran() -> None:
    assert two_samples().total.tolist() == [[1.04, 30.0], [9.0, 13.0], [12.0, 16.0]]
    assert cut_short().total.tolist() == [[2.0], [8.0], [3.0]]
    assert cut_short().counts.tolist() == [[2], [1]]
    assert cut_short().common.tolist() == [1]


def test_each_execution_has_its_cm() -> None:
    found = two_samples().relative_errors()
    np.testing.assert_allclose(found, [[0.5, 0.1, 0.0], [1.0, np.nan, 2.0]])


def test_batches_of_different_length_are_joined() -> None:
    both = joined([two_samples(), cut_short()])
    assert both.counts.tolist() == [[3, 3, 2], [3, 3, 1]]
    np.testing.assert_array_equal(both.total[:, :2], two_samples().total)
    np.testing.assert_array_equal(both.total[:, 2:], cut_short().total)
    assert np.isnan(both.relative_errors()[2, 1:]).all()
    np.testing.assert_array_equal(both.first(2).total, two_samples().total)


def test_what_did_not_run_sums_to_nothing() -> None:
    nothing = ExecutionSums.of(np.zeros((2, 0)), np.ones((2, 1)), np.zeros((2, 0)))
    assert nothing.total.tolist() == [[0.0, 0.0]] * 3
    assert nothing.common.tolist() == [0, 0]


def test_a_report_tells_how_often_and_how_far() -> None:
    tally = ExecutionTally()
    tally.add(two_samples())
    tally.add(cut_short())
    tally.add(ExecutionSums.of(np.zeros((1, 0)), np.ones((1, 1)), np.zeros((1, 0))))
    found = tally.record("loop/body")
    assert (found.body, found.minimum, found.maximum) == ("loop/body", 1, 3)
    assert found.mean == (3 + 3 + 2 + 1) / 4
    assert (found.skipped_samples, found.diverged_samples) == (1, 2)
    assert found.relative_error == [pytest.approx((0.5 + 1 + 0.5) / 3), pytest.approx(0.1), 1.0]


def test_many_executions_are_counted_not_listed() -> None:
    tally = ExecutionTally()
    many = np.ones((1, MOST_LISTED + 44))
    tally.add(ExecutionSums.of(many, many, many))
    found = tally.record("loop/body")
    assert found.maximum == MOST_LISTED + 44
    assert found.relative_error == [1.0] * MOST_LISTED
