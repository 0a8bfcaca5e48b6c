"""A comparison for a person at a terminal: what is worse, accuracies, layers, gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report import comparison_view as view
from lsa_onnx.report import text
from lsa_onnx.report.terminal_gates import print_gates
from lsa_onnx.report.terminal_paint import Painter
from lsa_onnx.report.terminal_sections import print_sections
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from lsa_onnx.report.comparison import Compared, Comparison, PerturbationChange, Verdict
    from lsa_onnx.report.comparison_view import LayerRow

ROWS = 30

_STYLES: dict[Verdict, str] = {
    "worse": "bold red",
    "better": "green",
    "same": "dim",
    "undefined": "yellow",
}
_TITLES: dict[Verdict, str] = {
    "worse": "bold red",
    "better": "bold green",
    "same": "bold",
    "undefined": "bold",
}
_NAME_WIDTH = 32
_LEGEND = (
    "in brackets 95 % intervals · worse and better: beyond chance, by the interval of the difference of "
    "accuracies, by intervals of the mean CM that do not overlap"
)
_LAYERS_LEGEND = (
    "● rank in the MVL list · Δφ: change of the mean ‖Δφ‖, which a larger clean norm leaves alone"
)


def print_comparison(comparison: Comparison, console: Console, *, verbose: bool = False) -> None:
    """Print what changed.

    Args:
        comparison: What was compared.
        console: Where to print.
        verbose: Show every layer and note.
    """
    paint = Painter(console)
    paint.line(view.headline(comparison), _TITLES[view.status(comparison)])
    for regression in comparison.regressions[1:]:
        paint.line(f"  {visible(regression.told)}", "red")
    paint.line()
    print_sections(_sections(comparison), paint)
    _print_scores(comparison, paint)
    change = view.judged(comparison)
    if change is not None and change.layers:
        _print_layers(change, paint, verbose=verbose)
    for remark in view.remarks(comparison):
        paint.line(remark)
    if view.remarks(comparison):
        paint.line()
    print_gates(comparison.gates, paint)


def _sections(comparison: Comparison) -> dict[str, list[str]]:
    data, (low, high) = comparison.data, comparison.range
    return {
        "Before": _told(comparison.before),
        "After": _told(comparison.after),
        "Data": [visible(data.source), text.count(data.samples, "sample")],
        "Input": [f"range {text.brief(low)} to {text.brief(high)}: strengths are in its units"],
    }


def _told(side: Compared) -> list[str]:
    model = "" if side.source == side.model.path else visible(side.model.path)
    return [visible(side.source), model, f"SHA-256 {visible(side.model.sha256[:12])}…"]


def _print_scores(comparison: Comparison, paint: Painter) -> None:
    rows = view.score_rows(comparison)
    if not rows:
        return
    paint.line("Accuracy (differences in percentage points)", "bold")
    table = paint.new_table()
    table.add_column(paint.text(""), no_wrap=True)
    for title in ("Before", "After", "Difference"):
        table.add_column(paint.text(title), justify="right")
    table.add_column(paint.text(""))
    for row in rows:
        cells = [_pair(*each) for each in (row.before, row.after, row.difference)]
        texts = map(paint.text, [paint.name(row.name, _NAME_WIDTH), *cells])
        table.add_row(*texts, paint.text(row.verdict, _STYLES[row.verdict]))
    paint.print(table)
    paint.line(_LEGEND, "dim")
    paint.line()


def _pair(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


def _print_layers(change: PerturbationChange, paint: Painter, *, verbose: bool) -> None:
    rows = view.layer_rows(change)
    shown = rows if verbose or len(rows) <= ROWS else _chosen(rows)
    paint.line(f"Mean CM under {view.strength(change)}", "bold")
    table = paint.new_table()
    table.add_column(paint.text("#"), justify="right", no_wrap=True)
    table.add_column(paint.text("Layer"), no_wrap=True)
    for title in ("Before", "After", "Change", "Δφ"):
        table.add_column(paint.text(title), justify="right")
    table.add_column(paint.text(""))
    for row in shown:
        cells = [_ranked(row.before, row.ranks[0]), _ranked(row.after, row.ranks[1])]
        name = paint.name(row.name, _NAME_WIDTH)
        texts = map(paint.text, [str(row.number), name, *cells, row.change, row.moved])
        table.add_row(*texts, paint.text(row.verdict, _STYLES[row.verdict]))
    paint.print(table)
    if len(shown) < len(rows):
        hidden = f"{len(shown)} of {len(rows)} layers are shown, those that changed; -v shows all"
        paint.line(hidden, "bold")
    paint.line(_LAYERS_LEGEND, "dim")
    for sentence in view.lists(change):
        paint.line(sentence)
    _print_norms(change, paint, verbose=verbose)
    paint.line()


def _ranked(cell: tuple[str, str], rank: int | None) -> str:
    mark = "" if rank is None else f"●{rank} "
    return mark + _pair(*cell)


def _chosen(rows: list[LayerRow]) -> list[LayerRow]:
    """Of many layers those that changed or are in a list, at most ``ROWS``."""
    telling = [row for row in rows if any(row.ranks) or row.verdict in ("better", "worse")]
    return telling[:ROWS]


def _print_norms(change: PerturbationChange, paint: Painter, *, verbose: bool) -> None:
    notes = view.norm_notes(change)
    for name, note in notes if verbose else notes[:ROWS]:
        paint.line(f"{paint.name(name, _NAME_WIDTH)}: {note}", "yellow")
