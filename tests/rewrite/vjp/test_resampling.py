"""The adjoint of Resize against differences of ONNX Runtime's Resize, which knows single precision only.

Resize is linear, so that differences are exact at any step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import model, node, value
from tests.rewrite.gradients import check, pulled_back
from tests.rewrite.vjp.one_node import Array, normal, one_node

FREE = pytest.mark.parametrize("free", [False, True])
COORDINATES = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
# As of this opset half_pixel_symmetric is known.
OPSET = 19


def single(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def resized(
    x: Array, constants: dict[str, Array], *, run_time: bool = False, **how: Any
) -> tuple[Any, dict[str, Array]]:
    """A Resize of ``x`` with these inputs (known at run time only, if so), and what to feed it."""
    feeds = {"x": x.astype(np.float32)}
    if run_time:
        feeds, constants = feeds | constants, {}
    names = [name if name in feeds | constants else "" for name in ("x", "roi", "scales", "sizes")]
    proto = one_node(
        "Resize", feeds, constants, inputs=names, element="float32", opset=OPSET, **how
    )
    return proto, feeds


def check_resize(x: Array, constants: dict[str, Array], **how: Any) -> None:
    proto, feeds = resized(x, constants, **how)
    check(proto, feeds, wrt=["x"], step=0.5, tolerance=1e-4)


def cropped(coordinates: str, constants: dict[str, Array]) -> dict[str, Array]:
    """With a region of interest in two axes, part of it outside, where the mode reads one."""
    region = {"roi": single(0.1, -0.2, 0.8, 1.1)} if coordinates == "tf_crop_and_resize" else {}
    return region | constants


@FREE
@pytest.mark.parametrize("extent", [{"scales": single(1.5, 0.6)}, {"sizes": ints(3, 11)}])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest(coordinates: str, rounding: str, extent: dict[str, Array], free: bool) -> None:
    modes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    inputs = cropped(coordinates, extent)
    check_resize(normal(0, 2, 2, 4, 5), inputs, axes=[2, 3], free=free, mode="nearest", **modes)


@FREE
@pytest.mark.parametrize("extent", [{"scales": single(1.5, 0.6)}, {"sizes": ints(3, 11)}])
@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_linear(coordinates: str, antialias: int, extent: dict[str, Array], free: bool) -> None:
    inputs = cropped(coordinates, extent)
    how: Any = {"coordinate_transformation_mode": coordinates, "antialias": antialias}
    check_resize(normal(1, 2, 2, 4, 5), inputs, axes=[2, 3], free=free, mode="linear", **how)


@pytest.mark.parametrize("extent", [{"scales": single(1.5, 0.6)}, {"sizes": ints(3, 11)}])
@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("exclude_outside", [0, 1])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_cubic(
    coordinates: str, exclude_outside: int, antialias: int, extent: dict[str, Array]
) -> None:
    inputs = cropped(coordinates, extent)
    how: Any = {"coordinate_transformation_mode": coordinates, "antialias": antialias}
    how |= {"exclude_outside": exclude_outside, "cubic_coeff_a": -0.5, "axes": [2, 3]}
    check_resize(normal(2, 2, 2, 4, 5), inputs, mode="cubic", **how)


def test_extrapolated_values_are_constants() -> None:
    how: Any = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    inputs = {"roi": single(0, 0, -0.5, 0.1, 1, 1, 1.5, 0.9), "sizes": ints(2, 1, 5, 7)}
    check_resize(normal(3, 2, 1, 4, 6), inputs, mode="linear", **how)


@FREE
@pytest.mark.parametrize("factors", [(2, 3), (1, 4), (2, 2)])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("coordinates", [c for c in COORDINATES if c != "tf_crop_and_resize"])
def test_whole_factors(
    coordinates: str, rounding: str, factors: tuple[int, int], free: bool
) -> None:
    modes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    x, (tall, wide) = normal(4, 2, 3, 4, 5), factors
    check_resize(x, {"scales": single(1, 1, tall, wide)}, free=free, mode="nearest", **modes)
    sizes = {"sizes": ints(2, 3, 4 * tall, 5 * wide)}
    check_resize(x, sizes, free=free, mode="nearest", **modes)


@pytest.mark.parametrize("free", [False, True])
def test_repeated_pixels_are_summed_without_a_matrix(free: bool) -> None:
    how: Any = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    proto, _ = resized(normal(5, 2, 3, 4, 5), {"scales": single(1, 1, 2, 2)}, free=free, **how)
    written, *_ = pulled_back(proto, ["x"])
    kinds = [n.op_type for n in written.graph.node if n.op_type not in ("Shape", "Concat")]
    assert kinds == ["Resize", "Reshape", "ReduceSum", "Identity"]


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    target=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    coordinates=st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners"]),
    run_time=st.booleans(),
)
def test_any_sizes(shape: Any, target: Any, mode: str, coordinates: str, run_time: bool) -> None:
    how = {"coordinate_transformation_mode": coordinates, "mode": mode}
    sizes = {"sizes": ints(*shape[:2], *target)}
    check_resize(normal(6, *shape), sizes, run_time=run_time, **how)


@FREE
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_scales_known_at_run_time(mode: str, free: bool) -> None:
    scales = {"scales": single(1, 1, 0.7, 2)}
    check_resize(normal(7, 2, 3, 4, 5), scales, run_time=True, free=free, mode=mode)


def test_sizes_made_of_the_shape_of_the_input() -> None:
    """As PyTorch exports it: the batch and channels of x, and a given size."""
    nodes = [
        node("Shape", ["x"], ["shape"], end=2),
        node("Concat", ["shape", "target"], ["sizes"], axis=0),
        node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear"),
    ]
    inputs, outputs = [value("x", ["N", 3, "H", "W"])], [value("y", None)]
    proto = model(nodes, inputs, outputs, {"target": ints(6, 4)}, opset=OPSET)
    feeds = {"x": normal(8, 2, 3, 4, 5).astype(np.float32)}
    check(proto, feeds, wrt=["x"], step=0.5, tolerance=1e-4)
    written, *_ = pulled_back(proto, ["x"])
    # Batch and channels pass through: two matrices.
    assert sum(n.op_type == "MatMul" for n in written.graph.node) == 2


@FREE
@pytest.mark.parametrize("shape", [(2, 3, 7), (5, 6)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_signals_and_matrices(mode: str, shape: tuple[int, ...], free: bool) -> None:
    scales = {"scales": single(*[1] * (len(shape) - 1), 1.7)}
    check_resize(normal(9, *shape), scales, mode=mode, free=free)


@FREE
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_volumes(mode: str, free: bool) -> None:
    scales = {"scales": single(1, 1, 1.5, 0.7, 2)}
    check_resize(normal(10, 2, 2, 3, 4, 5), scales, mode=mode, free=free)


@FREE
def test_channels_last(free: bool) -> None:
    scales = {"scales": single(1, 1.5, 0.7, 1)}
    check_resize(normal(11, 2, 5, 4, 3), scales, mode="nearest", free=free)


@pytest.mark.parametrize(
    ("policy", "target"), [("not_larger", (7, 9)), ("not_smaller", (6, 9)), ("not_smaller", (5, 9))]
)
def test_kept_aspect_ratio(policy: str, target: tuple[int, int]) -> None:
    how: Any = {"keep_aspect_ratio_policy": policy, "axes": [2, 3], "mode": "linear"}
    check_resize(normal(12, 2, 2, 4, 6), {"sizes": ints(*target)}, **how)


@pytest.mark.parametrize(
    ("target", "free", "reason"),
    [
        ((7, 9), False, "a length is rounded up to keep the aspect ratio"),
        ((7, 9), True, "the aspect ratio is kept for sizes that are not known"),
    ],
)
def test_aspect_ratios_that_are_refused(target: Any, free: bool, reason: str) -> None:
    how: Any = {"keep_aspect_ratio_policy": "not_smaller", "axes": [2, 3], "free": free}
    proto, _ = resized(normal(13, 2, 2, 4, 6), {"sizes": ints(*target)}, **how)
    with pytest.raises(MissingRules) as caught:
        pulled_back(proto, ["x"])
    assert [missing.reason for missing in caught.value.nodes] == [reason]
