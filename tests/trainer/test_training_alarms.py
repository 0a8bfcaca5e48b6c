"""Verdicts on histories made by hand."""

from __future__ import annotations

import json

import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.training.alarms import Best, EarlyStop, Overfitting, OverfittingAlarm

# (one-step accuracy, multi-step accuracy) at each validation.
HEALTHY = [(0.40, 0.30), (0.50, 0.38), (0.55, 0.36), (0.54, 0.41)]
# FGSM training of Wong et al.: within one epoch the one is near perfect and the other gone.
CATASTROPHE = [(0.40, 0.30), (0.50, 0.38), (0.86, 0.02), (0.90, 0.00)]
COLLAPSE = [(0.50, 0.40), (0.20, 0.10)]
SLOW = [(0.50, 0.40), (0.55, 0.35), (0.60, 0.30), (0.65, 0.25)]


def rings(history: list[tuple[float, float]], threshold: float = 0.1) -> list[Overfitting]:
    alarm, verdicts = OverfittingAlarm(threshold), []
    for step, (one_step, multi_step) in enumerate(history):
        # As if the run were killed and resumed at each validation.
        alarm = OverfittingAlarm.from_record(json.loads(json.dumps(alarm.to_record())))
        alarm, verdict = alarm.after(step, one_step, multi_step)
        verdicts += [verdict] if verdict else []
    return verdicts


def test_catastrophic_overfitting_rings_once_where_it_happens() -> None:
    assert rings(CATASTROPHE) == [Overfitting(2, 0.50, 0.86, 0.38, 0.02)]
    text = "step 2: accuracy under the one-step attack rose from 50.0% to 86.0% while it fell from "
    assert f"{text}38.0% to 2.0% under the multi-step attack" in str(rings(CATASTROPHE)[0])


@pytest.mark.parametrize("history", [HEALTHY, COLLAPSE, SLOW, HEALTHY[:1], []])
def test_other_histories_do_not(history: list[tuple[float, float]]) -> None:
    assert rings(history) == []


def test_threshold_is_what_a_fall_must_exceed() -> None:
    assert rings(SLOW, threshold=0.05) == []
    assert [verdict.step for verdict in rings(SLOW, threshold=0.04)] == [1, 2, 3]


def waits(history: list[float], patience: int) -> int | None:
    """The validation at which a run stops."""
    rule = EarlyStop(patience)
    for index, robust in enumerate(history):
        rule = EarlyStop.from_record(json.loads(json.dumps(rule.after(robust).to_record())))
        if rule.due:
            return index
    return None


@pytest.mark.parametrize(
    ("history", "patience", "stops"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1, None),
        ([0.1, 0.3, 0.2], 1, 2),
        ([0.1, 0.3, 0.2, 0.3, 0.4], 2, 3),
        ([0.1, 0.3, 0.2, 0.31, 0.2, 0.1], 2, 5),
        ([0.0, 0.0, 0.0], 2, 2),
        ([0.3, 0.2, 0.1, 0.0], 0, None),
        ([0.3], 1, None),
    ],
)
def test_stops_after_so_many_validations_without_a_rise(
    history: list[float], patience: int, stops: int | None
) -> None:
    assert waits(history, patience) == stops


def best(history: list[tuple[float, float]], before: float, drop: float) -> Best:
    """After validations of (clean, robust) at steps 0, 10, 20, ..."""
    choice = Best(before, drop)
    for index, (clean, robust) in enumerate(history):
        choice = Best.from_record(json.loads(json.dumps(choice.to_record())))
        choice = choice.after(10 * index, clean, robust)
    return choice


@pytest.mark.parametrize(
    ("history", "step"),
    [
        ([(0.9, 0.2), (0.88, 0.4), (0.80, 0.6)], 10),  # the most robust gives up too much
        ([(0.9, 0.2), (0.85, 0.4)], 10),  # exactly as much as allowed, save for rounding
        ([(0.7, 0.5), (0.84, 0.6)], None),
        ([(0.7, 0.5), (0.95, 0.1)], 10),
        ([(0.86, 0.4), (0.9, 0.4), (0.88, 0.4)], 10),  # as robust: the cleanest
        ([(0.9, 0.4), (0.9, 0.4)], 0),  # the earliest
        ([(0.9, 0.4), (0.95, 0.3)], 0),
        ([(float("nan"), 0.9), (0.9, 0.4)], 10),
        ([], None),
    ],
)
def test_best_checkpoint(history: list[tuple[float, float]], step: int | None) -> None:
    choice = best(history, before=0.9, drop=0.05)
    assert choice.step == step
    if step is not None:
        assert (choice.clean, choice.robust) == history[step // 10]


def test_choice_says_where_it_changed() -> None:
    first = Best(0.9, 0.05).after(10, 0.9, 0.3)
    assert first.after(20, 0.9, 0.2) is first
    assert first.after(20, 0.9, 0.4).step == 20


def test_refuses_unusable_limits() -> None:
    with pytest.raises(DataError, match=r"threshold of 0 is not usable"):
        OverfittingAlarm(0)
    with pytest.raises(DataError, match="patience of -1 is not usable"):
        EarlyStop(-1)
    with pytest.raises(DataError, match=r"drop of 1.5 is not usable"):
        Best(0.9, 1.5)
