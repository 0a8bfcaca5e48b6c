"""Arrays that are one sample themselves, and inputs whose names look like parts of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import InputSpec, open_data, open_perturbed
from tests.inputs.files import write_npy, write_npz

X = np.random.default_rng(0).random((4, 5)).astype(np.float32)


@pytest.mark.parametrize("kind", ["npy", "npz", "fortran"])
@pytest.mark.parametrize("wanted", [(4, 5), (4, None)])
def test_an_array_of_its_shape_is_one_sample(
    kind: str, wanted: tuple[int | None, ...], tmp_path: Path
) -> None:
    x = np.asfortranarray(X) if kind == "fortran" else X
    path = (
        write_npz(tmp_path / "x.npz", x=x, mask=X > 0.5)
        if kind == "npz"
        else write_npy(tmp_path / "x.npy", x)
    )
    whole = {"mask": (4, 5)}
    data = open_data(path, InputSpec(), wanted, single=True, input_names=("x", "mask"), whole=whole)
    np.testing.assert_array_equal(data.batch(0, 1)[0], X[None])
    assert (len(data), data.available) == (1, 1)
    assert "the array is one sample: it has its shape, 4x5" in data.notes
    if kind == "npz":
        np.testing.assert_array_equal(data.whole["mask"], X > 0.5)
    changed = open_perturbed(write_npy(tmp_path / "adv.npy", X / 2), data)
    np.testing.assert_array_equal(changed.batch(0, 1)[0], X[None] / 2)


def test_several_samples_stay_several(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", np.stack([X, X / 2, X / 4]))
    data = open_data(path, InputSpec(), (4, 5), single=True)
    assert len(data) == 3
    assert not any("one sample" in note for note in data.notes)


def test_without_the_leave_an_axis_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"samples have shape 5 .* takes 4x5 \(is the axis"):
        open_data(write_npy(tmp_path / "x.npy", X), InputSpec(), (4, 5))


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_single_number_is_a_sample_of_no_dimensions(kind: str, tmp_path: Path) -> None:
    number = np.array(0.25, np.float32)
    path = (
        write_npz(tmp_path / "x.npz", x=number)
        if kind == "npz"
        else write_npy(tmp_path / "x.npy", number)
    )
    data = open_data(path, InputSpec(), (), single=True, input_names=("x",))
    np.testing.assert_array_equal(data.batch(0, 1)[0], [0.25])
    assert "the array is one sample: it has its shape, a single number" in data.notes
    with pytest.raises(DataError, match=r"is a single value of shape \(\)"):
        open_data(path, InputSpec(), (), input_names=("x",))


def test_an_input_called_x_scale_is_no_part_of_x(tmp_path: Path) -> None:
    """With ``x_scale`` perturbed, ``x`` is its own array and not ``x`` + ``_scale``."""
    x, scale = np.arange(6, dtype=np.uint8), np.linspace(0, 1, 6, dtype=np.float32)
    path = write_npz(tmp_path / "a.npz", x=x, x_scale=scale, w=x + 6, w_scale=scale / 2)
    names = ("x_scale", "x", "w")
    data = open_data(path, InputSpec(), (), input_names=names)
    np.testing.assert_array_equal(data.batch(0, 6)[0], scale[data.selection])
    np.testing.assert_array_equal(data.batch_of("x", 0, 6), x[data.selection])
    np.testing.assert_array_equal(data.batch_of("w", 0, 6), x[data.selection] + 6)
