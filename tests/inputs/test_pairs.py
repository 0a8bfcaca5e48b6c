from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import InputSpec, open_data, open_perturbed, synthetic_data
from tests.inputs.files import encoded, pixels, write_npy, write_npz, write_zip

SPEC = InputSpec(high=255.0)
X = pixels(0, 12, 5, 7).astype(np.float32)
ADV = np.clip(X + 3, 0, 255)


@pytest.mark.parametrize("samples", [None, 5])
@pytest.mark.parametrize("name", ["npy", "x_adv", "x_perturbed", "x", "x_test", "anything"])
def test_the_same_samples_in_the_same_order(name: str, samples: int | None, tmp_path: Path) -> None:
    y = np.arange(12) % 3
    clean = open_data(
        write_npz(tmp_path / "x.npz", x=X, y=y), SPEC, (1, 5, 7), samples=samples, seed=4
    )
    arrays = {name: ADV}
    npy, npz = tmp_path / "adv.npy", tmp_path / "adv.npz"
    path = write_npy(npy, ADV) if name == "npy" else write_npz(npz, **arrays)
    pairs = open_perturbed(path, clean)
    x, y_clean = clean.batch(0, len(clean))
    x_adv, y_adv = pairs.batch(0, len(pairs))
    np.testing.assert_array_equal(x_adv, np.clip(x + 3, 0, 255))
    np.testing.assert_array_equal(y_adv, y_clean)
    np.testing.assert_array_equal(pairs.selection, clean.selection)
    assert pairs.sample_shape == clean.sample_shape
    assert pairs.dtype == clean.dtype
    assert pairs.fingerprint != clean.fingerprint
    assert "channel axis added" in pairs.notes


def test_bytes_are_scaled_as_the_clean_ones_are(tmp_path: Path) -> None:
    values = pixels(0, 12, 5, 7)
    clean = open_data(write_npy(tmp_path / "x.npy", values), InputSpec(), (5, 7), samples=4)
    pairs = open_perturbed(write_npy(tmp_path / "adv.npy", values), clean)
    np.testing.assert_array_equal(pairs.batch(0, 4)[0], clean.batch(0, 4)[0])


def test_pairs_of_image_files_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    images = [pixels(i, 5, 7, 3) for i in range(4)]
    files = {f"{name}.png": encoded(image) for name, image in zip("badc", images, strict=True)}
    clean = open_data(write_zip(tmp_path / "a.zip", files), SPEC, (3, 5, 7), samples=3)
    in_order = np.stack([images[i] for i in (1, 0, 3, 2)])
    pairs = open_perturbed(write_npy(tmp_path / "adv.npy", in_order), clean)
    np.testing.assert_array_equal(pairs.batch(0, 3)[0], clean.batch(0, 3)[0])


def test_a_chosen_key(tmp_path: Path) -> None:
    clean = open_data(write_npy(tmp_path / "x.npy", X), SPEC, (5, 7))
    path = write_npz(tmp_path / "adv.npz", x=X, mine=ADV)
    pairs = open_perturbed(path, clean, x_key="mine")
    np.testing.assert_array_equal(pairs.batch(0, 12)[0], ADV[clean.selection])


def test_synthetic_clean_data_can_be_paired(tmp_path: Path) -> None:
    clean = synthetic_data(InputSpec(), (5, 7), 6, 0)
    x, _ = clean.batch(0, 6)
    pairs = open_perturbed(write_npy(tmp_path / "adv.npy", 1 - x), clean)
    np.testing.assert_array_equal(pairs.batch(2, 5)[0], 1 - x[2:5])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ADV[:4], "adv.npy' holds 4 samples, the clean data .*x.npy hold 12 .of which 4"),
        (ADV[:, :4], "samples have shape 4x7 .*takes 5x7"),
        (ADV * 2, "values span .*declared range is 0 to 255"),
        (ADV * np.nan, "holds nan"),
    ],
)
def test_refused(values: Any, message: str, tmp_path: Path) -> None:
    clean = open_data(write_npy(tmp_path / "x.npy", X), SPEC, (5, 7), samples=4)
    with pytest.raises(DataError, match=message):
        open_perturbed(write_npy(tmp_path / "adv.npy", values), clean)


def test_kinds_that_hold_no_pairs(tmp_path: Path) -> None:
    clean = open_data(write_npy(tmp_path / "x.npy", X), SPEC, (5, 7))
    with pytest.raises(DataError, match="is folder; perturbed samples are read from an npy"):
        open_perturbed(tmp_path, clean)
    with pytest.raises(DataError, match=r"x.npy' is npy and --x-key 'k' is given"):
        open_perturbed(tmp_path / "x.npy", clean, x_key="k")


def test_results_of_several_attacks_are_not_mistaken_for_their_clean_samples(
    tmp_path: Path,
) -> None:
    clean = open_data(write_npy(tmp_path / "x.npy", X), SPEC, (5, 7))
    path = write_npz(tmp_path / "saved.npz", x=X, x_adv_fgsm=ADV, x_adv_pgd=ADV)
    with pytest.raises(
        DataError, match="several attacks: 'x_adv_fgsm', 'x_adv_pgd'; store the one"
    ):
        open_perturbed(path, clean)
    pairs = open_perturbed(path, clean, x_key="x_adv_pgd")
    x = clean.batch(0, len(X))[0]
    np.testing.assert_array_equal(pairs.batch(0, len(X))[0], np.clip(x + 3, 0, 255))
