"""Upsample and Resize of every age sample where they did."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.modernise import modernise
from tests import graphs
from tests.rewrite.modernised import assert_same, operators, single

X = graphs.samples(0, 2, 3, 4, 5)
# Interpolation weights are rounded once more or less.
REL = 1e-6


def resized(
    version: int, scales: list[float], *, known: bool = True, op: str = "Resize", **more: Any
) -> onnx.ModelProto:
    """The raised model of one node with these scales, an initializer or an input."""
    array = np.array(scales, np.float32)
    feeds = {"x": X} if known else {"x": X, "s": array}
    proto = single(op, feeds, version, inputs=["x", "s"], **more)
    if known:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, "s"))
    return assert_same(proto, feeds, rel=REL)


@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_with_an_attribute(version: int, mode: str) -> None:
    for scales in ([1.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.5, 2.3]):
        proto = single("Upsample", {"x": X}, version, mode=mode, scales=scales)
        assert operators(assert_same(proto, {"x": X}, rel=REL).graph) == ["Resize"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_with_an_input(mode: str, known: bool) -> None:
    raised = resized(9, [1, 1, 1.7, 2], op="Upsample", mode=mode, known=known)
    assert operators(raised.graph) == ["Resize"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("scales", "steps"), [([1, 1, 2, 2.5], 1), ([1, 1, 0.6, 0.5], 1), ([1, 1, 0.6, 2.9], 2)]
)
def test_resize_10_takes_the_sample_above_where_it_shrinks(
    scales: list[float], steps: int, known: bool
) -> None:
    raised = resized(10, scales, known=known)
    assert operators(raised.graph).count("Resize") == (steps if known else 2)


@pytest.mark.parametrize("scales", [[1, 1, 2, 2.5], [1, 1, 0.6, 0.5], [1, 1, 0.6, 1.9]])
def test_resize_10_interpolates_in_one_step(scales: list[float]) -> None:
    assert operators(resized(10, scales, mode="linear").graph) == ["Resize"]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 3), st.floats(0.3, 3), st.booleans())
def test_resize_10_at_any_scale(height: float, width: float, known: bool) -> None:
    mixed = min(height, width) < 1 < max(height, width) < 2
    if mixed and known:
        with pytest.raises(ModelError, match="Resize 'n_y': no Resize shrinks and grows by"):
            resized(10, [1, 1, height, width])
    elif not mixed:
        resized(10, [1, 1, height, width], known=known)


def test_the_scales_of_a_constant_node_are_read() -> None:
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 0.6, 0.5], np.float32))
    nodes = [
        graphs.node("Constant", [], ["s"], value=scales),
        graphs.node("Resize", ["x", "s"], ["y"]),
    ]
    inputs, outputs = [graphs.value("x", [2, 3, 4, 5])], [graphs.value("y", None)]
    proto = graphs.model(nodes, inputs, outputs, opset=10)
    assert operators(assert_same(proto, {"x": X}).graph) == ["Resize"]


PLACES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


@pytest.mark.parametrize("version", [11, 12, 13, 17])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_by_scales(version: int, place: str, mode: str) -> None:
    feeds = {"x": X, "s": np.array([1, 1, 1.6, 0.7], np.float32)}
    roi = "" if version >= 13 else "roi"
    proto = single(
        "Resize",
        feeds,
        version,
        inputs=["x", roi, "s"],
        mode=mode,
        coordinate_transformation_mode=place,
    )
    if roi:
        empty = onnx.numpy_helper.from_array(np.zeros(0, np.float32), roi)
        proto.graph.initializer.append(empty)
    assert operators(assert_same(proto, feeds).graph) == ["Resize"]


@pytest.mark.parametrize("version", [11, 13, 17])
@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_resize_by_sizes_leaves_the_scales_out(version: int, nearest: str) -> None:
    feeds = {"x": X, "none": np.zeros(0, np.float32), "sizes": np.array([2, 3, 7, 3], np.int64)}
    inputs = ["x", "none", "none" if version == 11 else "", "sizes"]
    proto = single("Resize", feeds, version, inputs=inputs, nearest_mode=nearest)
    (node,) = assert_same(proto, feeds).graph.node
    assert list(node.input) == ["x", "none", "", "sizes"]


def test_crop_and_resize() -> None:
    roi = np.array([0, 0, 0.2, 0.1, 1, 1, 0.9, 1.3], np.float32)
    feeds = {"x": X, "roi": roi, "none": np.zeros(0, np.float32)}
    feeds["sizes"] = np.array([2, 3, 5, 4], np.int64)
    attributes: dict[str, Any] = {
        "coordinate_transformation_mode": "tf_crop_and_resize",
        "mode": "linear",
        "extrapolation_value": 9.0,
    }
    proto = single("Resize", feeds, 11, inputs=list(feeds), **attributes)
    assert_same(proto, feeds)


@pytest.mark.parametrize("scale", [0.4, 0.5, 1.5, 2.0, 2.5])
def test_half_a_pixel_of_tensorflow_rounded_down_is_rounding(scale: float) -> None:
    feeds = {"x": X, "s": np.array([1, 1, scale, 1], np.float32)}
    attributes: dict[str, Any] = {
        "coordinate_transformation_mode": "tf_half_pixel_for_nn",
        "nearest_mode": "floor",
    }
    assert_same(single("Resize", feeds, 11, inputs=["x", "s", "s"], **attributes), feeds)


def test_half_a_pixel_of_tensorflow_has_no_other_form() -> None:
    feeds = {"x": X, "s": np.array([1, 1, 2, 2], np.float32)}
    attributes: dict[str, Any] = {
        "coordinate_transformation_mode": "tf_half_pixel_for_nn",
        "mode": "linear",
    }
    proto = single("Resize", feeds, 11, inputs=["x", "s", "s"], **attributes)
    with pytest.raises(ModelError, match=r"Resize 'n_y': .*'tf_half_pixel_for_nn'.*for 'linear'"):
        modernise(proto)
