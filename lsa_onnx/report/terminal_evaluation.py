"""An evaluation for a person at a terminal: clean accuracy, robust accuracy by eps, how measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.curves import (
    Curve,
    Strength,
    breaking,
    curves,
    eps_texts,
    strengths,
    summary_of,
)
from lsa_onnx.report.terminal_gates import print_gates
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

    from lsa_onnx.report.evaluation import AttackAtEps, AttackSummary, Evaluation

_NAME_WIDTH = 24
_STRENGTH_WIDTH = 32
# These stand in columns of their own.
_TOLD = frozenset({"eps", "norm"})
_LEGEND = (
    "robust accuracy = share of all samples that stay right · success = share of the initially "
    "right samples that the attack broke · in brackets 95 % Wilson intervals"
)
R_AND_G_LEGEND = (
    "R&G, robustness and generalisation = sum over eps of the accuracy in percent, the clean one among "
    "them; its interval is that of a bootstrap over samples"
)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print clean and robust accuracy, what each attack did, warnings and how it was measured."""
    paint = Painter(console)
    _print_clean(evaluation, paint)
    if evaluation.results:
        _print_curves(evaluation, paint)
        _print_breaking(evaluation, paint)
        _print_attacks(evaluation, paint)
        paint.line(_LEGEND, "dim")
        if evaluation.summaries:
            paint.line(R_AND_G_LEGEND, "dim")
        paint.line()
    print_warnings(evaluation.warnings, paint)
    audited = audited_parts(evaluation.model, evaluation.data, evaluation.input)
    restarts = text.count(evaluation.run.restarts, "restart")
    print_sections({**audited, "Run": [*run_parts(evaluation.run), restarts]}, paint)
    print_gates(evaluation.gates, paint)


def _print_clean(evaluation: Evaluation, paint: Painter) -> None:
    paint.line(f"Clean accuracy {text.accuracy(evaluation.clean)}", "bold")
    if evaluation.labels == "predicted":
        paint.line(
            "No labels were given: the model's own clean predictions stand for them, and accuracy "
            "is agreement with those",
            "bold yellow",
        )
    paint.line()


def _print_curves(evaluation: Evaluation, paint: Painter) -> None:
    """Robust accuracy, a row per eps and a column per attack, in as many tables as are needed."""
    low, high = evaluation.input.range
    unit = f"eps in units of the range {text.brief(low)} to {text.brief(high)}"
    paint.line(f"Robust accuracy ({unit})", "bold")
    rows = strengths(evaluation)
    labels = [paint.name(_strength(row), _STRENGTH_WIDTH) for row in rows]
    for part in _parts(evaluation, paint, max(map(paint.columns, labels))):
        table = paint.new_table()
        table.add_column(paint.text("eps"), no_wrap=True)
        for curve in part:
            name = paint.name(visible(curve.attack), _NAME_WIDTH)
            table.add_column(paint.text(name), justify="right")
        for number, label in enumerate(labels):
            cells = [label, *(_robust(curve.points[number]) for curve in part)]
            table.add_row(*map(paint.text, cells))
        if evaluation.summaries:
            scores = [score(summary_of(evaluation, curve.attack)) for curve in part]
            table.add_row(*map(paint.text, ["R&G", *scores]))
        paint.print(table)
        paint.line()


def _parts(evaluation: Evaluation, paint: Painter, taken: int) -> Iterator[list[Curve]]:
    """The curves in groups whose columns fit beside a label of ``taken`` columns."""
    part: list[Curve] = []
    width = taken
    for curve in curves(evaluation):
        cells = [paint.name(visible(curve.attack), _NAME_WIDTH), *map(_robust, curve.points)]
        cells.append(score(summary_of(evaluation, curve.attack)))
        needed = 1 + max(map(paint.columns, cells))
        if part and width + needed > paint.width:
            yield part
            part, width = [], taken
        part.append(curve)
        width += needed
    yield part


def _strength(row: Strength) -> str:
    """``linf 8/255 = 0.0313725``: as it was asked for, and in units of the range."""
    asked, value = visible(row.text), text.brief(row.eps)
    return f"{visible(row.norm)} {asked}" + (f" = {value}" if asked != value else "")


def _robust(point: AttackAtEps | None) -> str:
    if point is None:
        return text.MISSING
    return f"{text.share(point.robust_accuracy)} ({text.shares(point.interval)})"


def score(summary: AttackSummary | None) -> str:
    """The R&G score with its interval."""
    if summary is None:
        return text.MISSING
    low, high = summary.interval
    return f"{summary.r_and_g:.1f} ({low:.1f}–{high:.1f})"


def _print_breaking(evaluation: Evaluation, paint: Painter) -> None:
    """A line per attack: what it took to break the samples."""
    if not evaluation.summaries:
        return
    paint.line("Smallest eps that breaks a sample", "bold")
    grid = paint.grid()
    for summary in evaluation.summaries:
        name = paint.name(visible(summary.attack), _NAME_WIDTH)
        grid.add_row(*map(paint.text, [name, _breaking(evaluation, summary)]))
    paint.print(grid)
    paint.line()


def _breaking(evaluation: Evaluation, summary: AttackSummary) -> str:
    """``median 8/255 · wrong without attack 2 · 8/255: 61 · never 137``."""
    found, texts = breaking(summary), eps_texts(evaluation)
    told = [visible(texts.get(eps, text.brief(eps))) for eps in summary.eps]
    median = "none" if found.median is None else told[summary.eps.index(found.median)]
    at = [f"at {eps}: {count:,}" for eps, count in zip(told[1:], found.counts[1:], strict=True)]
    wrong = f"wrong without attack: {sum(found.counts[:1]):,}"
    return " · ".join([f"median {median}", wrong, *at, f"never: {found.never:,}"])


def _print_attacks(evaluation: Evaluation, paint: Painter) -> None:
    """One line per attack and eps: its settings, what it broke and how long it took."""
    table = paint.new_table()
    table.add_column(paint.text("Attack"), no_wrap=True)
    table.add_column(paint.text("eps"), no_wrap=True)
    table.add_column(paint.text("Settings"), overflow="fold")
    for title in ("Right", "Success", "n", "Seconds"):
        table.add_column(paint.text(title), justify="right")
    for result in evaluation.results:
        table.add_row(*(paint.text(cell) for cell in _attack(result, paint)))
    paint.print(table)


def _attack(result: AttackAtEps, paint: Painter) -> list[str]:
    access = "white box" if result.white_box else "black box"
    settings = {name: value for name, value in result.parameters.items() if name not in _TOLD}
    success = text.share(result.success_rate)
    if result.success_interval is not None:
        success += f" ({text.shares(result.success_interval)})"
    return [
        paint.name(visible(result.attack), _NAME_WIDTH),
        paint.name(visible(result.eps_text), _NAME_WIDTH),
        ", ".join(filter(None, [access, text.parameters(settings)])),
        f"{result.correct + result.broken:,} → {result.correct:,}",
        success,
        f"{result.n:,}",
        f"{result.seconds:.1f}",
    ]
