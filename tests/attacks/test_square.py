"""Square: windows of any shape of data, the schedule, and who is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.attacks import L1, L2, Answer, Linf, SampleRandomness, square
from lsa_onnx.attacks.planes import Planes, Windows, bumps, tiles
from lsa_onnx.attacks.square import share_at
from lsa_onnx.errors import DataError
from tests.attacks.oracles import Linear, true_norms

Array = NDArray[Any]

LAYOUTS = [((3, 5, 7), 1), ((5, 7, 3), 3), ((4, 9), 1), ((4, 9), None), ((11,), None), ((1,), None)]


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((3, 5, 7), 1, (3, 5, 7)),
        ((5, 7, 3), 3, (3, 5, 7)),
        ((3, 9), 1, (3, 1, 9)),
        ((2, 3, 4, 5), 1, (2, 12, 5)),
        ((3, 5, 7), None, (1, 1, 105)),
        ((6,), None, (1, 1, 6)),
        ((6,), 1, (1, 1, 6)),
        ((), None, (1, 1, 1)),
    ],
)
def test_planes_of_any_shape(
    shape: tuple[int, ...], axis: int | None, expected: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).random((2, *shape))
    planes = Planes.of(x, axis)
    split = planes.split(x)
    assert split.shape == (2, *expected)
    np.testing.assert_array_equal(planes.join(split), x)


def test_channels_last_are_the_same_pixels() -> None:
    x = np.random.default_rng(0).random((2, 5, 7, 3))
    first = np.moveaxis(x, 3, 1)
    np.testing.assert_array_equal(Planes.of(x, 3).split(x), Planes.of(first, 1).split(first))


def test_windows_have_the_share_that_is_asked_for() -> None:
    image = Planes.of(np.zeros((1, 3, 20, 30)), 1)
    assert image.window(0.5) == (17, 17)
    assert image.window(0.9) == (20, 20)  # no larger than the shorter side
    assert image.window(1e-6) == (1, 1)
    assert image.window(1e-6, least=3) == (3, 3)
    row = Planes.of(np.zeros((1, 40)), None)
    assert row.window(0.25) == (1, 10)
    assert Planes.of(np.zeros((1, 2)), None).window(0.1, least=3) == (1, 2)


def test_windows_lie_inside_and_reach_every_corner() -> None:
    planes = Planes.of(np.zeros((1, 1, 4, 6)), 1)
    uniform = np.random.default_rng(0).random((400, 2)).astype(np.float32)
    uniform[0] = 1 - 2.0**-24
    masks = Windows.at_random(planes, (2, 3), uniform).mask()
    assert masks.shape == (400, 1, 4, 6)
    assert (masks.sum(axis=(1, 2, 3)) == 6).all()
    assert (masks.sum(axis=0)[0, [0, 0, -1, -1], [0, -1, 0, -1]] > 0).all()
    assert masks[0, 0, -1, -1]
    assert len({mask.tobytes() for mask in masks}) == 3 * 4


def test_patterns_land_in_their_windows() -> None:
    planes = Planes.of(np.zeros((1, 1, 3, 4)), 1)
    windows = Windows.at_random(planes, (2, 2), np.array([[0.0, 0.99], [0.99, 0.0]]))
    patterns = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    laid = windows.pick(patterns, np.array([0, 1])) * windows.mask()
    assert laid[0, 0].tolist() == [[0, 0, 1, 2], [0, 0, 3, 4], [0, 0, 0, 0]]
    assert laid[1, 0].tolist() == [[0, 0, 0, 0], [5, 6, 0, 0], [7, 8, 0, 0]]


@pytest.mark.parametrize("size", [(5, 5), (4, 4), (1, 6), (1, 1), (3, 3)])
def test_bumps_have_unit_norm_and_two_sides(size: tuple[int, int]) -> None:
    both = bumps(*size)
    assert both.shape == (2, *size)
    np.testing.assert_allclose(np.linalg.norm(both, axis=(1, 2)), 1)
    if size != (1, 1):
        assert ((both > 0).any(axis=(1, 2)) & (both < 0).any(axis=(1, 2))).all()
    if size[0] == size[1] and size[0] > 1:
        np.testing.assert_array_equal(both[1], both[0].T)


def test_a_bump_by_hand() -> None:
    # Each half is one row, of one rectangle of 1 about its centre and one of 1/4 about that.
    row = np.array([0.25, 1.25, 0.25])
    unit = row / np.linalg.norm(row) / np.sqrt(2)
    np.testing.assert_allclose(bumps(2, 3)[0], [unit, -unit])


def test_tiles_cover_the_middle() -> None:
    pattern, number, count = tiles(Planes.of(np.zeros((1, 3, 11, 13)), 1))
    assert (pattern.shape, number.shape, count) == ((11, 13), (11, 13), 5 * 6)
    assert (pattern != 0).sum() == 30 * 4
    assert set(number[pattern != 0].tolist()) == set(range(30))


def test_the_share_halves_as_in_the_paper() -> None:
    shares = [share_at(query, 10_000, 0.8) for query in (0, 10, 11, 51, 201, 501, 1001, 9999)]
    assert shares == [0.8, 0.8, 0.4, 0.2, 0.1, 0.05, 0.025, 0.8 / 512]
    assert share_at(11, 1000, 0.8) == share_at(110, 10_000, 0.8)


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
@pytest.mark.parametrize("norm", [Linf, L2])
def test_comes_near_the_optimum_of_a_linear_loss(
    shape: tuple[int, ...], axis: int | None, norm: Any
) -> None:
    weights = np.random.default_rng(4).standard_normal(shape)
    x = np.full((4, *shape), 0.5, np.float32)
    ball = norm(0.2, 0.0, 1.0)
    numbers = SampleRandomness.of_batch(0, 0, 4)
    found = square(Linear(weights), x, {}, ball, numbers=numbers, queries=600, channel_axis=axis)
    gains = ((found.x - x) * weights).reshape(4, -1).sum(axis=1)
    best = 0.2 * (np.abs(weights).sum() if ball.p == "linf" else np.linalg.norm(weights))
    assert (gains >= (0.85 if ball.p == "linf" else 0.4) * best).all(), gains / best
    np.testing.assert_allclose(true_norms(found.x - x, ball.p), 0.2, rtol=1e-5)


def test_layouts_get_the_same_search() -> None:
    weights = np.random.default_rng(4).standard_normal((3, 5, 7))
    x = np.full((2, 3, 5, 7), 0.5)
    numbers = SampleRandomness.of_batch(0, 0, 2)
    options: dict[str, Any] = {"numbers": numbers, "queries": 30}
    ball = L2(0.2, 0.0, 1.0)
    first = square(Linear(weights), x, {}, ball, channel_axis=1, **options)
    moved = np.moveaxis(weights, 0, -1)
    last = square(Linear(moved), np.moveaxis(x, 1, -1), {}, ball, channel_axis=3, **options)
    np.testing.assert_allclose(np.moveaxis(last.x, -1, 1), first.x, atol=1e-12)


def test_only_unbroken_samples_are_asked_again() -> None:
    asked: list[list[int]] = []

    def oracle(x: Array, y: Any, *, gradient: bool = True) -> Answer:
        assert not gradient
        asked.append(y["sample"].tolist())
        # Sample k is broken at the k-th look.
        margin = np.where(y["sample"] < len(asked), -1.0, 1.0)
        return Answer(-margin, None, margin)

    x = np.full((4, 6), 0.5)
    numbers = SampleRandomness.of_batch(0, 0, 4)
    goal = {"sample": np.arange(4)}
    found = square(oracle, x, goal, Linf(0.1, 0, 1), numbers=numbers, queries=50)
    assert asked == [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]
    assert found.margin is not None
    assert (found.margin == -1).all()


@pytest.mark.parametrize("queries", [1, 31, 32, 33, 70])
def test_queries_are_counted(queries: int) -> None:
    oracle = Linear(np.ones(6))
    numbers = SampleRandomness.of_batch(0, 0, 2)
    square(oracle, np.full((2, 6), 0.5), {}, Linf(0.1, 0, 1), numbers=numbers, queries=queries)
    assert oracle.queries == 2 * (queries + 1)


def test_other_norms_are_refused() -> None:
    with pytest.raises(DataError, match="'square' does not work in the l1 norm; it takes linf and"):
        square(
            Linear(np.ones(2)),
            np.zeros((1, 2)),
            {},
            L1(0.1, 0, 1),
            numbers=SampleRandomness.of_batch(0, 0, 1),
        )
