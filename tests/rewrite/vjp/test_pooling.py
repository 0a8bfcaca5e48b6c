"""Adjoints of pooling against differences, on ONNX Runtime's own kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import model, node, value
from tests.rewrite.gradients import check, pulled_back, runner
from tests.rewrite.vjp.cases import adjoints, one_node

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def spread(seed: int, *shape: int) -> Array:
    """Whole numbers in random order: no two are nearer than 1, and sums of them are exact."""
    size = int(np.prod(shape))
    return np.random.default_rng(seed).permutation(size).reshape(shape).astype(np.float32)


def pool(op: str, x: Array, **attributes: Any) -> onnx.ModelProto:
    return model(
        [node(op, ["x"], ["y"], **attributes)],
        [value("x", ["N", *x.shape[1:]])],
        [value("y", None)],
        opset=22,
        ir=10,
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_windows_of_every_kind(op: str, data: st.DataObject) -> None:
    auto = data.draw(st.sampled_from(PADS))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(2)]
    # The runtime refuses automatic padding where windows leave gaps.
    largest = kernel if auto.startswith("SAME") else [3, 3]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [data.draw(st.integers(1, most)) for most in largest],
        "auto_pad": auto,
    }
    if auto == "NOTSET":
        attributes["pads"] = [data.draw(st.integers(0, k - 1)) for k in kernel * 2]
        attributes["ceil_mode"] = data.draw(st.sampled_from([0, 1]))
    if not auto.startswith("SAME"):
        attributes["dilations"] = [data.draw(st.sampled_from([1, 1, 2])) for _ in range(2)]
    if op == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.sampled_from([0, 1]))
    x = spread(data.draw(st.integers(0, 99)), 2, 1, 8, 5)
    proto = pool(op, x, **attributes)
    # With ceil_mode a window can lie in the padding altogether: nothing to average there.
    assume(np.isfinite(runner(proto)({"x": x})["y"]).all())
    check(proto, {"x": x}, ["x"], step=0.25, tolerance=1e-4)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("size", "kernel"), [((9,), [2]), ((2, 4, 3), [2, 3, 2])])
def test_one_and_three_dimensions(op: str, size: tuple[int, ...], kernel: list[int]) -> None:
    x = spread(0, 2, 1, *size)
    for strides in ([1] * len(size), kernel):
        proto = pool(op, x, kernel_shape=kernel, strides=strides)
        check(proto, {"x": x}, ["x"], step=0.25, tolerance=1e-4)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global(op: str) -> None:
    x = spread(1, 2, 3, 4, 5)
    check(pool(op, x), {"x": x}, ["x"], step=0.25, tolerance=1e-4)


def test_global_average_of_free_size() -> None:
    x = spread(1, 2, 3, 4, 5)
    proto = model(
        [node("GlobalAveragePool", ["x"], ["y"])],
        [value("x", ["N", 3, "H", "W"])],
        [value("y", None)],
        opset=18,
    )
    check(proto, {"x": x}, ["x"], step=0.25, tolerance=1e-4)


@pytest.mark.parametrize(("strides", "shared"), [([2, 2], 0.25), ([1, 1], 1.0)])
def test_equal_maxima(strides: list[int], shared: float) -> None:
    """Windows of equal values pass their adjoint on once: shared in tiles, else to the first."""
    x = np.zeros((2, 1, 4, 6), np.float32)
    pooled = pool("MaxPool", x, kernel_shape=[2, 2], strides=strides)
    proto, gradients, seeds = pulled_back(pooled, ["x"])
    g = np.ones(runner(pooled)({"x": x})["y"].shape, np.float32)
    dx = runner(proto)({"x": x, seeds["y"]: g})[gradients["x"]]
    assert dx.sum() == g.sum()
    assert np.array_equal(np.unique(dx[dx != 0]), [shared])


HALF: list[tuple[str, dict[str, Any]]] = [
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [3, 3]}),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("GlobalAveragePool", {}),
    ("GlobalMaxPool", {}),
]


@pytest.mark.parametrize(("op", "attributes"), HALF)
def test_half_precision(op: str, attributes: dict[str, Any]) -> None:
    x = {"x": spread(0, 2, 3, 8, 6)}
    half = {"x": x["x"].astype(np.float16)}
    exact, found = (
        adjoints(one_node(op, feeds, **attributes), feeds, 0.5)["x"] for feeds in (x, half)
    )
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, exact, atol=1e-3)


def test_half_precision_of_more_pixels_than_it_can_count() -> None:
    x = {"x": np.ones((1, 1, 300, 300), np.float16)}
    proto = model(
        [node("GlobalAveragePool", ["x"], ["y"])],
        [value("x", ["N", 1, "H", "W"], "float16")],
        [value("y", None, "float16")],
        opset=18,
    )
    # A pixel has 1 / 90,000 of it, and infinity would leave none.
    np.testing.assert_allclose(adjoints(proto, x, 900.0)["x"], 0.01, rtol=1e-2)


@pytest.mark.parametrize("shape", [["N", 2, "H", "W"], ["N", "C", "H", "W"], None])
@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER"])
def test_largest_of_unknown_sizes(
    shape: list[int | str] | None, strides: list[int], auto_pad: str
) -> None:
    x = spread(0, 2, 2, 4, 5)
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=strides, auto_pad=auto_pad)
    proto = model([pool], [value("x", shape)], [value("y", None)], opset=18)
    check(proto, {"x": x}, ["x"], step=0.25, tolerance=1e-4)


def test_means_that_need_sizes_which_are_not_known_are_refused() -> None:
    pool = node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    proto = model([pool], [value("x", ["N", 3, "H", "W"])], [value("y", None)], opset=18)
    with pytest.raises(MissingRules) as caught:
        pulled_back(proto, ["x"])
    assert caught.value.nodes[0].reason == "the shape of 'x' is not known"


@pytest.mark.parametrize("also_read", [False, True])
def test_windows_behind_a_relu(also_read: bool) -> None:
    """The Relu leaves its mask to the windows, unless something else reads it too."""
    x = spread(4, 2, 2, 4, 4) - 31.75
    x[0, 0] = -np.abs(x[0, 0]) - 1  # windows of zeros
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    results = ["p", "q"] if also_read else ["p"]
    nodes += [node("Mul", ["r", "r"], ["q"])] if also_read else []
    proto = model(
        nodes, [value("x", ["N", *x.shape[1:]])], [value(n, None) for n in results], opset=18
    )
    check(proto, {"x": x}, ["x"], step=0.25, tolerance=1e-4)
    written, gradients, seeds = pulled_back(proto, ["x"])
    masks = [each for each in written.graph.node if each.op_type == "Greater"]
    assert len(masks) == 1 + also_read
    seed = {
        name: np.ones((2, 2, 2, 2) if o == "p" else x.shape, np.float32)
        for o, name in seeds.items()
    }
    dx = runner(written)({"x": x, **seed})[gradients["x"]]
    assert not dx[0, 0].any()
