"""The report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.files import write_atomically
from lsa_onnx.report import html_attacks, html_rows, text, view
from lsa_onnx.report.facts import measurement
from lsa_onnx.report.html_page import render_page

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.document import Report


def render_html(report: Report) -> str:
    """The whole page as text, to be stored as UTF-8."""
    rows = view.layer_rows(report)
    table = html_rows.table(report, rows)
    headline = view.headline_result(report)
    chart = html_rows.chart(report, rows)
    values = {
        "report": report,
        "headline": headline,
        "rows": table,
        "ranked": sorted((row for row in table if row["rank"]), key=lambda row: int(row["rank"])),
        "rule": view.mvl_rule(report.mvl),
        "chart": chart,
        "tiles": html_rows.tiles(report),
        "perturbations": html_rows.perturbations(report),
        "attacks": html_attacks.attacks(report),
        "reasons": view.reasons(report.not_scored),
        "measurement": measurement(report),
        "command": text.command_line(report.run.command),
        "tool_version": report.tool_version,
        "title": f"{report.model.file.path} – layer sustainability",
    }
    return render_page("report", chart if rows and headline else None, values)


def write_html(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, render_html(report).encode("utf-8"))
