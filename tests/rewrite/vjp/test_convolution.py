"""Adjoints of convolutions against differences.

A convolution is linear, so a difference over a step of 1 is exact but for rounding: these run in
single precision, on the kernels that attacks use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.graphs import model, node, samples, value, weight
from tests.rewrite.gradients import check, pulled_back

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def linear_check(proto: onnx.ModelProto, feeds: dict[str, Array]) -> None:
    check(proto, feeds, list(feeds), step=1.0, tolerance=1e-4)


def conv(
    op: str,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    channels: tuple[int, int],
    **given: Any,
) -> None:
    """Check ``op`` on two samples of ``size`` with ``channels`` per group in and out."""
    group = given.get("group", 1)
    taken, out = channels
    shape = (out * group, taken, *kernel) if op == "Conv" else (taken * group, out, *kernel)
    weights = {"w": weight(1, *shape), "b": weight(2, out * group)}
    x = samples(3, 2, taken * group, *size)
    proto = model(
        [node(op, ["x", "w", "b"], ["y"], kernel_shape=kernel, **given)],
        [value("x", ["N", *x.shape[1:]])],
        [value("y", None)],
        weights,
        opset=18,
    )
    linear_check(proto, {"x": x})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_two_dimensions(data: st.DataObject) -> None:
    auto = data.draw(st.sampled_from(PADS))
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(2))
    stride = data.draw(st.integers(1, 3))
    strides = [stride, data.draw(st.sampled_from([stride, stride, 1]))]
    # The runtime refuses dilations with automatic padding.
    choices = [1] if auto.startswith("SAME") else [1, 1, 2]
    dilations = [data.draw(st.sampled_from(choices)) for _ in range(2)]
    given: dict[str, Any] = {"strides": strides, "dilations": dilations, "auto_pad": auto}
    if auto == "NOTSET":
        given["pads"] = [data.draw(st.integers(0, k + 1)) for k in kernel * 2]
    given["group"] = data.draw(st.sampled_from([1, 1, 2]))
    size = tuple(data.draw(st.integers(7, 9)) for _ in range(2))
    # How the adjoint is written depends on them.
    channels = data.draw(st.sampled_from([2, 6]))
    conv("Conv", size, kernel, (channels, 3), **given)


@pytest.mark.parametrize(
    ("channels", "stride", "form"),
    [
        (4, 1, {"ConvTranspose"}),
        (5, 1, {"Slice", "Transpose", "Conv"}),
        (3, 2, {"Pad", "Gather", "Reshape", "Transpose", "Conv", "DepthToSpace"}),
        (3, 4, {"ConvTranspose"}),
    ],
)
def test_the_form_that_is_fastest(channels: int, stride: int, form: set[str]) -> None:
    proto = model(
        [node("Conv", ["x", "w"], ["y"], strides=[stride] * 2, pads=[1] * 4)],
        [value("x", ["N", channels, 8, 6])],
        [value("y", None)],
        {"w": weight(1, 4, channels, 3, 3)},
        opset=18,
    )
    written, _, _ = pulled_back(proto, ["x"])
    assert {each.op_type for each in written.graph.node[1:]} - {"Identity"} == form


@pytest.mark.parametrize(("size", "kernel"), [((9,), (3,)), ((5, 4, 6), (3, 2, 2))])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("auto_pad", PADS)
def test_one_and_three_dimensions(
    size: tuple[int, ...], kernel: tuple[int, ...], strides: int, auto_pad: str
) -> None:
    conv("Conv", size, kernel, (2, 3), strides=[strides] * len(size), auto_pad=auto_pad)


def test_depthwise() -> None:
    conv("Conv", (8, 6), (3, 3), (1, 1), group=4, strides=[2, 2], pads=[1, 1, 1, 1])


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_transposed(data: st.DataObject) -> None:
    strides = [data.draw(st.integers(1, 3)) for _ in range(2)]
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(2))
    given: dict[str, Any] = {"strides": strides, "group": data.draw(st.sampled_from([1, 2]))}
    auto = data.draw(st.sampled_from(PADS))
    given["auto_pad"] = auto
    if auto == "NOTSET":
        given["pads"] = [data.draw(st.integers(0, (k - 1) // 2)) for k in kernel * 2]
        given["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in strides]
        given["dilations"] = [data.draw(st.sampled_from([1, 2])) for _ in range(2)]
    conv("ConvTranspose", (4, 5), kernel, (2, 3), **given)


def test_free_spatial_dimensions() -> None:
    for strides in ([1, 1], [2, 2]):
        proto = model(
            [node("Conv", ["x", "w"], ["y"], strides=strides, pads=[1, 0, 1, 2])],
            [value("x", ["N", 2, "H", "W"])],
            [value("y", None)],
            {"w": weight(1, 3, 2, 3, 3)},
            opset=18,
        )
        linear_check(proto, {"x": samples(3, 2, 2, 8, 7)})


def test_bias_that_depends_on_an_input() -> None:
    proto = model(
        [node("Conv", ["x", "w", "b"], ["y"])],
        [value("x", ["N", 2, 5, 4]), value("b", [3])],
        [value("y", None)],
        {"w": weight(1, 3, 2, 3, 3)},
        opset=18,
    )
    x = samples(3, 2, 2, 5, 4)
    linear_check(proto, {"x": x, "b": np.asarray([0.1, 0.2, 0.3], np.float32)})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_kernels_that_depend_on_an_input(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(["Conv", "ConvTranspose"]))
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(2))
    group = data.draw(st.sampled_from([1, 1, 2]))
    given: dict[str, Any] = {
        "strides": [data.draw(st.integers(1, 3)) for _ in range(2)],
        "dilations": [data.draw(st.integers(1, 2)) for _ in range(2)],
        "pads": [data.draw(st.integers(0, (k - 1) // 2)) for k in kernel * 2],
        "group": group,
    }
    if op == "ConvTranspose":
        given["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in given["strides"]]
    shape = (3 * group, 2, *kernel) if op == "Conv" else (2 * group, 3, *kernel)
    x = samples(3, 2, 2 * group, data.draw(st.integers(6, 8)), 5)
    # Nothing is known of the sizes of the input, nor of the batch.
    proto = model(
        [node(op, ["x", "w"], ["y"], **given)],
        [value("x", ["N", 2 * group, "H", "W"]), value("w", shape)],
        [value("y", None)],
        opset=18,
    )
    linear_check(proto, {"x": x, "w": weight(1, *shape)})


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("strides", [1, 2])
def test_kernels_of_one_dimension_with_automatic_padding(auto_pad: str, strides: int) -> None:
    proto = model(
        [node("Conv", ["x", "w"], ["y"], strides=[strides], auto_pad=auto_pad)],
        [value("x", ["N", 2, 9]), value("w", [3, 2, 4])],
        [value("y", None)],
        opset=18,
    )
    linear_check(proto, {"x": samples(3, 2, 2, 9), "w": weight(1, 3, 2, 4)})
