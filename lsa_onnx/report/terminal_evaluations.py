"""Several models at a terminal, side by side: clean, robust and R&G, and what is between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.curves import eps_texts, summary_of
from lsa_onnx.report.figures.drawing import model_names
from lsa_onnx.report.terminal_evaluation import R_AND_G_LEGEND, score
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

    from lsa_onnx.report.evaluation import AttackAtEps, Evaluation
    from lsa_onnx.report.evaluations import Difference, Evaluations

_NAME_WIDTH = 24
_LABEL_WIDTH = 32
_LEGEND = (
    "in brackets 95 % intervals: Wilson's of accuracies, of differences that of a paired bootstrap"
)

# A row of a table: its label, and a cell for each of the columns.
Row = tuple[str, list[str]]


def print_evaluations(found: Evaluations, console: Console) -> None:
    """Print what the models did beside each other, their warnings and how each was measured."""
    paint, models = Painter(console), found.evaluations
    names = [
        paint.name(visible(name), _NAME_WIDTH)
        for name in model_names([each.model.file.path for each in models])
    ]
    paint.line(f"Accuracy (eps in units of {_unit(models)})", "bold")
    _print_columns(names, _scores(models), paint)
    _print_differences(found, names, paint)
    paint.line(_LEGEND, "dim")
    if any(each.summaries for each in models):
        paint.line(R_AND_G_LEGEND, "dim")
    paint.line()
    for name, each in zip(names, models, strict=True):
        print_warnings(each.warnings, paint, name)
    for each in models:
        audited = audited_parts(each.model, each.data, each.input)
        restarts = text.count(each.run.restarts, "restart")
        print_sections({**audited, "Run": [*run_parts(each.run), restarts]}, paint)
    for name, each in zip(names, models, strict=True):
        print_gates(each.gates, paint, name)


def _unit(models: Sequence[Evaluation]) -> str:
    ranges = {each.input.range for each in models}
    if len(ranges) > 1:
        return "the range that each model declares"
    ((low, high),) = ranges
    return f"the range {text.brief(low)} to {text.brief(high)}"


def _scores(models: Sequence[Evaluation]) -> list[Row]:
    """Clean accuracy, and for each attack robust accuracy at every strength and the R&G score."""
    rows = [("clean", [_share(each.clean.value, each.clean.interval) for each in models])]
    # Told apart by how they were asked for: ranges may differ, and with them what 8/255 is.
    points = [{(r.attack, r.norm, r.eps_text): r for r in each.results} for each in models]
    places = list(dict.fromkeys(place for each in points for place in each))
    for attack in dict.fromkeys(attack for attack, _, _ in places):
        rows += [
            (" ".join(map(visible, place)), [_robust(point.get(place)) for point in points])
            for place in places
            if place[0] == attack
        ]
        summaries = [summary_of(each, attack) for each in models]
        if any(summaries):
            rows.append((f"{visible(attack)} R&G", [score(each) for each in summaries]))
    return rows


def _robust(point: AttackAtEps | None) -> str:
    return text.MISSING if point is None else _share(point.robust_accuracy, point.interval)


def _share(value: float, interval: tuple[float, float]) -> str:
    return f"{text.share(value)} ({text.shares(interval)})"


def _print_differences(found: Evaluations, names: Sequence[str], paint: Painter) -> None:
    """How the other models differ from the first, in as many tables as are needed."""
    paired = sorted({each.model for each in found.differences})
    texts = eps_texts(found.evaluations[0])
    rows: dict[str, dict[int, str]] = {}
    for each in found.differences:
        what = "R&G" if each.eps is None else visible(texts.get(each.eps, text.brief(each.eps)))
        rows.setdefault(f"{visible(each.attack)} {what}", {})[each.model] = _difference(each)
    if paired:
        paint.line(f"Difference to {names[0]}, in percentage points, on the same samples", "bold")
        cells = [(label, [row.get(m, text.MISSING) for m in paired]) for label, row in rows.items()]
        _print_columns([names[model] for model in paired], cells, paint)
    for model in set(range(1, len(names))).difference(paired):
        paint.line(f"{names[model]} met other samples or strengths: no difference is paired")


def _difference(each: Difference) -> str:
    low, high = each.interval
    return f"{each.value:+.1f} ({low:+.1f} to {high:+.1f})"


def _print_columns(titles: Sequence[str], rows: Sequence[Row], paint: Painter) -> None:
    """A table with a column per title, in parts that fit beside the labels."""
    labels = [paint.name(label, _LABEL_WIDTH) for label, _ in rows]
    widths = [
        1 + max(map(paint.columns, [title, *(cells[place] for _, cells in rows)]))
        for place, title in enumerate(titles)
    ]
    for part in _parts(widths, paint.width - max(map(paint.columns, labels))):
        table = paint.new_table()
        table.add_column(paint.text(""), no_wrap=True)
        for place in part:
            table.add_column(paint.text(titles[place]), justify="right")
        for label, (_, cells) in zip(labels, rows, strict=True):
            table.add_row(*map(paint.text, [label, *(cells[place] for place in part)]))
        paint.print(table)
        paint.line()


def _parts(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns in groups that fit into ``room``; one that does not is alone."""
    part: list[int] = []
    for place, width in enumerate(widths):
        if part and sum(widths[p] for p in part) + width > room:
            yield part
            part = []
        part.append(place)
    yield part
