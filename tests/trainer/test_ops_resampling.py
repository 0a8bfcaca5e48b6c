"""Resize against ONNX Runtime, which knows single precision, half precision and some whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from lsa_trainer.ops.registry import why_not
from lsa_trainer.ops.resampling import resize
from tests.graphs import samples
from tests.trainer.one_operator import Array, compare, slope_error

CENTRED = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"]
COORDINATES = [*CENTRED, "align_corners", "asymmetric", "tf_crop_and_resize"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
# As of this opset half_pixel_symmetric is known.
OPSET = 19


def inputs(
    x: Array,
    scales: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    roi: Sequence[float] | None = None,
) -> list[Array | None]:
    """Those of a Resize, without the ones that are left out at the end."""
    given: list[Array | None] = [
        x,
        None if roi is None else np.array(roi, np.float32),
        None if scales is None else np.array(scales, np.float32),
        None if sizes is None else np.array(sizes, np.int64),
    ]
    while given[-1] is None:
        given.pop()
    return given


@st.composite
def resizes(draw: st.DrawFn) -> tuple[list[Array | None], dict[str, Any]]:
    """The inputs and attributes of a Resize of two axes."""
    lengths = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    x = samples(draw(st.integers(0, 9)), 2, 3, *lengths)
    how: dict[str, Any] = {
        "mode": draw(st.sampled_from(["nearest", "linear", "cubic"])),
        "nearest_mode": draw(st.sampled_from(ROUNDINGS)),
        "coordinate_transformation_mode": draw(st.sampled_from(COORDINATES)),
        "cubic_coeff_a": draw(st.sampled_from([-0.75, -0.5])),
        "extrapolation_value": 7.0,
        "axes": draw(st.permutations([2, 3])),
    }
    if how["mode"] != "nearest":
        how["antialias"] = draw(st.integers(0, 1))
        how["exclude_outside"] = draw(st.integers(0, how["mode"] == "cubic"))
    edges = st.floats(-0.25, 1.25, width=32)
    roi = draw(st.lists(edges, min_size=4, max_size=4)) if "crop" in str(how) else None
    if draw(st.booleans()):
        factors = st.one_of(
            st.sampled_from([0.5, 1, 2, 3, 1 / 3, 0.7]), st.floats(0.25, 3, width=32)
        )
        scales = draw(st.tuples(factors, factors))
        pairs = zip(how["axes"], scales, strict=True)
        assume(all(np.floor(np.float32(s) * x.shape[axis]) for axis, s in pairs))
        return inputs(x, scales=scales, roi=roi), how
    policies = ["stretch", "not_larger", "not_smaller"]
    how["keep_aspect_ratio_policy"] = draw(st.sampled_from(policies))
    sizes = draw(st.tuples(st.integers(4, 14), st.integers(4, 14)))
    return inputs(x, sizes=sizes, roi=roi), how


@settings(max_examples=80, deadline=None)
@given(resizes())
def test_any_resize_is_that_of_onnx_runtime(
    case: tuple[list[Array | None], dict[str, Any]],
) -> None:
    compare("Resize", case[0], opset=OPSET, **case[1])


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("coordinates", COORDINATES[:-1])
def test_nearest_neighbours_where_a_coordinate_is_almost_whole(
    coordinates: str, rounding: str
) -> None:
    how: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    for before, after in ((7, 4), (6, 2), (49, 98), (5, 35), (41, 82), (12, 4), (3, 10), (5, 1)):
        x = np.arange(2 * before, dtype=np.float32).reshape(1, 2, 1, before)
        compare("Resize", inputs(x, sizes=[1, 2, 1, after]), opset=OPSET, **how)
        compare("Resize", inputs(x, scales=[1, 1, 1, after / before]), opset=OPSET, **how)


@pytest.mark.parametrize("coordinates", CENTRED)
@pytest.mark.parametrize(("mode", "shape"), [("linear", (2, 3, 5)), ("linear", (2, 1, 3, 2, 4))])
def test_one_and_three_axes(mode: str, shape: tuple[int, ...], coordinates: str) -> None:
    how: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    scales = [1, 1, *([1.5, 2.0, 3.0][: len(shape) - 2])]
    compare("Resize", inputs(samples(0, *shape), scales=scales), opset=OPSET, **how)


def test_any_axis_is_resized_by_nearest_neighbours() -> None:
    compare("Resize", inputs(samples(0, 2, 3, 4), scales=[2, 1.5, 0.5]), opset=OPSET)
    compare(
        "Resize", inputs(samples(0, 3, 4, 5), scales=[0.5, 2], roi=[]), opset=OPSET, axes=[0, 2]
    )


@pytest.mark.parametrize("how", [{}, {"mode": "linear"}, {"mode": "cubic"}])
def test_half_precision(how: dict[str, Any]) -> None:
    x = samples(1, 2, 3, 4, 6, dtype="float16")
    compare("Resize", inputs(x, scales=[1, 1, 2, 2]), opset=OPSET, tolerance=2e-3, **how)
    compare("Resize", inputs(x, sizes=[2, 3, 3, 8]), opset=OPSET, tolerance=2e-3, **how)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
@pytest.mark.parametrize("antialias", [0, 1])
def test_whole_numbers_are_cut_off_or_with_antialiasing_rounded(dtype: str, antialias: int) -> None:
    x = (samples(1, 2, 3, 4, 6) * 255).astype(dtype)
    for scales in ([1, 1, 2, 0.5], [1, 1, 0.5, 0.75]):
        given = inputs(x, scales=scales)
        compare("Resize", given, opset=OPSET, mode="linear", antialias=antialias)


def test_opset_18_and_names_without_axes() -> None:
    compare("Resize", inputs(samples(0, 2, 3, 4, 5), sizes=[2, 3, 8, 7]), opset=18, mode="cubic")


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "cubic", "antialias": 1},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
        {"mode": "nearest"},
    ],
)
def test_slopes(how: dict[str, Any]) -> None:
    x = torch.rand(2, 1, 4, 6, dtype=torch.float64, requires_grad=True)
    roi = [0.0, 0.0, 0.1, 0.2, 1.0, 1.0, 0.9, 1.1]
    slope_error(partial(resize, roi=roi, sizes=[2, 1, 3, 9], **how), x)


def test_names_that_onnx_does_not_define() -> None:
    wrong = helper.make_node("Resize", ["x"], ["y"], mode="area")
    assert why_not(wrong, OPSET) == "mode 'area' is none of nearest, linear, cubic"
    old = {"coordinate_transformation_mode": "tf_half_pixel_for_nn"}
    reason = why_not(helper.make_node("Resize", ["x"], ["y"], **old), OPSET)
    assert reason is not None
    assert "'tf_half_pixel_for_nn'" in reason
