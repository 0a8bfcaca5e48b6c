"""GridSample and AffineGrid against ONNX Runtime."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from lsa_trainer.ops.registry import why_not
from lsa_trainer.ops.sampling import affine_grid, grid_sample
from tests.graphs import samples
from tests.trainer.one_operator import Array, compare, slope_error

PADDINGS = pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
ALIGNED = pytest.mark.parametrize("align", [0, 1])


def grid(seed: int, *shape: int, dtype: str = "float32") -> Array:
    """Points of which some are far outside of −1 to 1, and many halfway between two pixels."""
    drawn = np.random.default_rng(seed).standard_normal(shape) * 1.3
    return (np.round(drawn * 4) / 4).astype(dtype)


@ALIGNED
@PADDINGS
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_images(mode: str, padding: str, align: int) -> None:
    how: dict[str, Any] = {"padding_mode": padding, "align_corners": align}
    for height, width in ((4, 6), (5, 1)):
        given = [samples(0, 2, 3, height, width), grid(1, 2, 3, 4, 2)]
        compare("GridSample", given, opset=20, tolerance=1e-4, mode=mode, **how)
        old = mode if mode == "nearest" else f"bi{mode}"
        compare("GridSample", given, opset=16, tolerance=1e-4, mode=old, **how)


@ALIGNED
@PADDINGS
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_volumes(mode: str, padding: str, align: int) -> None:
    given = [samples(0, 2, 3, 4, 2, 6), grid(1, 2, 3, 2, 5, 3)]
    how: dict[str, Any] = {"padding_mode": padding, "align_corners": align}
    compare("GridSample", given, opset=20, tolerance=1e-4, mode=mode, **how)


@pytest.mark.parametrize(("x", "points"), [("float16", "float32"), ("float16", "float16")])
def test_half_precision(x: str, points: str) -> None:
    given = [samples(0, 2, 3, 4, 5, dtype=x), grid(1, 2, 3, 4, 2, dtype=points)]
    compare("GridSample", given, opset=20, tolerance=2e-3)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_slopes_of_the_image_and_of_the_grid(mode: str) -> None:
    x = torch.rand(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    points = torch.rand(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    slope_error(partial(grid_sample, mode=mode), x, points)


def test_names_that_onnx_does_not_define() -> None:
    wrong = helper.make_node("GridSample", ["x", "g"], ["y"], mode="area")
    assert why_not(wrong, 20) == "mode 'area' is none of bilinear, linear, nearest, bicubic, cubic"
    wrong = helper.make_node("GridSample", ["x", "g"], ["y"], padding_mode="wrap")
    assert why_not(wrong, 20) == "padding_mode 'wrap' is none of zeros, border, reflection"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=3), st.integers(0, 1))
def test_affine_grids(size: list[int], align: int) -> None:
    axes = len(size)
    theta = samples(axes, 2, axes, axes + 1) - np.float32(0.5)
    compare("AffineGrid", [theta, np.array([2, 3, *size])], opset=20, align_corners=align)


def test_the_slope_of_an_affine_grid() -> None:
    theta = torch.rand(2, 2, 3, dtype=torch.float64, requires_grad=True)
    slope_error(partial(affine_grid, size=[2, 1, 3, 4]), theta)
