"""Padding and cropping, against ONNX Runtime, and by hand where it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lsa_trainer.ops import padding as ops
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

MODES = ["constant", "reflect", "edge", "wrap"]


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def counted(*shape: int, dtype: str = "float32") -> Array:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    lengths=st.lists(st.integers(3, 5), min_size=1, max_size=5),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
    data=st.data(),
)
def test_pad(mode: str, lengths: list[int], dtype: str, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(*[st.integers(-1, 2)] * 2), min_size=len(lengths)))
    pairs = pairs[: len(lengths)]
    # After cropping there must be more entries than a reflection adds.
    left = [n + min(a, 0) + min(b, 0) for n, (a, b) in zip(lengths, pairs, strict=True)]
    assume(mode != "reflect" or all(n > max(p) for n, p in zip(left, pairs, strict=True)))
    before, after = zip(*pairs, strict=True)
    compare("Pad", [counted(*lengths, dtype=dtype), ints(*before, *after)], mode=mode)


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 7), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_images_grow_on_the_fast_way_as_on_the_general_one(
    mode: str, shape: tuple[int, ...], dtype: str
) -> None:
    spatial = len(shape) - 2
    pads = [0, 0, *[2] * spatial, 0, 0, *range(1, spatial + 1)]
    (y,) = on_torch("Pad", [counted(*shape, dtype=dtype), ints(*pads)], mode=mode)
    halves = list(zip(pads[: len(shape)], pads[len(shape) :], strict=True))
    expected = np.pad(counted(*shape, dtype=dtype), halves, mode=mode)  # type: ignore[call-overload]
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("mode", ["edge", "wrap"])
def test_pads_longer_than_the_axis(mode: str) -> None:
    compare("Pad", [counted(2, 3), ints(0, 7, 5, 4)], mode=mode)


def test_a_reflection_longer_than_the_axis_goes_to_and_fro() -> None:
    (y,) = on_torch("Pad", [counted(3), ints(5, 3)], mode="reflect")
    assert y.tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1]
    (y,) = on_torch("Pad", [counted(1), ints(2, 1)], mode="reflect")
    assert y.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_pad_of_some_axes(mode: str) -> None:
    compare("Pad", [counted(3, 4, 5), ints(1, 2, 2, 0), None, ints(-1, 0)], mode=mode)


def test_pad_keeps_the_type_of_bools_and_of_large_integers() -> None:
    compare("Pad", [np.ones((2, 3), bool), ints(1, 0, 0, 2)])
    large = 2**60 + 1
    compare("Pad", [np.full(2, large), ints(1, 2), np.array(large + 2)])


def test_a_value_that_the_graph_computes_has_a_gradient() -> None:
    def padded(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return ops.pad(x, [1, -1, 0, 2], value)

    x = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    value = torch.full((1,), 0.5, dtype=torch.float64, requires_grad=True)
    slope_error(padded, x, value)
    assert padded(x, value)[0].tolist() == [0.5] * 4


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_slopes_of_borders(mode: str) -> None:
    x = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    slope_error(lambda t: ops.pad(t, [1, 0, 2, 0, -1, 1], mode=mode), x)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [(None, (5, 2, 9)), (None, (2, 4, 3)), ([1], (9,)), ([-1, 0], (2, 6)), ([0, 2], (3, 4))],
)
def test_center_crop_pad(axes: list[int] | None, shape: tuple[int, ...]) -> None:
    attributes: dict[str, Any] = {} if axes is None else {"axes": axes}
    compare("CenterCropPad", [counted(3, 4, 7), ints(*shape)], **attributes)


def test_the_odd_entry_is_at_the_end() -> None:
    (y,) = on_torch("CenterCropPad", [counted(4) + 1, ints(7)])
    assert y.tolist() == [0, 1, 2, 3, 4, 0, 0]
    (y,) = on_torch("CenterCropPad", [counted(7), ints(4)])
    assert y.tolist() == [1, 2, 3, 4]
