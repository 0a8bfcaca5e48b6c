"""Changes of shares and of layers, with bounds worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.bootstrap import Estimate
from lsa_onnx.comparing.changes import (
    accuracy_change,
    norm_note,
    of_difference,
    of_movement,
    relative_change,
)
from lsa_onnx.report.comparison import Movement
from lsa_onnx.report.sections import Accuracy
from lsa_onnx.statistics import newcombe_interval, wilson_interval


def share(hits: int, n: int) -> Accuracy:
    return Accuracy(hits / n, n, wilson_interval(hits, n))


def movement(cm: float, half: float = 0.01, absolute: float | None = None) -> Movement:
    return Movement(cm, (cm - half, cm + half), cm if absolute is None else absolute, None)


@pytest.mark.parametrize(
    ("before", "after", "low", "high"),
    [
        # Newcombe 1998, Table II, method 10, with the signs of after − before.
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((0, 20), (10, 10), 0.6791, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(
    before: tuple[int, int], after: tuple[int, int], low: float, high: float
) -> None:
    found = newcombe_interval(share(*before), share(*after))
    assert found == pytest.approx((low, high), abs=5e-4)


@given(st.integers(1, 50).flatmap(lambda n: st.tuples(*[st.integers(0, n)] * 2, st.just(n))))
def test_it_holds_the_difference_and_turns_round(counts: tuple[int, int, int]) -> None:
    a, b, n = counts
    low, high = newcombe_interval(share(a, n), share(b, n))
    assert -1 - 1e-12 <= low <= (b - a) / n <= high <= 1 + 1e-12
    back = newcombe_interval(share(b, n), share(a, n))
    assert back == pytest.approx((-high, -low))


def test_an_accuracy_is_worse_where_the_whole_interval_is_below_0() -> None:
    found = accuracy_change(share(90, 100), share(60, 100))
    assert found is not None
    assert (found.verdict, found.method) == ("worse", "Newcombe")
    assert found.difference == pytest.approx(-0.3)
    assert found.interval[1] < 0
    few = accuracy_change(share(9, 10), share(6, 10))
    assert few is not None
    assert few.verdict == "same"
    paired = accuracy_change(share(9, 10), share(6, 10), Estimate(-0.3, (-0.5, -0.1)))
    assert paired is not None
    assert (paired.verdict, paired.method, paired.interval) == (
        "worse",
        "paired bootstrap",
        (-0.5, -0.1),
    )
    assert accuracy_change(None, share(1, 2)) is None
    assert accuracy_change(share(1, 2), None) is None


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.2, -0.1), "worse"),
        ((-0.2, 0.0), "same"),
        ((0.0, 0.0), "same"),
        ((0.0, 0.1), "same"),
        ((0.01, 0.1), "better"),
    ],
)
def test_an_interval_that_touches_0_says_nothing(
    interval: tuple[float, float], verdict: str
) -> None:
    assert of_difference(interval) == verdict


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (movement(0.5), movement(0.53), "worse"),
        (movement(0.5), movement(0.515), "same"),
        (movement(0.5), movement(0.47), "better"),
        (movement(0.5), Movement(0.9, None, 1.0, None), "undefined"),
        (Movement(None, None, None, None), movement(0.5), "undefined"),
    ],
)
def test_a_layer_is_judged_by_intervals_that_do_not_overlap(
    before: Movement, after: Movement, verdict: str
) -> None:
    assert of_movement(before, after) == verdict


def test_relative_change() -> None:
    assert relative_change(movement(0.5), movement(0.75)) == pytest.approx(0.5)
    assert relative_change(movement(0.0), movement(0.75)) is None
    assert relative_change(movement(0.5), Movement(None, None, None, None)) is None
    assert relative_change(movement(0.5), movement(0.0)) == -1


def test_a_norm_that_grew_is_told_from_a_layer_that_moves_less() -> None:
    # Two moons: CM fell from 0.283 to 0.0025, and the movement itself hardly did.
    note = norm_note(movement(0.283, 0.001, 1.0), movement(0.0025, 0.001, 0.8))
    assert note == (
        "CM is 0.00883 times what it was, ‖Δφ‖ 0.8 times: that is mostly a clean norm of 90.6 times its "
        "size, not a layer that moves less"
    )
    # The layer moves less, and its norm is what it was.
    assert norm_note(movement(0.4, 0.001, 1.0), movement(0.2, 0.001, 0.5)) is None
    shrunk = norm_note(movement(0.2, 0.001, 1.0), movement(0.8, 0.001, 1.1))
    assert shrunk is not None
    assert "CM is 4 times what it was, ‖Δφ‖ 1.1 times" in shrunk
    assert shrunk.endswith("a clean norm of 0.275 times its size, not a layer that moves more")


@given(st.floats(0.01, 0.49), st.floats(0.0, 1.0))
def test_half_of_the_fall_on_a_scale_of_ratios_is_the_border(ratio: float, part: float) -> None:
    after = movement(0.5 * ratio, 0.0001, ratio**part)
    told = norm_note(movement(0.5, 0.0001, 1.0), after) is not None
    if not math.isclose(part, 0.5, abs_tol=1e-6):
        assert told == (part < 0.5)


def test_nothing_is_said_of_what_chance_explains_or_is_undefined() -> None:
    assert norm_note(movement(0.5, 0.2, 1.0), movement(0.4, 0.2, 1.0)) is None
    assert norm_note(movement(0.5, 0.01, 1.0), movement(0.1, 0.01, 0.0)) is None
