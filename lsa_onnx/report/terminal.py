"""A report for a person at a terminal.

Every name from a model or a path becomes ``rich.text.Text`` after its control characters are made
visible, so neither markup nor terminal commands in it have an effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.terminal_attacks import print_attacks
from lsa_onnx.report.terminal_gates import print_gates
from lsa_onnx.report.terminal_layers import print_scores
from lsa_onnx.report.terminal_paint import Painter
from lsa_onnx.report.terminal_sections import (
    audited_parts,
    print_sections,
    print_warnings,
    run_parts,
)
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lsa_onnx.report.document import LayerInfo, NotScored, Report

REASONS_SHOWN = 8
NAME_WIDTH = 24


def print_report(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print the verdict, how it was measured and the scores of the layers.

    Args:
        report: What the scan found.
        console: Where to print. Its width decides which columns stand in the first table.
        verbose: Show every layer, note and reason; else, of many layers, the MVL list and the
            layers that moved most.
    """
    paint = Painter(console)
    _print_verdict(report, paint)
    run = run_parts(report.run)
    audited = audited_parts(report.model, report.data, report.input)
    print_sections({**audited, "Run": run, "Check": [view.observer_line(report)]}, paint)
    print_warnings(report.warnings, paint)
    if report.accuracy is not None:
        paint.line(f"Clean accuracy {text.accuracy(report.accuracy)}", "bold")
        paint.line()
    print_attacks(report, paint)
    _print_perturbations(report, paint)
    print_scores(report, paint, verbose=verbose)
    _print_reasons(report.not_scored, paint, verbose=verbose)
    print_gates(report.gates, paint)


def print_layers(layers: list[LayerInfo], not_scored: list[NotScored], console: Console) -> None:
    """Print the layers that a scan would score and every tensor that it would not, with the reason.

    Names are never cut, for they are what ``--layers`` takes: on a terminal they are folded, in a
    pipe or file every layer has one line, however long.
    """
    paint = Painter(console)
    paint.line(f"{text.count(len(layers), 'layer')} scored, in graph order", "bold")
    paint.table(_layer_table(layers, paint), full_width=not console.is_terminal)
    paint.line()
    if not_scored:
        paint.line(f"{text.count(len(not_scored), 'tensor')} not scored", "bold")
        paint.table(_not_scored_table(not_scored, paint), full_width=not console.is_terminal)


def _print_verdict(report: Report, paint: Painter) -> None:
    style = {"layers found": "bold red", "no layer stands out": "bold green"}
    if report.data.synthetic:
        paint.line(
            "SYNTHETIC DATA: random inputs, these figures say nothing about real ones",
            "bold yellow",
        )
    if report.shard is not None:
        paint.line(view.shard_line(report.shard), "bold yellow")
    paint.line(visible(report.verdict.headline), style.get(report.verdict.status, "bold yellow"))
    for detail in report.verdict.details:
        paint.line(visible(detail))
    paint.line()


def _print_perturbations(report: Report, paint: Painter) -> None:
    """One line per perturbation: how strong it was and what it did to the predictions."""
    if not report.perturbations:
        return
    table = paint.new_table()
    table.add_column(paint.text("Perturbation"), no_wrap=True)
    table.add_column(paint.text("Settings"), overflow="fold")
    for title in ("Accuracy", "Labels flipped", "Largest change", "Relative change"):
        table.add_column(paint.text(title), justify="right", max_width=8)
    for result in report.perturbations:
        value = None if result.accuracy is None else result.accuracy.value
        cells = [
            text.share(value),
            text.share(result.flips),
            text.figure(result.input_linf.mean),
            text.figure(result.input_relative.mean),
        ]
        name = paint.name(visible(result.name), NAME_WIDTH)
        names = [name, text.parameters(result.parameters)]
        table.add_row(*(paint.text(cell) for cell in names + cells))
    paint.print(table)
    paint.line()


def _print_reasons(not_scored: list[NotScored], paint: Painter, *, verbose: bool) -> None:
    if not not_scored:
        return
    found = view.reasons(not_scored)
    shown = found if verbose else found[:REASONS_SHOWN]
    paint.line(f"{text.count(len(not_scored), 'tensor')} not scored", "bold")
    grid = paint.grid(right=True)
    for reason, count in shown:
        grid.add_row(paint.text(f"  {count:,}"), paint.text(reason))
    paint.print(grid)
    if len(found) > len(shown):
        paint.line(f"  … and {text.count(len(found) - len(shown), 'further reason')}")


def _layer_table(layers: list[LayerInfo], paint: Painter) -> Table:
    table = paint.new_table()
    table.add_column(paint.text("#"), justify="right", no_wrap=True)
    for title, ratio in (("Tensor", 4), ("Node", 3), ("Op", None), ("Shape", 2)):
        table.add_column(paint.text(title), ratio=ratio, overflow="fold")
    table.add_column(paint.text("Parameters"), justify="right", no_wrap=True)
    for number, layer in enumerate(layers):
        names = (layer.tensor, layer.node, layer.op)
        cells = [
            str(number),
            *map(visible, names),
            text.shape(layer.shape),
            f"{layer.parameters:,}",
        ]
        table.add_row(*_texts(cells, paint))
    return table


def _not_scored_table(not_scored: list[NotScored], paint: Painter) -> Table:
    table = paint.new_table()
    for title, ratio in (("Tensor", 3), ("Node", 2), ("Op", None), ("Reason", 4)):
        table.add_column(paint.text(title), ratio=ratio, overflow="fold")
    for item in not_scored:
        table.add_row(*_texts(map(visible, (item.tensor, item.node, item.op, item.reason)), paint))
    return table


def _texts(cells: Iterable[str], paint: Painter) -> list[Text]:
    return [paint.text(cell) for cell in cells]
