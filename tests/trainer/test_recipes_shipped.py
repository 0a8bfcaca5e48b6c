"""The networks of the publication, and every shipped recipe from its first step to its page."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from lsa_onnx.layers import plan_layers
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.inspection import survey
from lsa_trainer.export import exported
from lsa_trainer.recipes import draw_figures, read_recipe, results_page, run_recipe, shipped
from lsa_trainer.recipes.architectures import SAMPLE_SHAPES, build
from tests.graphs import Array

WEIGHTS = {
    # 2·100 + 100, twice 100·100 + 100, 100 + 1.
    "moon-table2": 300 + 2 * 10_100 + 101,
    # 16·25 + 16, 32·16·25 + 32, 64·32·25 + 64, 576·100 + 100, 100·10 + 10.
    "mnist-table3": 416 + 12_832 + 51_264 + 57_700 + 1_010,
    # As published: 20.0 million of VGG-19 in its convolutions, 36.5 million of WRN-28-10.
    "cifar10-vgg19-table4": 20_035_018,
    "cifar10-wideresnet-table4": 36_479_194,
}


def points(name: str) -> list[list[str]]:
    """Of each layer that a scan of the exported network scores, the nodes whose weights feed it."""
    recipe = read_recipe(name, "smoke")
    # A network as wide as its first convolution has a block less to go around.
    recipe = replace(recipe, width=None if recipe.width is None else 2)
    x = torch.zeros(2, *SAMPLE_SHAPES[recipe.architecture])
    model = exported(build(recipe, 0), [x], ["x"], ["y"])
    plan = plan_layers(survey(model, Path(), resolve_device("cpu")))
    return [list(layer.learnable) for layer in plan.layers]


@pytest.mark.parametrize("name", WEIGHTS)
def test_numbers_of_weights(name: str) -> None:
    with torch.device("meta"):
        module = build(read_recipe(name), 0)
    assert sum(p.numel() for p in module.parameters()) == WEIGHTS[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers", "learnable"),
    [
        ("moon-table2", 3, 3),
        ("mnist-table3", 4, 4),
        ("cifar10-vgg19-table4", 16, 16),
        # Three convolutions go around a block, and are read with what they are added to.
        ("cifar10-wideresnet-table4", 25, 28),
    ],
)
def test_a_scan_finds_the_published_layers(name: str, layers: int, learnable: int) -> None:
    found = points(name)
    assert len(found) == layers
    assert len({node for nodes in found for node in nodes}) == learnable


def test_seeds_draw_weights_and_leave_the_callers_numbers_alone() -> None:
    recipe = read_recipe("moon-table2")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (build(recipe, seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_wide_blocks_go_around_with_the_activation() -> None:
    block: Any = build(read_recipe("cifar10-wideresnet-table4", "smoke"), 0)[5].eval()
    x = torch.randn(2, 16, 6, 4)
    active = torch.relu(block.bn1(x))
    inner = block.conv2(torch.relu(block.bn2(block.conv1(active))))
    assert block(x).shape == (2, 32, 3, 2)
    assert torch.allclose(block(x), block.around(active) + inner)


def digits(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for part, count in (("train", 400), ("test", 60)):
        y = np.arange(count) % 10
        x = rng.integers(0, 90, (count, 28, 28))
        for image, label in zip(x, y, strict=True):
            image[2 * label + 3 : 2 * label + 7, 5:23] += 150
        arrays |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y}
    np.savez(folder / "digits.npz", **arrays)  # type: ignore[arg-type] # names are free
    return folder / "digits.npz"


def images(folder: Path) -> Path:
    """Ten classes of small images in a tar."""
    rng = np.random.default_rng(0)
    path = folder / "images.tar"
    with tarfile.open(path, "w") as archive:
        for part, count in (("train", 8), ("test", 2)):
            for label, index in np.ndindex(10, count):
                pixels = rng.integers(0, 60, (32, 32, 3)) + 19 * label
                file = io.BytesIO()
                Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
                info = tarfile.TarInfo(f"{part}/class{label}/{index}.png")
                info.size = file.tell()
                file.seek(0)
                archive.addfile(info, file)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_recipe_runs_to_its_page_and_figures(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name, "smoke")
    if recipe.data.kind == "moons":
        pytest.importorskip("sklearn")
    makers = {"A": lambda _: None, "B": digits, "C": images, "D": images}
    data = makers[recipe.architecture](tmp_path)
    # One base of each table; the other rows of Table 2 differ in its name alone.
    rows = ("Normal", "AT-PGD*" if recipe.architecture == "A" else "AT-APGD*")
    ran = run_recipe(recipe, tmp_path / "work", data=data, rows=rows, device="cpu")
    ran.require_all()
    assert len(ran.results) == len(recipe.chosen_rows(rows))
    for result in ran.results:
        assert list(result.attacks) == ["fgsm", "auto"]
        assert len(result.attacks["auto"].eps) == len(recipe.eps_list)
        assert bool(result.layers) == ("-LR-" in result.row)
    page = results_page(ran.results)
    assert all(f"| {row.name} |" in page for row in recipe.chosen_rows(rows))
    onnx.checker.check_model(onnx.load(tmp_path / "work/seed-0/normal.onnx"))
    drawn = draw_figures(recipe, tmp_path / "work", tmp_path / "png", data=data, device="cpu")
    assert len(drawn) == (4 if recipe.architecture == "A" else 3)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


@pytest.mark.slow
def test_the_normal_row_of_table_2_is_within_3_points_of_the_published_one(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    recipe = read_recipe("moon-table2")
    recipe = replace(recipe, evaluate={"fgsm": recipe.evaluate["fgsm"]})
    ran = run_recipe(recipe, tmp_path, seeds=(0, 1), rows=("Normal",), device="cpu")
    ran.require_all()
    found = np.mean([result.attacks["fgsm"].accuracy for result in ran.results], axis=0)
    apart = np.abs(found - np.array(recipe.row("Normal").published))
    # The published value at 0.2 lies off the curve of its neighbours.
    assert np.delete(apart, 2).max() < 3
