"""A document as a short piece of HTML for a notebook: the verdict, the warnings, a table.

It has no script and no request, and takes its colours from the page around it, light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lsa_onnx.report import text, view
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import AttackAtEps, Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.figures.drawing import model_names
from lsa_onnx.report.html_curves import Model, headline
from lsa_onnx.report.html_page import render_part
from lsa_onnx.report.saving import alone
from lsa_onnx.report.text import visible
from lsa_onnx.report.view import LayerRow

_MOST_ROWS = 12
_MOST_PERTURBATIONS = 6
_MOST_WARNINGS = 5
_NAME_WIDTH = 48
_TITLE_WIDTH = 16
_SYNTHETIC = (
    "Synthetic data: the inputs were random numbers, and these figures say nothing about real ones."
)

# Titles, and whether what is below them is a number.
_LAYER = [("MVL", True), ("#", True), ("Tensor", False), ("Op", False)]
# Whether it stands out, and its cells.
Row = tuple[bool, list[str]]


def render_fragment(document: object) -> str:
    """The piece as text. All texts of the document are escaped, and made visible where they would act."""
    if isinstance(document, Report):
        values = _of_report(document)
    elif isinstance(document, Evaluations):
        values = _of_evaluations(document)
    else:
        assert isinstance(document, Evaluation)  # noqa: S101 - there is no other that has the method
        values = _of_evaluations(alone(document))
    return render_part("fragment", values)


def _of_report(report: Report) -> dict[str, Any]:
    rows, headline_of = view.layer_rows(report), view.headline_result(report)
    others = [result.name for result in report.perturbations if result is not headline_of]
    names = [*([headline_of.name] if headline_of else []), *others][:_MOST_PERTURBATIONS]
    shown = _foremost(rows)
    notes = [_scored(report, len(shown))] if rows else []
    if headline_of is not None and rows:
        notes.append(f"MVL under {visible(headline_of.name)}: {view.mvl_rule(report.mvl)}")
    figures = [f"CM, {text.shorten(visible(name), _TITLE_WIDTH)}" for name in names]
    figures[1:1] = ["95 % interval", "Stability"]
    return {
        "banner": _SYNTHETIC if report.data.synthetic else "",
        "kicker": f"Layer sustainability of {visible(report.model.file.path)}",
        "headline": visible(report.verdict.headline),
        "lines": [*map(visible, report.verdict.details), *_accuracy(report)],
        "warnings": _warnings(report.warnings),
        "columns": [*_LAYER, *((title, True) for title in figures)],
        "rows": [_layer(row, names) for row in shown],
        "notes": notes,
    }


def _foremost(rows: Sequence[LayerRow]) -> list[LayerRow]:
    """The listed layers in their order, then those that moved most."""

    def order(row: LayerRow) -> tuple[float, float]:
        mean = row.score.relative_error.mean if row.score else None
        return (row.rank or float("inf"), -(mean if mean is not None else -1.0))

    return sorted(rows, key=order)[:_MOST_ROWS]


def _layer(row: LayerRow, names: Sequence[str]) -> Row:
    means = [text.figure(row.means[name]) for name in names]
    means[1:1] = [
        text.interval(row.score.relative_error) if row.score else text.MISSING,
        text.share(row.score.stability if row.score else None, 0),
    ]
    cells = [
        str(row.rank or ""),
        str(row.number),
        text.short_name(visible(row.info.tensor), _NAME_WIDTH),
        text.shorten(visible(row.info.op), _TITLE_WIDTH),
        *means,
    ]
    return row.rank is not None, cells


def _scored(report: Report, shown: int) -> str:
    left = len(report.layers) - shown
    more = f", {left:,} not shown here" if left else ""
    samples = text.count(report.data.samples, "sample")
    return f"{text.count(len(report.layers), 'layer')} scored on {samples}{more}."


def _accuracy(report: Report) -> list[str]:
    return [f"Clean accuracy {text.accuracy(report.accuracy)}."] if report.accuracy else []


def _warnings(warnings: Sequence[Any]) -> list[tuple[str, str]]:
    shown = [(visible(each.code), visible(each.message)) for each in warnings[:_MOST_WARNINGS]]
    left = len(warnings) - len(shown)
    return [*shown, ("", f"and {text.count(left, 'further warning')}")] if left else shown


def _of_evaluations(found: Evaluations) -> dict[str, Any]:
    paths = [each.model.file.path for each in found.evaluations]
    models = [
        Model(visible(name), each)
        for name, each in zip(model_names(paths), found.evaluations, strict=True)
    ]
    several = len(models) > 1
    columns = [("Attack", False), ("eps", True), ("Robust accuracy", True), ("95 % interval", True)]
    rows = [_strength(m.name, r, several) for m in models for r in m.evaluation.results]
    left = len(rows) - _MOST_ROWS
    scores = [
        f"R&G under {visible(s.attack)}{f', {m.name}' if several else ''}: {s.r_and_g:.1f} of {100 * len(s.eps)}"
        for m in models
        for s in m.evaluation.summaries
    ]
    return {
        "banner": _SYNTHETIC if models[0].evaluation.data.synthetic else "",
        "kicker": f"Robust accuracy of {', '.join(model.name for model in models)}",
        "headline": headline(models),
        "lines": [f"Clean accuracy {text.accuracy(m.evaluation.clean)}." for m in models],
        "warnings": _warnings([w for m in models for w in m.evaluation.warnings]),
        "columns": [("Model", False), *columns] if several else columns,
        "rows": rows[:_MOST_ROWS],
        "notes": [*scores[:_MOST_ROWS], *([f"{left:,} further rows not shown here."] * (left > 0))],
    }


def _strength(name: str, result: AttackAtEps, several: bool) -> Row:
    cells = [
        visible(result.attack),
        visible(result.eps_text),
        text.share(result.robust_accuracy),
        text.shares(result.interval),
    ]
    return False, [name, *cells] if several else cells
