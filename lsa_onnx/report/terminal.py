"""A report for a person at a terminal.

Every name from a model or a path becomes ``rich.text.Text`` after its control characters are made
visible, so neither markup nor terminal commands in it have an effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.facts import opsets
from lsa_onnx.report.terminal_layers import print_scores
from lsa_onnx.report.terminal_paint import Painter
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
    _print_sections(report, paint)
    _print_warnings(report, paint)
    if report.accuracy is not None:
        paint.line(f"Clean accuracy {text.accuracy(report.accuracy)}", "bold")
        paint.line()
    _print_perturbations(report, paint)
    print_scores(report, paint, verbose=verbose)
    _print_reasons(report.not_scored, paint, verbose=verbose)


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
    paint.line(visible(report.verdict.headline), style.get(report.verdict.status, "bold yellow"))
    for detail in report.verdict.details:
        paint.line(visible(detail))
    paint.line()


def _print_sections(report: Report, paint: Painter) -> None:
    grid = paint.grid()
    for label, parts in (
        ("Model", _model_parts(report)),
        ("Data", _data_parts(report)),
        ("Input", _input_parts(report)),
        ("Run", _run_parts(report)),
        ("Check", [view.observer_line(report)]),
    ):
        grid.add_row(
            paint.text(label, "bold"), paint.text(" · ".join(part for part in parts if part))
        )
    paint.print(grid)
    paint.line()


def _model_parts(report: Report) -> list[str]:
    model = report.model
    return [
        visible(model.file.path),
        f"{model.nodes:,} nodes",
        f"{model.parameters:,} parameters",
        f"opset {opsets(model)}",
        f"SHA-256 {visible(model.file.sha256[:12])}…",
    ]


def _data_parts(report: Report) -> list[str]:
    data = report.data
    count = f"{data.samples:,} of {data.available:,} samples"
    return [visible(data.source), count, "labels" if data.labels else "no labels"]


def _input_parts(report: Report) -> list[str]:
    section = report.input
    low, high = section.range
    return [
        visible(section.name),
        f"range {text.brief(low)} to {text.brief(high)}",
        f"mean {text.numbers(section.mean)}" if section.mean else "",
        f"std {text.numbers(section.std)}" if section.std else "",
        visible(section.layout or ""),
        f"from {section.source}",
    ]


def _run_parts(report: Report) -> list[str]:
    run = report.run
    return [
        visible(run.device),
        f"ONNX Runtime {visible(run.onnxruntime)}",
        f"batch {run.batch:,} ({run.batch_mode})",
        f"seed {run.seed}",
        f"{run.seconds:.1f} s",
        visible(run.device_note or ""),
    ]


def _print_warnings(report: Report, paint: Painter) -> None:
    for warning in report.warnings:
        line = paint.text("Warning ", "bold yellow")
        line.append_text(paint.text(f"{visible(warning.code)}: {visible(warning.message)}"))
        paint.print(line)
    if report.warnings:
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
