"""APGD against its paper, and against a plain transcript of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.attacks import L2, Answer, Ball, Linf, SampleRandomness, apgd
from lsa_onnx.attacks.apgd_steps import checkpoints
from tests.attacks.oracles import Linear, Mlp, mlp_batch

Array = NDArray[Any]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, [0, 22, 41, 57, 70, 80, 87, 93, 99]),
        (1000, [0, 220, 410, 570, 700, 800, 870, 930, 990]),
        (10, [0, 3, 5, 6, 7, 8, 9, 10, 10]),
        (1, [0, 1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_checkpoints_are_those_of_the_paper(steps: int, expected: list[int]) -> None:
    assert checkpoints(steps) == expected


def transcript(oracle: Any, x: Array, ball: Ball, start: Array, steps: int) -> tuple[Array, float]:
    """Algorithm 1 of Croce & Hein 2020 for one sample; the result is the point of highest loss."""
    y: dict[str, Array] = {}
    marks = set(checkpoints(steps)[1:])
    points, losses = [start], [float(oracle(start, y).loss[0])]
    best, best_loss = start, losses[0]
    size, last_mark = 2 * ball.eps, 0
    size_then, best_then = None, None
    rises = 0
    for k in range(steps):
        here = points[-1]
        step = ball.project(here + size * ball.ascent(oracle(here, y).gradient, here), x)
        if k > 0:
            step = ball.project(
                here + 0.75 * (step - here) + 0.25 * (here - points[-2]),
                x,
            )
        loss = float(oracle(step, y).loss[0])
        rises += loss > losses[-1]
        if loss > best_loss:
            best, best_loss = step, loss
        points.append(step)
        losses.append(loss)
        if k + 1 in marks:
            first = rises < 0.75 * (k + 1 - last_mark)
            second = size_then == size and best_then == best_loss
            size_then, best_then = size, best_loss
            if first or second:
                size /= 2
                points[-1], losses[-1] = best, best_loss
            last_mark, rises = k + 1, 0
    return best, best_loss


@pytest.mark.parametrize("ball", [Linf(0.2, 0.0, 1.0), L2(0.5, 0.0, 1.0)], ids=["linf", "l2"])
@pytest.mark.parametrize("steps", [10, 60])
def test_follows_the_algorithm_step_by_step(ball: Ball, steps: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(0.2, 0.8, (6, 2, 5))
    weights = rng.standard_normal((2, 5))

    def waves(x: Array, y: Any, *, gradient: bool = True) -> Answer:
        """Many maxima, so that steps overshoot and are halved."""
        inner = 20 * x * weights
        loss = np.sin(inner).reshape(len(x), -1).sum(axis=1)
        return Answer(loss, 20 * weights * np.cos(inner) if gradient else None, None)

    numbers = SampleRandomness.of_batch(0, 0, len(x))
    found = apgd(waves, x, {}, ball, numbers=numbers, steps=steps)
    starts = ball.random_start(x, numbers)
    for index in range(len(x)):
        row = slice(index, index + 1)
        best, loss = transcript(waves, x[row], ball, starts[row], steps)
        np.testing.assert_allclose(found.x[row], best, atol=1e-12)
        assert found.loss[index] == pytest.approx(loss)


def test_a_step_size_is_halved_where_it_is_too_long() -> None:
    """Steps of 2 eps cross a narrow peak for ever; halved ones come to rest on it."""

    def peak(x: Array, y: Any, *, gradient: bool = True) -> Answer:
        away = x - 0.513
        return Answer(-np.abs(away).sum(axis=1), -np.sign(away) if gradient else None, None)

    numbers = SampleRandomness.of_batch(0, 0, 3)
    x = np.full((3, 4), 0.5)
    losses = [
        apgd(peak, x, {}, Linf(0.3, 0, 1), numbers=numbers, steps=steps).loss.min()
        for steps in (20, 100, 400)
    ]
    assert losses[0] < losses[1] < losses[2]
    assert losses[2] > -0.02


def test_one_gradient_for_each_step_and_one_look_at_the_end() -> None:
    calls = []

    def counting(x: Array, y: Any, *, gradient: bool = True) -> Answer:
        calls.append(gradient)
        return Linear(np.ones(3))(x, y, gradient=gradient)

    numbers = SampleRandomness.of_batch(0, 0, 2)
    apgd(counting, np.full((2, 3), 0.5), {}, Linf(0.1, 0, 1), numbers=numbers, steps=5)
    assert calls == [True] * 5 + [False]


def test_dlr_breaks_what_a_saturated_cross_entropy_hides() -> None:
    """Logits of thousands: the softmax is exactly one-hot and its gradient zero."""
    batch = mlp_batch((30, 10), np.float32)
    network = Mlp(10)
    network.second *= 5000
    numbers, ball = SampleRandomness.of_batch(0, 0, 30), Linf(0.05, 0.0, 1.0)
    broken = {
        objective: int(
            (
                ~apgd(
                    network.oracle(objective), batch.x, batch.goal, ball, numbers=numbers
                ).unbroken
            ).sum()
        )
        for objective in ("ce", "dlr", "margin")
    }
    assert broken["ce"] < broken["dlr"] <= broken["margin"] + 2
