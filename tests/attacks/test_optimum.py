"""Attacks on losses whose maximum within the threat model can be written down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.attacks import (
    BALLS,
    L1,
    L2,
    Ball,
    Linf,
    SampleRandomness,
    apgd,
    fast,
    fgsm,
    pgd,
    square,
    trades,
)
from lsa_onnx.errors import DataError
from tests.attacks.oracles import Linear, distance, masked, quadratic, undefined

Array = NDArray[Any]

WEIGHTS = np.random.default_rng(5).standard_normal((2, 3, 4))
X = np.full((3, 2, 3, 4), 0.5)
NUMBERS = SampleRandomness.of_batch(0, 0, 3)
NOTHING: dict[str, Array] = {}


def optimum(ball: Ball) -> float:
    """max w · δ over a ball far from the ends of the range: eps times the dual norm of w."""
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[ball.p]
    return ball.eps * float(np.linalg.norm(WEIGHTS.ravel(), dual))


def gains(found: Array) -> Array:
    gained: Array = ((found - X) * WEIGHTS).reshape(len(found), -1).sum(axis=1)
    return gained


@pytest.mark.parametrize("norm", BALLS)
def test_one_step_reaches_the_optimum_of_a_linear_loss(norm: str) -> None:
    ball = BALLS[norm](0.2, -5.0, 5.0)
    found = fgsm(Linear(WEIGHTS), X, NOTHING, ball)
    np.testing.assert_allclose(gains(found), optimum(ball), rtol=1e-9)


def test_fgsm_is_eps_times_the_sign() -> None:
    found = fgsm(Linear(WEIGHTS), X, NOTHING, Linf(0.2, 0.0, 1.0))
    np.testing.assert_allclose(found - X, np.broadcast_to(0.2 * np.sign(WEIGHTS), X.shape))


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("attack", [pgd, apgd])
def test_searches_reach_the_optimum_of_a_linear_loss(norm: str, attack: Any) -> None:
    ball = BALLS[norm](0.2, -5.0, 5.0)
    found = attack(Linear(WEIGHTS), X, NOTHING, ball, numbers=NUMBERS, steps=100)
    np.testing.assert_allclose(gains(found.x), optimum(ball), rtol=1.5e-2)
    np.testing.assert_allclose(found.loss, (found.x * WEIGHTS).reshape(3, -1).sum(axis=1))


def test_fast_steps_over_and_comes_back() -> None:
    ball = Linf(0.2, -5.0, 5.0)
    found = fast(Linear(WEIGHTS), X, NOTHING, ball, numbers=NUMBERS)
    start = ball.random_start(X, NUMBERS)
    expected = np.clip(start + 0.25 * np.sign(WEIGHTS), X - 0.2, X + 0.2)
    np.testing.assert_allclose(found, expected)


def test_trades_starts_beside_the_clean_input() -> None:
    # One step of 2.5 eps from there, which the ball cuts to eps.
    found = trades(Linear(WEIGHTS), X, NOTHING, Linf(0.2, -5.0, 5.0), numbers=NUMBERS, steps=1)
    np.testing.assert_allclose(found - X, np.broadcast_to(0.2 * np.sign(WEIGHTS), X.shape))
    start = trades(
        Linear(WEIGHTS), X, NOTHING, Linf(0.2, 0.0, 1.0), numbers=NUMBERS, steps=1, step_size=0.0
    )
    assert 0.0005 < (start - X).std() < 0.0015


@pytest.mark.parametrize(("attack", "share"), [(pgd, 0.85), (apgd, 0.98)])
def test_l1_fills_the_steepest_features_up_to_the_range(attack: Any, share: float) -> None:
    # Each feature may move by 0.5 at most, so the budget of 1.25 goes to the three steepest.
    found = attack(Linear(WEIGHTS), X, NOTHING, L1(1.25, 0.0, 1.0), numbers=NUMBERS, steps=200)
    steepest = np.sort(np.abs(WEIGHTS.ravel()))[::-1]
    best = 0.5 * steepest[0] + 0.5 * steepest[1] + 0.25 * steepest[2]
    assert (gains(found.x) >= share * best).all()
    assert (gains(found.x) <= best + 1e-9).all()


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("attack", [pgd, apgd])
def test_searches_find_a_maximum_inside_the_ball(norm: str, attack: Any) -> None:
    target = X.copy()
    target[:, 0, 1, 2] += 0.05
    target[:, 1, 0, 0] -= 0.02
    ball = BALLS[norm](0.3, 0.0, 1.0)
    y = {"target": target}
    found = attack(quadratic, X, y, ball, numbers=NUMBERS, steps=200)
    start = quadratic(ball.random_start(X, NUMBERS), y, gradient=False).loss
    assert found.margin is None
    assert (found.loss > np.maximum(0.1 * start, -2e-3)).all()


@pytest.mark.parametrize("norm", BALLS)
def test_a_maximum_outside_is_approached_to_the_edge(norm: str) -> None:
    target = X + 0.4 * np.sign(WEIGHTS)
    ball = BALLS[norm](0.1, 0.0, 1.0)
    found = apgd(quadratic, X, {"target": target}, ball, numbers=NUMBERS, steps=50)
    np.testing.assert_allclose(ball.norm(found.x - X), 0.1, rtol=1e-6)


@pytest.mark.parametrize("attack", [pgd, apgd])
def test_momentum_or_not_a_gradient_of_zero_goes_nowhere(attack: Any) -> None:
    ball = Linf(0.1, 0.0, 1.0)
    found = attack(masked, X, NOTHING, ball, numbers=NUMBERS, steps=5)
    np.testing.assert_array_equal(found.x, ball.random_start(X, NUMBERS))
    assert (fgsm(masked, X, NOTHING, ball) == X).all()


def test_momentum_with_a_gradient_of_zero_is_finite() -> None:
    found = pgd(masked, X, NOTHING, L2(0.1, 0, 1), numbers=NUMBERS, steps=5, momentum=0.9)
    assert np.isfinite(found.x).all()


def test_momentum_carries_the_search_on() -> None:
    """One gradient, then none: without momentum the search stops where the gradient does."""
    calls = []

    def once(x: Array, y: Any, *, gradient: bool = True) -> Any:
        answer = Linear(WEIGHTS)(x, y, gradient=gradient)
        calls.append(gradient)
        slope = answer.gradient if len(calls) == 1 else np.zeros_like(x)
        return answer._replace(gradient=slope if gradient else None)

    ball = Linf(0.4, 0.0, 1.0)
    options: dict[str, Any] = {"numbers": NUMBERS, "steps": 4, "step_size": 0.1}
    plain = pgd(once, X, NOTHING, ball, **options)
    calls.clear()
    carried = pgd(once, X, NOTHING, ball, momentum=1.0, **options)
    assert (carried.loss > plain.loss + 0.5).all()
    assert calls == [True] * 4 + [False]


def test_square_sees_through_a_masked_gradient() -> None:
    found = square(masked, X, NOTHING, Linf(0.1, 0.0, 1.0), numbers=NUMBERS, queries=100)
    # The loss counts every element alike; it is broken, and so left alone, from 1.0 on.
    assert found.margin is not None
    assert (found.margin <= 0).all()


def test_no_answer_at_all_still_gives_a_point_of_the_ball() -> None:
    ball = L2(0.1, 0.0, 1.0)
    for attack in (pgd, apgd):
        found = attack(undefined, X, NOTHING, ball, numbers=NUMBERS, steps=3)
        assert np.isfinite(found.x).all()
        assert (found.loss == -np.inf).all()
        assert found.unbroken.all()


def test_fgsm_leaves_the_point_where_the_objective_is_flat_if_told_to() -> None:
    ball, y = Linf(0.1, 0.0, 1.0), {"reference": X}
    np.testing.assert_array_equal(fgsm(distance, X, y, ball), X)
    found = fgsm(distance, X, y, ball, numbers=NUMBERS)
    np.testing.assert_allclose(np.abs(found - X), 0.1)
    np.testing.assert_array_equal(np.sign(found - X), np.sign(ball.random_start(X, NUMBERS) - X))


def test_an_oracle_without_gradient_is_refused_with_what_works() -> None:
    def blind(x: Array, y: Any, *, gradient: bool = True) -> Any:
        return masked(x, y, gradient=False)

    ball = Linf(0.1, 0.0, 1.0)
    for attack in (fgsm, fast, pgd, apgd, trades):
        with pytest.raises(DataError, match=r"\(gradient: None\); the attack 'square' and the"):
            attack(blind, X, NOTHING, ball, numbers=NUMBERS)
    assert square(blind, X, NOTHING, ball, numbers=NUMBERS, queries=1).loss.shape == (3,)


@pytest.mark.parametrize("attack", [pgd, apgd])
def test_no_restarts_are_refused(attack: Any) -> None:
    with pytest.raises(DataError, match="0 restarts"):
        attack(masked, X, NOTHING, Linf(0.1, 0, 1), numbers=NUMBERS, restarts=0)
