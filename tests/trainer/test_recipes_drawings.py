"""The figures of a recipe: of rows that are done, with the numbers behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.recipes import draw_figures, read_recipe, require_figures, run_recipe
from tests.trainer.recipe_files import (
    DRAWN,
    TINY,
    blobs,
    quick_first_step,
    quick_hardening,
    remember_scans,
    write,
)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows that are done without training."""
    quick_first_step(monkeypatch)
    quick_hardening(monkeypatch)
    remember_scans(monkeypatch)
    recipe = read_recipe(write(tmp_path, DRAWN))
    run_recipe(
        recipe,
        tmp_path / "work",
        data=blobs(tmp_path),
        seeds=(1,),
        rows=("Normal", "AT"),
        device="cpu",
    )
    return tmp_path / "work"


def draw(work: Path, text: str = DRAWN, seed: int = 1) -> list[Path]:
    recipe, data = read_recipe(write(work.parent, text)), work.parent / "blobs.npz"
    return draw_figures(recipe, work, work.parent / "png", data=data, seed=seed, device="cpu")


def numbers(work: Path, name: str) -> Any:
    return json.loads((work / f"figures/{name}.json").read_text("utf-8"))


def test_every_figure_is_drawn_and_its_numbers_are_kept(work: Path) -> None:
    drawn = draw(work)
    assert [path.name for path in drawn] == [
        f"tiny-{name}.png" for name in ("layers", "inputs", "weights", "regions")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)

    before = numbers(work, "layers-Normal")
    assert [each["name"] for each in before["perturbations"]] == ["gaussian", "fgsm"]
    assert before["data"]["samples"] == 20
    scores = [
        [layer["relative_error"]["mean"] for layer in report["perturbations"][1]["layers"]]
        for report in (before, numbers(work, "layers-AT"))
    ]
    assert len(scores[0]) == len(scores[1]) == 2

    inputs = numbers(work, "inputs")
    assert [Path(m["file"]["path"]).name for m in inputs["models"]] == ["Normal.onnx", "AT.onnx"]
    assert [axis["values"] for axis in inputs["axes"]] == [pytest.approx([-0.4, 0, 0.4])] * 2
    # The rows differ in their last bias, which the loss sees.
    assert inputs["surfaces"][0]["loss"] != inputs["surfaces"][1]["loss"]

    weights = numbers(work, "weights")
    assert len(weights["models"]) == 1
    told = {surface["proposal"]: sorted(surface["gammas"]) for surface in weights["surfaces"]}
    listed = json.loads((work / "seed-1/scan.json").read_text("utf-8"))["mvl"]["layers"]
    assert told == {"none": [], "first": ["first"], "second": ["second"], "mvl": sorted(listed)}
    assert len(numbers(work, "regions")["regions"]) == 2


def test_a_row_that_is_not_done_is_named(work: Path) -> None:
    with pytest.raises(
        DataError, match=r"row 'AT-L1', whose model .*No such file.*; run that row first"
    ):
        draw(work, DRAWN.replace('rows = ["Normal", "AT"]', 'rows = ["Normal", "AT-L1"]'))


def test_a_recipe_may_have_no_figures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'tiny' says nothing of figures; add a table \[figures\]"):
        require_figures(read_recipe(write(tmp_path, TINY)))
