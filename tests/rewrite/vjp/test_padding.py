"""Adjoints of margins added and cut off, against differences of the operators themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.rewrite.vjp import MissingRules
from tests.rewrite.gradients import pulled_back, runner
from tests.rewrite.vjp.one_node import check_node, normal, one_node

FREE = pytest.mark.parametrize("free", [False, True])
COPYING = pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
# Modes and the axes input as of 18, wrap as of 19.
OPSET = 19


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


@FREE
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@pytest.mark.parametrize("pads", [(0, 1, 2, 0, 3, 0), (0, 0, 0, 0, 2, 2), (0,) * 6])
def test_pad(pads: tuple[int, ...], mode: str, constant: bool, free: bool) -> None:
    x, given = {"x": normal(0, 2, 4, 5)}, {"pads": ints(*pads)}
    feeds, constants = (x, given) if constant else (x | given, {})
    check_node("Pad", feeds, constants, mode=mode, free=free, opset=OPSET)


@FREE
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad_of_some_axes(mode: str, free: bool) -> None:
    given = {"pads": ints(1, 2, 3, 0), "axes": ints(-1, 1)}
    order = ["x", "pads", "", "axes"]
    x = {"x": normal(1, 2, 4, 5)}
    check_node("Pad", x, given, inputs=order, mode=mode, free=free, opset=OPSET)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(3, 5)] * 2),
    pads=st.tuples(*[st.integers(-1, 3)] * 4),
    constant=st.booleans(),
    free=st.booleans(),
)
def test_pad_that_adds_and_cuts(shape: Any, pads: Any, constant: bool, free: bool) -> None:
    x, given = {"x": normal(2, *shape)}, {"pads": ints(*pads)}
    feeds, constants = (x, given) if constant else (x | given, {})
    check_node("Pad", feeds, constants, free=free, opset=OPSET)


@COPYING
@settings(max_examples=15, deadline=None)
@given(pads=st.tuples(*[st.integers(0, 3)] * 4), length=st.integers(4, 6), free=st.booleans())
def test_margins_that_overlap_add_up(mode: str, pads: Any, length: int, free: bool) -> None:
    check_node(
        "Pad", {"x": normal(3, 4, length)}, {"pads": ints(*pads)}, mode=mode, free=free, opset=OPSET
    )


@FREE
def test_value_of_the_margin(free: bool) -> None:
    feeds = {"x": normal(4, 2, 3), "value": np.array(0.5)}
    order = ["x", "pads", "value"]
    check_node("Pad", feeds, {"pads": ints(1, -1, 0, 2)}, inputs=order, free=free)


def test_reflected_margins_by_hand() -> None:
    """x = (a, b, c) becomes (c, b, a, b, c, b): b is copied three times, a once, c twice."""
    proto = one_node("Pad", {"x": normal(5, 1, 3)}, {"pads": ints(0, 2, 0, 1)}, mode="reflect")
    model, gradients, seeds = pulled_back(proto, ["x"])
    dy = np.array([[1.0, 10, 100, 1000, 10000, 100000]])
    found = runner(model)({"x": normal(5, 1, 3), seeds["y"]: dy})
    assert found[gradients["x"]].tolist() == [[100.0, 101010.0, 10001.0]]


def test_pad_along_axes_known_at_run_time_is_refused() -> None:
    feeds = {"x": normal(6, 2, 4), "axes": ints(1)}
    proto = one_node("Pad", feeds, {"pads": ints(1, 1)}, inputs=["x", "pads", "", "axes"])
    with pytest.raises(MissingRules) as caught:
        pulled_back(proto, ["x"])
    assert [missing.reason for missing in caught.value.nodes] == ["the axes are not constant"]


@FREE
@pytest.mark.parametrize("target", [(2, 3, 4), (2, 7, 9), (2, 2, 8), (5, 4, 1), (2, 5, 6)])
def test_center_crop_pad(target: tuple[int, ...], free: bool) -> None:
    check_node("CenterCropPad", {"x": normal(7, 2, 5, 6)}, {"shape": ints(*target)}, free=free)


@FREE
@pytest.mark.parametrize("target", [(3, 9), (8, 2)])
def test_center_crop_pad_of_some_axes(target: tuple[int, ...], free: bool) -> None:
    x = {"x": normal(8, 2, 5, 6)}
    check_node("CenterCropPad", x, {"shape": ints(*target)}, axes=[-1, 1], free=free)
