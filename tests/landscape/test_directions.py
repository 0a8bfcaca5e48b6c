"""The two directions of an input landscape: where they come from, and the points between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.attacks import Answer, Batch, Fgsm, Goal
from lsa_onnx.landscape.curvature import gradient_change
from lsa_onnx.landscape.directions import open_plane
from tests import graphs

Array = NDArray[Any]

X = graphs.samples(5, 6, 3, 2, 4)


def batch(x: Array, *, start: int = 0, axis: int | None = 1) -> Batch:
    return Batch(x, np.zeros(len(x), np.int64), start, 0.0, 1.0, channel_axis=axis)


def cubic(x: Any, y: Goal, *, gradient: bool = True) -> Answer:
    """ℓ = Σ (x − 1/2)³ / 3, of gradient (x − 1/2)²: nowhere below 0."""
    flat = x.reshape(len(x), -1) - 0.5
    return Answer((flat**3).sum(axis=1) / 3, (x - 0.5) ** 2 if gradient else None, None)


def test_the_first_direction_is_the_sign_of_the_gradient() -> None:
    x = X.copy()
    x[1] = 0.5
    x[0, 0, 0, 0] = 0.5
    plane = open_plane(Fgsm(eps=0.1), cubic, batch(x))
    assert plane.ascent.tolist() == np.where(x == 0.5, 0, 1).tolist()
    assert plane.flat.tolist() == [False, True, False, False, False, False]


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_the_second_direction_depends_on_seed_and_position_alone(cut: int, seed: int) -> None:
    attack = Fgsm(eps=0.1, seed=seed)
    whole = open_plane(attack, cubic, batch(X)).random
    parts = [
        open_plane(attack, cubic, batch(X[rows], start=rows.start)).random
        for rows in (slice(0, cut), slice(cut, 6))
    ]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert set(np.unique(whole)) == {-1.0, 1.0}
    assert not np.array_equal(whole[0], whole[1])


def test_models_of_either_layout_move_the_same_pixel_alike() -> None:
    first = open_plane(Fgsm(eps=0.1), cubic, batch(X)).random
    last = open_plane(Fgsm(eps=0.1), cubic, batch(np.moveaxis(X, 1, -1), axis=3)).random
    assert np.moveaxis(last, -1, 1).tolist() == first.tolist()


@settings(max_examples=25, deadline=None)
@given(a=st.floats(-0.5, 0.5, width=32), b=st.floats(-0.5, 0.5, width=32))
def test_points_stay_in_the_range_and_within_both_distances(a: float, b: float) -> None:
    plane = open_plane(Fgsm(eps=0.5), cubic, batch(X))
    point = plane.point(a, b)
    assert (point.dtype, point.shape) == (X.dtype, X.shape)
    assert point.min() >= 0
    assert point.max() <= 1
    assert np.abs(point - X).max() <= abs(a) + abs(b) + 1e-6
    free = X + np.float32(a) * plane.ascent + np.float32(b) * plane.random
    inside = (free >= 0) & (free <= 1)
    assert point[inside] == pytest.approx(free[inside])
    assert plane.along(a) == pytest.approx(X + np.float32(a) * plane.ascent)


def test_the_change_of_the_gradient_by_hand() -> None:
    plane = open_plane(Fgsm(eps=0.1), cubic, batch(X))
    step = 0.125
    # (x + s − 1/2)² − (x − 1/2)² = s (2 x − 1 + s), over s √d.
    expected = np.linalg.norm((2 * X - 1 + step).reshape(6, -1), axis=1) / np.sqrt(24)
    assert gradient_change(cubic, {}, plane, step) == pytest.approx(expected, rel=1e-4)
    flat = open_plane(Fgsm(eps=0.1), cubic, batch(np.full_like(X, 0.5)))
    assert np.isnan(gradient_change(cubic, {}, flat, step)).all()
