"""Samples: two moons as declared, and files as they are found."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.recipes import Recipe, read_recipe
from lsa_trainer.recipes import data as recipe_data
from lsa_trainer.recipes.data import find_samples, moons, require_data, training_samples
from tests.inputs.files import write_idx
from tests.trainer.recipe_files import blobs, write


@pytest.fixture
def moon() -> Recipe:
    return read_recipe("moon-table2", "smoke")


def test_moons_are_standardised_by_the_training_samples(moon: Recipe) -> None:
    pytest.importorskip("sklearn")
    made = moons(moon.data, 0)
    assert made["x_train"].shape == made["x_test"].shape == (200, 2)
    assert made["x_train"].mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert made["x_train"].std(axis=0) == pytest.approx([1, 1], abs=1e-6)
    assert np.abs(made["x_test"].std(axis=0) - 1).max() > 1e-3
    assert sorted({*made["y_test"].tolist()}) == [0, 1]


def test_seeds_change_the_training_samples_alone(moon: Recipe) -> None:
    pytest.importorskip("sklearn")
    one, other = moons(moon.data, 0), moons(moon.data, 1)
    assert not np.allclose(one["x_train"], other["x_train"])
    assert (one["y_test"] == other["y_test"]).all()
    # The same points, in units of other training samples.
    scale, shift = np.polyfit(one["x_test"][:, 0], other["x_test"][:, 0], 1)
    assert other["x_test"][:, 0] == pytest.approx(scale * one["x_test"][:, 0] + shift, abs=1e-5)


def test_moons_outside_of_the_range_are_refused(moon: Recipe) -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(
        DataError, match=r"x_train reaches from -.* outside of range -1, 1; widen it"
    ):
        moons(replace(moon.data, range=(-1.0, 1.0)), 0)


def test_the_published_range_clips_nothing() -> None:
    pytest.importorskip("sklearn")
    spec = read_recipe("moon-table2").data
    largest = max(np.abs(x).max() for x in moons(spec, 0).values())
    assert largest + 0.5 < spec.range[1]


def test_moons_are_made_once(moon: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    found = find_samples(moon, None, tmp_path, 3)
    first = found.train.read_bytes()
    assert (found.train, found.test) == (tmp_path / "data/seed-3.npz",) * 2
    assert find_samples(moon, None, tmp_path, 3).train.read_bytes() == first
    x, y = training_samples(moon, found, (2,), 3)
    assert (x.shape, y.shape, x.dtype.name) == ((200, 2), (200,), "float32")


def test_made_samples_need_scikit_learn_and_no_file(
    moon: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        DataError, match=r"makes its samples, and --data 'x\.npz' would not be read"
    ):
        require_data(moon, Path("x.npz"))
    monkeypatch.setattr(recipe_data, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with pytest.raises(
        DataError, match=r"needs scikit-learn, .* pip install 'lsa-onnx\[recipes\]'"
    ):
        require_data(moon, None)


def test_the_parts_of_an_npz(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    found = find_samples(recipe, blobs(tmp_path), tmp_path, 0)
    assert (found.training["split"], found.testing["split"]) == ("train", "test")
    x, y = training_samples(recipe, found, (2,), 0)
    assert (len(x), y.tolist().count(1)) == (60, 30)


def test_a_folder_of_idx_files(tmp_path: Path) -> None:
    images = np.arange(4 * 28 * 28, dtype=np.uint8).reshape(4, 28, 28)
    for part, count in (("train", 4), ("t10k", 3)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", images[:count])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    recipe = read_recipe("mnist-table3")
    found = find_samples(recipe, tmp_path, tmp_path, 0)
    assert (found.train.name, found.test.name) == (
        "train-images-idx3-ubyte",
        "t10k-images-idx3-ubyte",
    )
    assert found.training["split"] is None
    x, y = training_samples(
        replace(recipe, data=replace(recipe.data, train=None)), found, (1, 28, 28), 0
    )
    assert (x.shape, sorted(y.tolist())) == ((4, 1, 28, 28), [0, 1, 2, 3])


def test_samples_without_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.npz"
    np.savez(path, x_train=np.zeros((4, 2), np.float32), x_test=np.zeros((3, 2), np.float32))
    recipe = read_recipe(write(tmp_path))
    with pytest.raises(DataError, match=r"samples of '.*bare\.npz' have no labels"):
        training_samples(recipe, find_samples(recipe, path, tmp_path, 0), (2,), 0)
