"""Operators whose results are as long as the data says, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_trainer.ops import selection as ops
from tests.trainer.one_operator import Array, compare, on_torch


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_non_zero(dtype: str) -> None:
    compare("NonZero", [(np.arange(24).reshape(2, 3, 4) % 5 // 2).astype(dtype)])


def test_non_zero_of_other_inputs() -> None:
    compare("NonZero", [np.zeros((2, 3), np.float32)])
    (scalar,) = on_torch("NonZero", [np.array(3.0)])
    assert scalar.tolist() == [[0]]
    (wide,) = on_torch("NonZero", [np.array([0, 60000], np.uint16)])
    assert wide.dtype == np.int64
    assert wide.tolist() == [[1]]


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("kept", [[False, True], [True, False, True], [False]])
def test_compress(axis: int | None, kept: list[bool]) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    compare("Compress", [x, np.array(kept)], **({} if axis is None else {"axis": axis}))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    axis=st.sampled_from([None, 0, -1]),
    in_order=st.integers(0, 1),
    dtype=st.sampled_from(["float32", "int64", "int8"]),
    seed=st.integers(0, 99),
)
def test_unique(shape: list[int], axis: int | None, in_order: int, dtype: str, seed: int) -> None:
    if axis is not None:
        # Slices without entries have no order.
        shape = [max(n, 1) for n in shape]
    x = np.random.default_rng(seed).integers(-1, 2, shape).astype(dtype)
    attributes = {} if axis is None else {"axis": axis}
    compare("Unique", [x], outputs=4, sorted=in_order, **attributes)


def test_unique_in_the_order_of_first_occurrence() -> None:
    values, first, inverse, counts = on_torch(
        "Unique", [np.array([2, 1, 1, 3, 4, 3])], outputs=4, sorted=0
    )
    assert values.tolist() == [2, 1, 3, 4]
    assert first.tolist() == [0, 1, 3, 4]
    assert inverse.tolist() == [0, 1, 1, 2, 3, 2]
    assert counts.tolist() == [1, 2, 2, 1]


# Boxes that overlap


def boxes(seed: int, samples: int, classes: int, count: int) -> tuple[Array, Array]:
    """Boxes on a coarse grid, also empty and mirrored ones, with scores that often tie."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 5, (samples, count, 4)).astype(np.float32)
    return corners, (rng.integers(-3, 4, (samples, classes, count)) / 4).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)),
    limit=st.integers(0, 9),
    overlap=st.sampled_from([0, 0.25, 0.5, 1]),
    floor=st.sampled_from([None, -0.5, 0, 0.5, 9]),
    center=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_non_max_suppression(
    sizes: tuple[int, int, int],
    limit: int,
    overlap: float,
    floor: float | None,
    center: int,
    seed: int,
) -> None:
    thresholds = [np.array([n], np.float32) for n in (overlap, floor) if n is not None]
    compare(
        "NonMaxSuppression",
        [*boxes(seed, *sizes), np.array([limit]), *thresholds],
        center_point_box=center,
    )


def test_a_lesser_box_inside_a_better_one_goes() -> None:
    corners = torch.tensor([[[0, 0, 2, 2], [0, 0, 2, 1.8], [3, 3, 4, 4.0]]])
    scores = torch.tensor([[[0.5, 0.9, 0.7]]])
    kept = ops.non_max_suppression(corners, scores, [9], [0.5])
    assert kept.tolist() == [[0, 0, 1], [0, 0, 2]]


def test_no_box_is_kept_without_a_limit_or_without_boxes() -> None:
    corners, scores = (torch.from_numpy(a) for a in boxes(0, 2, 3, 4))
    assert ops.non_max_suppression(corners, scores).shape == (0, 3)
    kept = ops.non_max_suppression(corners[:, :0], scores[..., :0], [5])
    assert (kept.shape, kept.dtype) == ((0, 3), torch.int64)
