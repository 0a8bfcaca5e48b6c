"""Recipes as files: what they say, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.recipes import Recipe, read_recipe, shipped
from tests.trainer.recipe_files import DRAWN, FIGURES, TINY, write

NAMES = ["cifar10-vgg19-table4", "cifar10-wideresnet-table4", "mnist-table3", "moon-table2"]


@pytest.fixture
def tiny(tmp_path: Path) -> Recipe:
    return read_recipe(write(tmp_path))


def test_what_is_shipped() -> None:
    assert list(shipped()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_published_accuracies_add_up(name: str) -> None:
    published = [row for row in read_recipe(name).rows if row.published]
    for row in published:
        assert row.published_r_and_g == pytest.approx(sum(row.published), abs=0.02), row.name
    assert len(published) == (17 if name == "moon-table2" else 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_recipe_has_a_small_scale(name: str) -> None:
    small = read_recipe(name, "smoke")
    assert (small.scale, len(small.seeds)) == ("smoke", 1)
    assert small.rows == read_recipe(name).rows


def test_table_2_has_each_base_with_each_layer_and_the_list_of_the_scan() -> None:
    rows = {row.name: row for row in read_recipe("moon-table2").rows}
    assert len(rows) == 25
    for base in ("FGSM", "PGD", "TRADES", "FAST"):
        for layers in ("L0", "L1", "L2", "mvl"):
            row = rows[f"AT-{base}-LR-{layers.upper()}"]
            assert (row.base, row.layers) == (f"at-{base.lower()}", (layers,))
        assert rows[f"AT-{base}-E0.4"].options == {"eps": "0.4"}, "more ε and no term"


def test_what_a_recipe_says(tiny: Recipe) -> None:
    assert (tiny.name, tiny.architecture, tiny.seeds) == ("tiny", "A", (0, 1))
    assert tiny.data.range == (-2.0, 2.0)
    assert tiny.harden["gamma"] == "0.5"
    assert tiny.evaluate["square"].samples == 40
    assert [row.name for row in tiny.rows] == ["Normal", "AT", "AT-L1", "AT-MVL"]
    assert tiny.row("AT-L1").indices == (1,)
    assert tiny.row("AT-MVL").indices is None


def test_rows_by_wildcard_keep_their_order(tiny: Recipe) -> None:
    found = tiny.chosen_rows(("AT-*", "Normal"))
    assert [row.name for row in found] == ["Normal", "AT-L1", "AT-MVL"]
    assert tiny.chosen_rows(()) == tiny.rows
    with pytest.raises(DataError, match=r"row of recipe 'tiny': 'AT-L9'; accepted are Normal, AT,"):
        tiny.chosen_rows(("Normal", "AT-L9"))


def test_a_scale_changes_what_it_names(tmp_path: Path, tiny: Recipe) -> None:
    less = read_recipe(write(tmp_path), "less")
    assert (less.scale, less.seeds, less.evaluate["square"].samples) == ("less", (3,), 20)
    assert less.scan == tiny.scan


def test_options_of_a_row(tiny: Recipe) -> None:
    plain = tiny.options_of(tiny.row("AT"), Path("x.npz"))
    regularised = tiny.options_of(tiny.row("AT-L1"), Path("x.npz"), seed=4)
    assert (plain.base, plain.gamma, plain.eps) == ("at-fgsm", "0", "0.5")
    assert (regularised.gamma, regularised.seed) == ("0.5", 4)


def test_own_options_of_a_row_win(tmp_path: Path) -> None:
    text = TINY.replace('name = "AT-L1"', 'name = "AT-L1"\ngamma = 2\nepochs = 7')
    recipe = read_recipe(write(tmp_path, text))
    options = recipe.options_of(recipe.row("AT-L1"), Path("x.npz"))
    assert (options.gamma, options.epochs) == ("2", 7)


REFUSED = {
    "unknown key": ("threads = 1", "threds = 1", r"unknown key 'threds'; did you mean 'threads'\?"),
    "unknown key of data": ('kind = "file"', 'kind = "file"\nsize = 3', r"key in \[data\] 'size'"),
    "unknown option": ("steps = 1\n", "stepps = 1\n", r"option in \[harden\] 'stepps'; did you mean"),
    "option of the engine": ("gamma = 0.5", "seed = 3", r"option in \[harden\] 'seed'"),
    "wrong type": ("threads = 1", 'threads = "one"', r"'threads' in the recipe is 'one'; give"),
    "wrong type of a row": ('layers = "L1"', "layers = 1", r"'layers' in row 'AT-L1' is 1"),
    "unusable value": ("epochs = 1\nbatch", "epochs = 0\nbatch", r"--epochs 0 is not usable"),
    "missing": ('title = "Two blobs"', "", r"the recipe lacks 'title'"),
    "twice": ('name = "AT-L1"', 'name = "AT"', r"row 'AT' is there twice"),
    "no folder": ('name = "AT-L1"', 'name = "../AT"', r"row '\.\./AT' cannot name a folder"),
    "unknown base": ('base = "normal"', 'base = "usual"', r"base of row 'Normal': 'usual'"),
    "unknown layers": ('layers = "L1"', 'layers = "l1"', r"layers l1 of row 'AT-L1'"),
    "layers of the normal model": (
        'base = "normal"', 'base = "normal"\nlayers = "L0"', r"takes no layers L0",
    ),
    "published": ("[90, 85, 60]", "[90, 85]", r"'AT' has 2 published accuracies and eps_list 3"),
    "no clean accuracy": ('["0", "0.1"', '["0.05", "0.1"', r"0\.05, 0\.1, 0\.5 does not begin with 0"),
    "falling": ('"0.1", "0.5"]', '"0.5", "0.1"]', r"eps_list 0, 0\.5, 0\.1 does not grow"),
    "architecture": ('architecture = "A"', 'architecture = "E"', r"unknown architecture 'E'"),
    "width": ("threads = 1", "width = 2", r"width = 2 is for networks C and D, this is A"),
    "seeds": ("seeds = [0, 1]", "seeds = [0, 0]", r"seeds 0, 0 are not usable"),
    "attack": ("[evaluate.square]", "[evaluate.sqare]", r"attack to evaluate with 'sqare'; did you mean"),
    "rule of a scale": ("[scales.less]", '[scales.less]\ntitle = "x"', r"scale 'less' changes 'title'"),
    "no table": ("[scan]", "[scam]", r"unknown key 'scam'|\[scan\] lacks 'perturbations'"),
    "folder of another spelling": ('name = "AT-L1"', 'name = "at"', r"row 'AT' is there twice"),
    "seed too large": ("seeds = [0, 1]", "seeds = [4294967296]", r"give different numbers of 0 to 4294967295"),
    "threads": ("threads = 1", "threads = -1", r"threads = -1 is not usable; give 1 or more"),
    "samples to train": ('source = "blobs', 'train = 0\nsource = "blobs', r"train in \[data\] = 0"),
    "noise": ('source = "blobs', 'noise = nan\nsource = "blobs', r"noise in \[data\] = nan"),
    "value of the first step": ("[normal]\nepochs = 1", "[normal]\nepochs = 0", r"--epochs 0 is not"),
    "value of the scan": ("eta = 0.0", "eta = nan", r"--eta nan is not a finite number"),
    "perturbation": ("gaussian=0.3", "gausian=0.3", r"unknown perturbation 'gausian'"),
    "value of an evaluation": ("samples = 40", "batch = 0", r"--batch 0 is not usable"),
    "no TOML": ("seeds = [0, 1]", "seeds = [0, 1", r"is no TOML"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_names_the_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TINY
    path = write(tmp_path, TINY.replace(old, new, 1))
    with pytest.raises(DataError, match=said) as caught:
        read_recipe(path)
    assert re.match(r"recipe 'tiny\.toml': ", str(caught.value))
    assert "\n" not in str(caught.value)


REFUSED_FIGURES = {
    "row": ('rows = ["Normal", "AT"]', 'rows = ["Normal", "A"]', r"row in \[figures\]: 'A'; accepted are"),
    "extent": ('extent = "0.4"', 'extent = "9"', r"--extent 9 is 9, more than the range's width 4"),
    "points": ("points = 3", "points = 4", r"--points 4 is even"),
    "perturbation": ('"fgsm"]', '"fgsn"]', r"unknown perturbation 'fgsn'"),
    "missing": ('eps = "0.5"\nextent', "extent", r"\[figures\] lacks 'eps'"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), REFUSED_FIGURES.values(), ids=REFUSED_FIGURES)
def test_figures_are_refused_before_anything_runs(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in FIGURES
    text = DRAWN.replace(FIGURES, FIGURES.replace(old, new, 1))
    with pytest.raises(DataError, match=said):
        read_recipe(write(tmp_path, text))


def test_unknown_recipes_and_scales(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"unknown recipe 'moon-table3'; did you mean 'moon-table2'"
    ):
        read_recipe("moon-table3")
    with pytest.raises(DataError, match=r"'gone\.toml': cannot be read: No such file"):
        read_recipe(tmp_path / "gone.toml")
    with pytest.raises(DataError, match=r"unknown scale 'les'; did you mean 'less'\?"):
        read_recipe(write(tmp_path), "les")
