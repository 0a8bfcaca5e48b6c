"""The figures of a recipe, of rows that are done: CM by layer, the loss around inputs and weights, regions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsa_onnx.boundary import decision_boundary
from lsa_onnx.errors import DataError
from lsa_onnx.landscape import input_landscape
from lsa_onnx.report import write_json
from lsa_onnx.report.figures import require_drawable
from lsa_onnx.scanning import scan
from lsa_trainer.landscape import weight_landscape
from lsa_trainer.listener import TrainingListener
from lsa_trainer.recipes.architectures import SAMPLE_SHAPES
from lsa_trainer.recipes.data import find_samples
from lsa_trainer.recipes.progress import Bars
from lsa_trainer.recipes.recipe import FigureSpec, Recipe
from lsa_trainer.recipes.specified import (
    inputs_figure,
    layers_figure,
    regions_figure,
    weights_figure,
)
from lsa_trainer.recipes.stages import SCAN, model_of
from lsa_trainer.training.checkpoint import make_folder

# Folder of the numbers behind the figures, and of the models by the names of their rows.
_FOLDER = "figures"
_TWO_FEATURES = (2,)


def require_figures(recipe: Recipe) -> None:
    """Fail before any work where a recipe has no figures, or they cannot be drawn.

    Raises:
        DataError: That is so.
    """
    if recipe.figures is None:
        raise DataError(
            f"recipe {recipe.name!r} says nothing of figures; add a table [figures] with rows, "
            "perturbations, eps and extent"
        )
    require_drawable("figure.png")


def draw_figures(
    recipe: Recipe,
    work: str | Path,
    folder: str | Path,
    *,
    data: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    listener: TrainingListener | None = None,
) -> list[Path]:
    """Draw what the recipe says as PNG files, all of one seed and on test samples.

    CM by layer and the loss around inputs show the models of all rows that are named, the loss over weights the
    first of them for each proposal of layers, and regions are of models with two features. The numbers behind
    each figure stay in ``work``.

    Args:
        recipe: With ``figures``.
        work: Folder of its runs.
        folder: Of the PNG files.
        data: As ``run_recipe`` takes it.
        seed: Of the rows; by default the recipe's first.
        device: "auto", "cpu", "cuda" or "cuda:N".
        listener: Told of progress.

    Returns:
        The files that were written.

    Raises:
        LsaError: A row is not done yet, or a figure cannot be made.
    """
    require_figures(recipe)
    spec = recipe.figures
    if spec is None:
        raise ValueError("require_figures lets no such recipe through")
    seed = recipe.seeds[0] if seed is None else seed
    of_seed = Path(work) / f"seed-{seed}"
    samples = find_samples(recipe, None if data is None else Path(data), Path(work), seed)
    kept = Path(work) / _FOLDER
    make_folder(kept)
    make_folder(folder)
    subject = {
        **samples.testing,
        "range": recipe.data.range,
        "decision": recipe.data.decision,
        "device": device,
        "seed": seed,
    }
    sheet = _Sheet(recipe, spec, subject, _named(recipe, spec, of_seed, kept), of_seed / SCAN)
    bars = Bars(listener or TrainingListener())
    figures: list[tuple[str, Callable[[_Sheet, Bars, Path, Path], None]]] = [
        ("layers", _layers),
        ("inputs", _inputs),
        ("weights", _weights),
    ]
    if SAMPLE_SHAPES[recipe.architecture] == _TWO_FEATURES:
        figures.append(("regions", _regions))
    drawn = []
    for name, draw in figures:
        path = Path(folder) / f"{recipe.name}-{name}.png"
        draw(sheet, bars, kept / f"{name}.json", path)
        drawn.append(path)
    return drawn


@dataclass(frozen=True)
class _Sheet:
    """What all figures share: ``models`` are copies that bear the names of their rows."""

    recipe: Recipe
    spec: FigureSpec
    subject: dict[str, Any]
    models: Sequence[Path]
    report: Path


def _named(recipe: Recipe, spec: FigureSpec, of_seed: Path, kept: Path) -> list[Path]:
    """The models of the rows, under the names that figures show.

    Raises:
        DataError: One is not there, or cannot be copied.
    """
    found = []
    for name in spec.rows:
        model = model_of(of_seed, recipe.row(name))
        try:
            found.append(Path(shutil.copyfile(model, kept / f"{name}.onnx")))
        except OSError as error:
            raise DataError(
                f"figures show row {name!r}, whose model {str(model)!r} cannot be had: {error.strerror or error}; "
                "run that row first"
            ) from error
    return found


def _layers(sheet: _Sheet, bars: Bars, numbers: Path, path: Path) -> None:
    from lsa_onnx.report.figures.layers import draw_layers  # matplotlib

    options = layers_figure(sheet.spec, sheet.recipe.scan.eta, **sheet.subject)
    reports = [scan(model, options, bars) for model in sheet.models]
    for model, report in zip(sheet.models, reports, strict=True):
        write_json(report, numbers.with_name(f"{numbers.stem}-{model.stem}.json"))
    draw_layers(reports, path)


def _inputs(sheet: _Sheet, bars: Bars, numbers: Path, path: Path) -> None:
    from lsa_onnx.report.figures.surfaces import draw_surfaces  # matplotlib

    landscape = input_landscape(sheet.models, inputs_figure(sheet.spec, **sheet.subject), bars)
    write_json(landscape, numbers)
    draw_surfaces(landscape, path)


def _weights(sheet: _Sheet, bars: Bars, numbers: Path, path: Path) -> None:
    from lsa_onnx.report.figures.surfaces import draw_surfaces  # matplotlib

    options = weights_figure(sheet.spec, report=sheet.report, **sheet.subject)
    # The list is that of the model of step 1, whatever model the figure is of.
    landscape = weight_landscape(sheet.models[:1], options, bars)
    write_json(landscape, numbers)
    draw_surfaces(landscape, path)


def _regions(sheet: _Sheet, bars: Bars, numbers: Path, path: Path) -> None:
    from lsa_onnx.report.figures.boundary import draw_boundary  # matplotlib

    boundary = decision_boundary(sheet.models, regions_figure(sheet.spec, **sheet.subject), bars)
    write_json(boundary, numbers)
    draw_boundary(boundary, path)
