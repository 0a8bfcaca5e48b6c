"""A landscape for a person at a terminal: each surface in figures, a coarse table of it, curvatures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.terminal_paint import Painter
from lsa_onnx.report.terminal_sections import audited_parts, print_sections, print_warnings
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from lsa_onnx.report.landscape import Axis, Curvature, Landscape, LandscapeRun, Surface
    from lsa_onnx.report.sections import DataSection, InputSection, ModelSection

_NAME_WIDTH = 36
# Of each axis; the whole surface is in the JSON file and in the figures.
_SHOWN_POINTS = 5
_SHOWN_TABLES = 4
_UNITS = {"input": "in units of the range", "weights": "times the norm of each filter"}


def print_landscape(landscape: Landscape, console: Console) -> None:
    """Print what each surface comes to, coarse tables of the first ones, warnings and how it was made."""
    paint = Painter(console)
    _print_title(landscape, paint)
    _print_summary(landscape, paint)
    _print_curvatures(landscape, paint)
    for surface in landscape.surfaces[:_SHOWN_TABLES]:
        _print_table(landscape, surface, paint)
    left = len(landscape.surfaces) - _SHOWN_TABLES
    print_left_out(left, "further surface", "--json, --plot or --html", paint)
    print_warnings(landscape.warnings, paint)
    audited = audited_models(landscape.models, landscape.data, landscape.input)
    print_sections({**audited, "Run": _run_parts(landscape.run)}, paint)


def surface_name(landscape: Landscape, surface: Surface) -> str:
    """The model's file, and what is regularised where anything is."""
    file = visible(PurePath(landscape.models[surface.model].file.path).name)
    return file if surface.proposal == "none" else f"{file} · {visible(surface.proposal)}"


def _print_title(landscape: Landscape, paint: Painter) -> None:
    where = "inputs" if landscape.space == "input" else "weights"
    objective = visible(text.objective(landscape.objective))
    paint.line(f"Objective {objective} around {where}", "bold")
    unit = _UNITS[landscape.space]
    for which, axis in zip(("down", "across"), landscape.axes, strict=True):
        low, high = axis.values[0], axis.values[-1]
        paint.line(
            f"{which}: {visible(axis.name)}, {text.brief(low)} to {text.brief(high)} {unit}", "dim"
        )
    paint.line()


def _print_summary(landscape: Landscape, paint: Painter) -> None:
    """A row per surface: at the centre, at its corners, its extremes, and accuracy likewise."""
    table = paint.new_table()
    table.add_column(paint.text("Surface"), no_wrap=True)
    for title in ("Centre", "Corners", "Lowest", "Highest", "Accuracy", "Least"):
        table.add_column(paint.text(title), justify="right")
    for surface in landscape.surfaces:
        cells = [paint.name(surface_name(landscape, surface), _NAME_WIDTH), *_summary(surface)]
        table.add_row(*map(paint.text, cells))
    paint.print(table)
    paint.line("Centre, corners (their mean), extremes: of the mean objective over samples", "dim")
    paint.line()


def _summary(surface: Surface) -> list[str]:
    known = [value for row in surface.loss for value in row if value is not None]
    corners = [row[side] for row in (surface.loss[0], surface.loss[-1]) for side in (0, -1)]
    found = [value for value in corners if value is not None]
    return [
        text.figure(_centre(surface.loss)),
        text.figure(math.fsum(found) / 4 if len(found) == 4 else None),
        text.figure(min(known, default=None)),
        text.figure(max(known, default=None)),
        *_accuracies(surface),
    ]


def _accuracies(surface: Surface) -> tuple[str, str]:
    """At the centre, and the least anywhere."""
    if surface.accuracy is None:
        return text.MISSING, text.MISSING
    known = [value for row in surface.accuracy for value in row if value is not None]
    return text.share(_centre(surface.accuracy)), text.share(min(known, default=None))


def _centre(values: Sequence[Sequence[float | None]]) -> float | None:
    middle = len(values) // 2
    return values[middle][len(values[middle]) // 2]


def _print_curvatures(landscape: Landscape, paint: Painter) -> None:
    definitions: dict[str, None] = {}
    table = paint.new_table()
    table.add_column(paint.text("Curvature"), no_wrap=True)
    table.add_column(paint.text("Measure"), no_wrap=True)
    for title in ("Mean", "95 % interval", "n"):
        table.add_column(paint.text(title), justify="right")
    for surface in landscape.surfaces:
        for curvature in surface.curvatures:
            definitions[f"{visible(curvature.measure)}: {visible(curvature.definition)}"] = None
            name = paint.name(surface_name(landscape, surface), _NAME_WIDTH)
            table.add_row(*map(paint.text, [name, *_curvature(curvature)]))
    if not definitions:
        return
    paint.print(table)
    for definition in definitions:
        paint.line(definition, "dim")
    paint.line()


def _curvature(curvature: Curvature) -> list[str]:
    bounds = text.MISSING
    if curvature.interval is not None:
        bounds = " to ".join(map(text.figure, curvature.interval))
    mean = text.figure(curvature.value)
    return [visible(curvature.measure), mean, bounds, f"{curvature.n:,}"]


def _print_table(landscape: Landscape, surface: Surface, paint: Painter) -> None:
    """The mean objective at some points, the first axis down and the second across."""
    paint.line(surface_name(landscape, surface), "bold")
    down, across = landscape.axes
    rows, columns = _shown(down), _shown(across)
    table = paint.new_table()
    table.add_column(paint.text(""), justify="right", no_wrap=True)
    for j in columns:
        table.add_column(paint.text(_coordinate(across.values[j])), justify="right")
    for i in rows:
        cells = [_coordinate(down.values[i]), *(text.figure(surface.loss[i][j]) for j in columns)]
        table.add_row(*map(paint.text, cells))
    paint.print(table)
    paint.line()


def _coordinate(value: float) -> str:
    return f"{value:.3g}"


def _shown(axis: Axis) -> list[int]:
    """Positions spread over the axis, both ends and the centre among them."""
    last = len(axis.values) - 1
    count = min(_SHOWN_POINTS, len(axis.values)) - 1
    return [round(step * last / count) for step in range(count + 1)]


def print_left_out(left: int, what: str, flags: str, paint: Painter) -> None:
    """Where to find the ``left`` ones for which a terminal has no room, if there are any."""
    if left > 0:
        paint.line(f"{text.count(left, what)}: use {flags}", "dim")
        paint.line()


def audited_models(
    models: Sequence[ModelSection], data: DataSection, section: InputSection
) -> dict[str, list[str]]:
    """The sections that say what was audited, for several models on the same samples."""
    parts = [audited_parts(model, data, section) for model in models]
    titles = ["Model"] if len(models) == 1 else [f"Model {n}" for n in range(1, len(models) + 1)]
    named = {title: each["Model"] for title, each in zip(titles, parts, strict=True)}
    return {**named, "Data": parts[0]["Data"], "Input": parts[0]["Input"]}


def _run_parts(run: LandscapeRun) -> list[str]:
    return [
        visible(run.device),
        f"ONNX Runtime {visible(run.onnxruntime)}",
        f"torch {visible(run.torch)}" if run.torch else "",
        visible(run.attack or ""),
        f"seed {run.seed}",
        f"{run.seconds:.1f} s",
    ]
