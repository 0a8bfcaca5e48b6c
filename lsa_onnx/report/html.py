"""The report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.files import write_atomically
from lsa_onnx.report import (
    html_answers,
    html_attacks,
    html_examples,
    html_graph,
    html_limits,
    html_meanings,
    html_next,
    html_rows,
    text,
    view,
)
from lsa_onnx.report.facts import measurement
from lsa_onnx.report.html_boxes import FIGURES, boxes
from lsa_onnx.report.html_gates import gate_rows
from lsa_onnx.report.html_page import render_page

if TYPE_CHECKING:
    import os
    from typing import Any

    from lsa_onnx.report.document import Report


def render_html(report: Report) -> str:
    """The whole page as text, to be stored as UTF-8."""
    rows = view.layer_rows(report)
    table = html_rows.table(report, rows)
    headline = view.headline_result(report)
    chart = html_rows.chart(report, rows)
    drawn = bool(rows) and headline is not None
    values = {
        "headline": headline,
        "rows": table,
        "ranked": sorted((row for row in table if row["rank"]), key=lambda row: int(row["rank"])),
        "rule": view.mvl_rule(report.mvl),
        "chart": chart,
        "graph": html_graph.rows(report.layers, table),
        "rails": html_graph.width(report.layers),
        "drawn": drawn,
        "figures": [title for _, title, _ in FIGURES],
        **_told(report),
    }
    return render_page("report", {**chart, **boxes(report)} if drawn else None, values)


def _told(report: Report) -> dict[str, Any]:
    """What the page says beside the layers' figures."""
    steps = html_next.steps(report)
    return {
        "report": report,
        "banners": html_limits.banners(report),
        "answers": html_answers.answers(report, steps),
        "gates": gate_rows(report.gates),
        "steps": steps,
        "meanings": html_meanings.MEANINGS,
        "examples": html_examples.examples(report),
        "tiles": html_rows.tiles(report),
        "perturbations": html_rows.perturbations(report),
        "attacks": html_attacks.attacks(report),
        "reasons": view.reasons(report.not_scored),
        "measurement": measurement(report),
        "command": text.command_line(report.run.command),
        "tool_version": report.tool_version,
        "title": f"{report.model.file.path} – layer sustainability",
    }


def write_html(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, render_html(report).encode("utf-8"))
