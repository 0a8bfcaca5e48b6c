"""Pooling of regions against ONNX Runtime."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_trainer.ops.regions import max_roi_pool, roi_align
from tests.graphs import samples
from tests.trainer.one_operator import Array, compare, slope_error

# Two of them reach out of the image, one is turned around, one is a point.
ROIS = np.array(
    [[1, 1, 4, 4], [-3, 0.5, 9, 2], [5, 3, 2, 1], [2, 2, 2, 2], [0.3, 0.1, 6.7, 4.9]], np.float32
)
IMAGES = np.array([0, 1, 1, 0, 1])


def maps(height: int = 5, width: int = 7) -> Array:
    return samples(0, 2, 3, height, width) - np.float32(0.5)


@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_roi_align_with_fixed_and_adaptive_samples(coordinates: str, mode: str, ratio: int) -> None:
    compare(
        "RoiAlign",
        [maps(), ROIS, IMAGES],
        coordinate_transformation_mode=coordinates,
        mode=mode,
        output_height=2,
        output_width=3,
        sampling_ratio=ratio,
        spatial_scale=0.9,
    )


def test_roi_align_defaults_and_no_regions_at_all() -> None:
    compare("RoiAlign", [maps(), ROIS, IMAGES])
    for mode in ("avg", "max"):
        compare("RoiAlign", [maps(), ROIS[:0], IMAGES[:0]], mode=mode, output_height=2)


@settings(max_examples=40, deadline=None)
@given(
    corners=st.lists(st.floats(-4, 12, width=16), min_size=4, max_size=4).map(sorted),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    cells=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    ratio=st.integers(0, 3),
)
def test_any_region(
    corners: list[float], size: tuple[int, int], cells: tuple[int, int], ratio: int
) -> None:
    rois = np.array([corners], np.float32)[:, [0, 1, 3, 2]]
    how = {"output_height": cells[0], "output_width": cells[1], "sampling_ratio": ratio}
    compare("RoiAlign", [maps(*size), rois, IMAGES[1:2]], tolerance=1e-4, **how)
    numbered = np.concatenate([np.ones((1, 1), np.float32), rois], axis=1)
    compare("MaxRoiPool", [maps(*size), numbered], pooled_shape=list(cells))


def test_max_roi_pool_of_scaled_regions() -> None:
    rois = np.concatenate([IMAGES[:, None], ROIS], axis=1).astype(np.float32)
    compare("MaxRoiPool", [maps(), rois], pooled_shape=[2, 3], spatial_scale=0.5)
    compare("MaxRoiPool", [maps(), rois[:0]], pooled_shape=[2, 3])


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_slopes_by_the_image_and_the_regions(mode: str) -> None:
    x = torch.from_numpy(maps().astype(np.float64)).requires_grad_()
    rois = torch.from_numpy(ROIS[[0, 4]].astype(np.float64)).requires_grad_()
    images = torch.from_numpy(IMAGES[[0, 4]])
    sizes: dict[str, Any] = {"output_height": 2, "output_width": 2, "sampling_ratio": 2}
    slope_error(partial(roi_align, batch_indices=images, mode=mode, **sizes), x, rois)


def test_slopes_of_max_roi_pool() -> None:
    x = torch.from_numpy(maps().astype(np.float64)).requires_grad_()
    rois = torch.tensor([[0.0, 1, 1, 5, 3], [1.0, 0, 0, 2, 4]], dtype=torch.float64)
    slope_error(partial(max_roi_pool, rois=rois, pooled_shape=[2, 2]), x)
