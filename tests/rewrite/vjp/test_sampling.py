"""Adjoints of sampling at points, by the image and by the points, against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rewrite.gradients import check, pulled_back, runner
from tests.rewrite.vjp.one_node import Array, check_both, normal, one_node

FREE = pytest.mark.parametrize("free", [False, True])
ALIGN = pytest.mark.parametrize("align_corners", [0, 1])
PADDINGS = pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
# The modes have these names as of this opset.
OPSET = 20


def points(seed: int, lengths: tuple[int, ...], align_corners: int, *shape: int) -> Array:
    """Points inside, at the border of and outside an image, none of them at a kink.

    They lie 0.1 to 0.4 or 0.6 to 0.9 of a pixel behind one.
    """
    rng = np.random.default_rng(seed)
    coordinates = []
    for length in reversed(lengths):
        pixel = rng.integers(-3, length + 3, shape) + rng.uniform(0.1, 0.4, shape)
        pixel += rng.choice([0, 0.5], shape)
        if align_corners:
            coordinates.append(2 * pixel / max(length - 1, 1) - 1)
        else:
            coordinates.append((2 * pixel + 1) / length - 1)
    return np.stack(coordinates, axis=-1)


def sampled(x: Array, grid: Array, **how: Any) -> tuple[Any, dict[str, Array]]:
    feeds = {"x": x, "grid": grid}
    return one_node("GridSample", feeds, **{"opset": OPSET, "element": str(x.dtype), **how}), feeds


@FREE
@ALIGN
@PADDINGS
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_grid_sample(mode: str, padding: str, align_corners: int, free: bool) -> None:
    how: Any = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    grid = points(1, (4, 5), align_corners, 2, 3, 6)
    check_both(*sampled(normal(0, 2, 3, 4, 5), grid, free=free, **how))


@ALIGN
@PADDINGS
def test_the_nearest_pixel_gets_everything(padding: str, align_corners: int) -> None:
    how: Any = {"mode": "nearest", "padding_mode": padding, "align_corners": align_corners}
    proto, feeds = sampled(normal(2, 2, 3, 4, 5), points(3, (4, 5), align_corners, 2, 3, 6), **how)
    check(proto, feeds, wrt=["x"])
    _, gradients, _ = pulled_back(proto, ["x", "grid"])
    assert list(gradients) == ["x"]


@FREE
@ALIGN
@PADDINGS
def test_grid_sample_of_volumes(padding: str, align_corners: int, free: bool) -> None:
    how: Any = {"mode": "linear", "padding_mode": padding, "align_corners": align_corners}
    grid = points(4, (3, 4, 5), align_corners, 2, 2, 3, 4)
    check_both(*sampled(normal(5, 2, 2, 3, 4, 5), grid, free=free, **how))


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize(
    ("padding", "align_corners"),
    [("zeros", 0), ("zeros", 1), ("border", 0), ("border", 1), ("reflection", 0)],
)
def test_single_rows_and_columns(mode: str, padding: str, align_corners: int) -> None:
    how: Any = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    for lengths in ((1, 4), (3, 1)):
        grid = points(6, lengths, align_corners, 2, 3, 4)
        check(*sampled(normal(7, 2, 2, *lengths), grid, **how), wrt=["x"])


def test_a_single_pixel_reflected_at_its_centre_gets_everything() -> None:
    """ONNX Runtime's forward pass divides by 0 here; the adjoint must not."""
    how: Any = {"mode": "linear", "padding_mode": "reflection", "align_corners": 1}
    proto, feeds = sampled(normal(7, 2, 2, 1, 1), points(6, (1, 1), 1, 2, 3, 4), **how)
    written, gradients, seeds = pulled_back(proto, ["x"])
    dy = normal(8, 2, 2, 3, 4)
    found = runner(written)({**feeds, seeds["y"]: dy})[gradients["x"]]
    np.testing.assert_allclose(found, dy.sum(axis=(2, 3), keepdims=True), atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new"), [("bilinear", "linear"), ("bicubic", "cubic"), ("nearest", "nearest")]
)
def test_names_of_modes_before_opset_20(old: str, new: str) -> None:
    x, grid = normal(8, 2, 3, 4, 5), points(9, (4, 5), 0, 2, 3, 6)
    single = [array.astype(np.float32) for array in (x, grid)]
    found = []
    for mode, opset in ((old, 18), (new, OPSET)):
        proto, feeds = sampled(*single, mode=mode, opset=opset)
        written, gradients, seeds = pulled_back(proto, ["x", "grid"])
        dy = normal(10, 2, 3, 3, 6).astype(np.float32)
        run = runner(written)({**feeds, seeds["y"]: dy})
        found.append({name: run[gradient] for name, gradient in gradients.items()})
    assert list(found[0]) == list(found[1])
    for name, adjoint in found[0].items():
        np.testing.assert_array_equal(adjoint, found[1][name])


def test_a_point_between_four_pixels_by_hand() -> None:
    """A quarter of a pixel right of and half a pixel below pixel (0, 0), of an image of 2 × 3."""
    x = np.array([[[[1.0, 5, 0], [2, 4, 0]]]])
    grid = np.array([[[[0.25 - 1, 0.0]]]])
    proto, feeds = sampled(x, grid, align_corners=1)
    written, gradients, seeds = pulled_back(proto, ["x", "grid"])
    run = runner(written)({**feeds, seeds["y"]: np.full((1, 1, 1, 1), 8.0)})
    assert run[gradients["x"]].tolist() == [[[[3.0, 1, 0], [3, 1, 0]]]]
    # To the right: half of 5 − 1 and of 4 − 2; down: 3/4 of 2 − 1 and 1/4 of 4 − 5, half a unit each.
    assert run[gradients["grid"]].tolist() == [[[[8 * 3.0, 8 * 0.5 / 2]]]]


@ALIGN
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("extent", [(4, 5), (2, 3, 4)])
def test_affine_grid(extent: tuple[int, ...], free: bool, align_corners: int) -> None:
    theta = {"theta": normal(11, 2, len(extent), len(extent) + 1)}
    size = {"size": np.array([2, 3, *extent])}
    how: Any = {"align_corners": align_corners, "opset": OPSET}
    check_both(one_node("AffineGrid", theta, size, free=free, **how), theta, step=0.5)
    # The size known at run time only.
    check_both(one_node("AffineGrid", theta | size, **how), theta | size, step=0.5)
