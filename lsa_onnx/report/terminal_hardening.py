"""A hardening for a person at a terminal: the verdict, before and after, what was done to what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report import hardening_view as view
from lsa_onnx.report import text
from lsa_onnx.report.terminal_paint import Painter
from lsa_onnx.report.terminal_sections import print_sections
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from lsa_onnx.report.hardening import Comparison, Hardening, Share

_STYLES: dict[view.Status, str] = {
    "better": "bold green",
    "forced": "bold yellow",
    "refused": "bold red",
}
_LAYERS = 20
_CHANGES = 5
_BAR_WIDTH = 12
_NAME_WIDTH = 40


def print_hardening(hardening: Hardening, console: Console) -> None:
    """Print the verdict, scores before and after, what was regularised and what changed."""
    paint = Painter(console)
    paint.line(view.headline(hardening), _STYLES[view.status(hardening)])
    paint.line(view.standing(hardening))
    paint.line()
    _print_scores(hardening, paint)
    _print_layers(hardening, paint)
    _print_changes(hardening, paint)
    _print_notes(hardening, paint)
    print_sections(_sections(hardening), paint)


def _print_scores(hardening: Hardening, paint: Painter) -> None:
    found = hardening.comparison
    table = paint.new_table()
    table.add_column(paint.text(""))
    for title in ("Before", "After", "Change", "n"):
        table.add_column(paint.text(title), justify="right")
    for row in view.score_rows(found):
        scores = [_score(value, found) for value in (row.before, row.after)]
        cells = [row.name, *scores, view.change(row, found), f"{row.after.n:,}"]
        table.add_row(*map(paint.text, cells))
    paint.print(table)
    legend = [
        f"robust = under {view.threat(found)}",
        f"labels: {view.label_origin(found)}",
        "on samples that training never saw",
        "in brackets 95 % Wilson intervals" if found.measure == "accuracy" else "",
    ]
    paint.line(" · ".join(filter(None, legend)), "dim")
    paint.line()


def _score(value: Share, found: Comparison) -> str:
    bounds = view.bounds(value)
    return view.score(value, found) + (f" ({bounds})" if bounds else "")


def _print_layers(hardening: Hardening, paint: Painter) -> None:
    """The regularised layers, each with the weight of its term."""
    origin = visible(hardening.layers_from)
    if not hardening.layers:
        paint.line(f"Regularised layers: none ({origin})", "bold")
        paint.line()
        return
    paint.line(f"Regularised layers ({origin})", "bold")
    grid = paint.grid()
    grid.add_row(paint.text("γ", "dim"), paint.text("Tensor", "dim"))
    for name, gamma in list(hardening.layers.items())[:_LAYERS]:
        grid.add_row(paint.text(text.figure(gamma)), paint.text(visible(name)))
    paint.print(grid)
    if len(hardening.layers) > _LAYERS:
        paint.line(f"and {len(hardening.layers) - _LAYERS:,} more", "dim")
    paint.line()


def _print_changes(hardening: Hardening, paint: Painter) -> None:
    """The trained tensors that changed most."""
    changes = view.largest_changes(hardening)
    if not changes:
        return
    paint.line(f"Largest changes of weights, ‖W′ − W‖ / ‖W‖, {_of(len(changes))}", "bold")
    largest = changes[0][1] or 1.0
    grid = paint.grid()
    grid.add_column()
    for name, change in changes[:_CHANGES]:
        cells = [text.figure(change), paint.bar(change / largest, _BAR_WIDTH).ljust(_BAR_WIDTH)]
        grid.add_row(*map(paint.text, [*cells, paint.name(visible(name), _NAME_WIDTH)]))
    paint.print(grid)
    paint.line()


def _of(tensors: int) -> str:
    shown = min(tensors, _CHANGES)
    return f"{shown} of {text.count(tensors, 'tensor')}" if tensors > shown else "all tensors"


def _print_notes(hardening: Hardening, paint: Painter) -> None:
    """What limits the verdict, and what happened on the way."""
    lines = [*view.doubts(hardening), *map(visible, hardening.notes)]
    for content in lines:
        line = paint.text("Note ", "bold yellow")
        line.append_text(paint.text(content))
        paint.print(line)
    if lines:
        paint.line()


def _sections(hardening: Hardening) -> dict[str, list[str]]:
    return {
        "Model": [visible(hardening.model), f"SHA-256 {visible(hardening.model_sha256[:12])}…"],
        "Training": [
            view.progress(hardening),
            f"{hardening.trainable:,} of {hardening.weights:,} weights trained",
            f"{hardening.seconds:.1f} s",
        ],
        "Folder": [f"{visible(hardening.folder)} (checkpoints, log, configuration, result)"],
    }
