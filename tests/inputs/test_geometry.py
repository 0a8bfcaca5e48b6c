from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Dataset, InputSpec, Layout, open_data
from tests.inputs.files import pixels, write_npy

BYTES = InputSpec(high=255.0)


def opened(
    folder: Path, values: Any, shape: tuple[int | None, ...], layout: Layout | None = None
) -> tuple[Dataset, Any, Any]:
    """The dataset, all its samples, and the stored values in the same order."""
    spec = InputSpec(high=255.0, layout=layout)
    data = open_data(write_npy(folder / "x.npy", values), spec, shape)
    return data, data.batch(0, len(data))[0], values[data.selection]


@pytest.mark.parametrize(
    ("stored", "shape", "layout", "notes"),
    [
        ((5, 6), (5, 6), None, []),
        ((3, 5, 6), (3, 5, 6), None, []),
        ((3, 5, 6), (3, None, None), None, []),
        ((5, 6, 3), (None, None, 3), None, []),
        ((7, 8), (None, 8), None, []),
        ((3, 3, 3), (3, 3, 3), "NHWC", []),
        ((), (), None, []),
        ((30,), (30, 1), None, ["unit axes changed, 30 to 30x1"]),
        ((5, 6), (30, 1), None, ["flattened 5x6 to 30x1"]),
        ((5, 6, 3), (90,), None, ["flattened 5x6x3 to 90"]),
        ((30,), (1, 5, 6), None, ["reshaped 30 to 1x5x6"]),
        ((30,), (5, 6, 1), None, ["reshaped 30 to 5x6x1"]),
        ((30,), (5, 6), None, ["reshaped 30 to 5x6"]),
        ((5,), (1, 1, 5), None, ["unit axes changed, 5 to 1x1x5"]),
        ((1, 5, 6), (5, 6), None, ["unit axes changed, 1x5x6 to 5x6"]),
        ((5, 6), (None,), None, ["flattened 5x6 to 30"]),
        ((5, 6), (1, 5, 6), "flat", ["unit axes changed, 5x6 to 1x5x6"]),
        ((5, 6), (1, 5, 6), None, ["channel axis added"]),
        ((5, 6), (5, 6, 1), None, ["channel axis added"]),
        ((5, 6), (1, None, None), None, ["channel axis added"]),
        ((5, 6), (None, 5, 6), "NCHW", ["channel axis added"]),
        ((5, 6, 1), (1, 5, 6), None, ["HWC transposed to CHW"]),
    ],
)
def test_shapes_that_keep_the_order_of_elements(
    stored: tuple[int, ...],
    shape: tuple[int | None, ...],
    layout: Layout | None,
    notes: list[str],
    tmp_path: Path,
) -> None:
    data, x, values = opened(tmp_path, pixels(0, 5, *stored), shape, layout)
    np.testing.assert_array_equal(x.reshape(5, -1), values.reshape(5, -1))
    assert data.notes[2:] == notes
    assert x.shape == (5, *data.sample_shape)
    assert len(data.sample_shape) == len(shape)
    assert all(want in (None, have) for have, want in zip(data.sample_shape, shape, strict=True))
    assert x.flags.c_contiguous


def test_hwc_to_chw_and_back(tmp_path: Path) -> None:
    data, x, values = opened(tmp_path, pixels(0, 5, 5, 6, 3), (3, 5, 6))
    np.testing.assert_array_equal(x, values.transpose(0, 3, 1, 2))
    assert data.notes[-1] == "HWC transposed to CHW"
    assert x.flags.c_contiguous
    data, x, values = opened(tmp_path, pixels(0, 5, 3, 5, 6), (None, None, 3))
    np.testing.assert_array_equal(x, values.transpose(0, 2, 3, 1))
    assert data.notes[-1] == "CHW transposed to HWC"
    assert data.sample_shape == (5, 6, 3)


@pytest.mark.parametrize(
    ("stored", "shape", "axis"),
    [((5, 6), (3, 5, 6), 1), ((1, 5, 6), (3, 5, 6), 1), ((5, 6, 1), (5, 6, 3), 3)],
)
def test_grey_is_replicated(
    stored: tuple[int, ...], shape: tuple[int, ...], axis: int, tmp_path: Path
) -> None:
    data, x, values = opened(tmp_path, pixels(0, 5, *stored), shape)
    assert x.shape == (5, *shape)
    for channel in range(3):
        np.testing.assert_array_equal(np.take(x, channel, axis), values.reshape(5, 5, 6))
    assert "grey channel replicated to 3" in data.notes


@pytest.mark.parametrize("stored_axis", [1, 3])
def test_equal_channels_are_merged_and_colours_refused(stored_axis: int, tmp_path: Path) -> None:
    values = np.repeat(np.expand_dims(pixels(0, 5, 5, 6), stored_axis), 3, stored_axis)
    data, x, stored = opened(tmp_path, values, (1, 5, 6))
    np.testing.assert_array_equal(x[:, 0], np.take(stored, 0, stored_axis))
    assert "3 equal channels merged to grey" in data.notes
    np.moveaxis(values, stored_axis, -1)[3, 1, 2, 1] ^= 1
    with pytest.raises(DataError, match=r"sample 3 is a colour image of 3 channels.*grey"):
        opened(tmp_path, values, (1, 5, 6))


@pytest.mark.parametrize(
    ("stored", "shape", "layout"),
    [
        ((8, 12), (12, 8), None),
        ((5, 6), (5, 7), None),
        ((5, 6), (1, 5, 7), None),
        ((5, 6, 4), (3, 5, 6), None),
        ((90,), (3, 5, 6), None),
        ((6, 15), (3, 5, 6), None),
        ((2, 5, 6), (1, 5, 6), None),
        ((5, 6), (None, 3), None),
        ((5,), (784, 1), None),
        ((5, 6, 3), (3, 5, 6), "flat"),
    ],
)
def test_other_shapes_are_refused_with_both_named(
    stored: tuple[int, ...],
    shape: tuple[int | None, ...],
    layout: Layout | None,
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path, pixels(0, 5, *stored), shape, layout)
    text = str(caught.value)
    assert f"samples have shape {'x'.join(map(str, stored))} " in text
    assert f"the model takes {'x'.join('?' if s is None else str(s) for s in shape)}" in text


def test_a_missing_sample_axis_is_guessed_in_the_message(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", pixels(0, 12, 8))
    with pytest.raises(DataError, match=r"shape 8 .*takes 12x8 \(is the axis that counts"):
        open_data(path, BYTES, (12, 8))


def test_resize_is_for_image_files(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", pixels(0, 5, 5, 6))
    with pytest.raises(DataError, match=r"--resize works on image files.*x.npy' is npy"):
        open_data(path, BYTES, (1, 8, 9), resize=True)
