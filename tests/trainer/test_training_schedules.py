"""Factors worked out by hand at chosen steps, and what holds at every step."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_trainer.training.schedules import (
    EPS_KINDS,
    GAMMA_KINDS,
    KINDS,
    EpsKind,
    EpsSchedule,
    GammaKind,
    GammaSchedule,
    Kind,
    Ramp,
    Schedule,
)


@pytest.mark.parametrize("kind", EPS_KINDS)
@given(steps=st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_eps_grows_to_its_value_and_stays(kind: EpsKind, steps: int) -> None:
    shares = [EpsSchedule(kind, steps)(step) for step in range(steps + 3)]
    assert shares[0] > 0
    assert all(a <= b for a, b in pairwise(shares))
    assert all(share == 1 for share in shares[steps:])
    if kind != "cosine":
        assert shares == [Ramp(steps)(step) for step in range(steps + 3)]


def test_eps_along_a_cosine_by_hand() -> None:
    found = [EpsSchedule("cosine", 3)(step) for step in range(5)]
    assert found == pytest.approx([0.146446609, 0.5, 0.853553391, 1, 1])


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("rising", [0.25, 0.5, 0.75, 1]),
        ("falling", [1, 0.75, 0.5, 0.25]),
        ("with-eps", [1 / 3, 2 / 3, 1, 1]),
    ],
)
def test_gamma_by_hand(kind: GammaKind, factors: list[float]) -> None:
    schedule = GammaSchedule(kind, 4, EpsSchedule("warmup", 2))
    assert [schedule(step) for step in range(4)] == pytest.approx(factors)


@given(st.sampled_from(GAMMA_KINDS), st.integers(1, 300), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_gamma_is_a_share_above_zero_and_never_turns_back(
    kind: GammaKind, steps: int, growth: int
) -> None:
    schedule = GammaSchedule(kind, steps, EpsSchedule("warmup", growth))
    factors = [schedule(step) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors in (sorted(factors), sorted(factors, reverse=True))


def test_refuses_what_is_no_schedule_of_eps_or_gamma() -> None:
    eps: dict[str, Any] = {"kind": "sine", "steps": 3}
    with pytest.raises(DataError, match="schedule of eps 'sine' is not usable; give one of warmup"):
        EpsSchedule(**eps)
    with pytest.raises(DataError, match="-3 steps is not usable"):
        EpsSchedule("cosine", -3)
    gamma: dict[str, Any] = {"kind": "up", "steps": 3, "eps": EpsSchedule("warmup", 0)}
    with pytest.raises(DataError, match="schedule of gamma 'up' is not usable; give one of const"):
        GammaSchedule(**gamma)
    with pytest.raises(DataError, match="number of steps 0 is not usable"):
        GammaSchedule("rising", 0, EpsSchedule("warmup", 0))


def test_ramp_is_above_zero_at_once_and_one_after_its_steps() -> None:
    ramp = Ramp(4)
    assert [ramp(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert Ramp(0)(0) == 1.0


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule("constant", 4), {0: 1, 3: 1, 9: 1}),
        (Schedule("constant", 10, warmup=3), {0: 1 / 4, 1: 2 / 4, 2: 3 / 4, 3: 1, 9: 1}),
        (Schedule("cosine", 8), {0: 1, 2: 0.853553391, 4: 0.5, 6: 0.146446609, 8: 0, 20: 0}),
        (Schedule("cosine", 8, final=0.2), {0: 1, 4: 0.6, 8: 0.2}),
        # Six steps follow the warm-up; the third is half of them.
        (Schedule("cosine", 8, warmup=2), {0: 1 / 3, 1: 2 / 3, 2: 1, 5: 0.5, 8: 0}),
        (
            Schedule("one-cycle", 10, first=0.1, peak=0.4),
            {0: 0.1, 2: 0.55, 4: 1, 7: 0.5, 9: 1 / 6, 10: 0, 30: 0},
        ),
        (
            Schedule("one-cycle", 12, warmup=2, first=0.3, final=0.1, peak=0.5),
            {0: 0.1, 1: 0.2, 2: 0.3, 7: 1, 12: 0.1},
        ),
        (Schedule("step", 10), {0: 1, 4: 1, 5: 0.1, 7: 0.1, 8: 0.01, 99: 0.01}),
        (
            Schedule("step", 10, warmup=4, milestones=(0.3, 0.6), drop=0.5),
            # The warm-up leads to 1; by its end the first milestone, at step 3, is passed.
            {0: 0.2, 3: 0.8, 4: 0.5, 5: 0.5, 6: 0.25},
        ),
        (Schedule("step", 10, milestones=()), {0: 1, 9: 1}),
    ],
)
def test_factors_by_hand(schedule: Schedule, factors: dict[int, float]) -> None:
    assert {step: schedule(step) for step in factors} == pytest.approx(factors, abs=1e-9)


@given(st.sampled_from(KINDS), st.integers(1, 200), st.data())
@settings(max_examples=60, deadline=None)
def test_factors_are_shares_and_never_jump_up(kind: Kind, steps: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, steps - 1))
    schedule = Schedule(kind, steps, warmup)
    factors = [schedule(step) for step in range(steps + 3)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[0] > 0
    rises = max((b - a for a, b in pairwise(factors)), default=0.0)
    # The steepest rises there are: one of the warm-up, and that of one-cycle.
    assert rises <= max(1 / (warmup + 1), 1 / (0.3 * (steps - warmup))) + 1e-9
    assert factors[steps] == factors[steps + 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "linear"}, "schedule 'linear' is not usable; give one of constant, cosine"),
        ({"steps": 0}, "number of steps 0 is not usable; give 1 or more"),
        ({"warmup": -1}, "warm-up -1 is not usable; give 0 to 9 steps"),
        ({"warmup": 10}, "warm-up 10 is not usable; give 0 to 9 steps"),
        ({"final": 1.5}, "final factor 1.5"),
        ({"final": float("nan")}, "final factor nan"),
        ({"first": -0.1}, "first factor -0.1"),
        ({"peak": 1.0}, "peak 1.0"),
        ({"drop": 0.0}, "drop 0.0"),
        ({"milestones": (0.5, 0.5)}, r"milestones \(0.5, 0.5\)"),
        ({"milestones": (0.2, 1.0)}, r"milestones \(0.2, 1.0\)"),
    ],
)
def test_refuses_what_is_no_schedule(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Schedule(**{"kind": "cosine", "steps": 10, **arguments})


def test_refuses_a_ramp_of_negative_length() -> None:
    with pytest.raises(DataError, match="-3 steps is not usable"):
        Ramp(-3)
