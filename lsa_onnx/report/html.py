"""The report as one HTML page that needs nothing else: no network, no other file.

The page's security policy allows exactly the two scripts in it (by their hashes) and no request at
all, so that even a mistake in escaping a name could not run or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from lsa_onnx.files import write_atomically
from lsa_onnx.report import html_attacks, html_rows, text, view
from lsa_onnx.report.facts import measurement

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.document import Report

_TEMPLATE = "report.html.j2"


def render_html(report: Report) -> str:
    """The whole page as text, to be stored as UTF-8."""
    rows = view.layer_rows(report)
    table = html_rows.table(report, rows)
    scripts = [_library(), _asset("templates/report.js")]
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            report=report,
            headline=view.headline_result(report),
            rows=table,
            ranked=sorted((row for row in table if row["rank"]), key=lambda row: int(row["rank"])),
            rule=view.mvl_rule(report.mvl),
            chart=html_rows.chart(report, rows),
            tiles=html_rows.tiles(report),
            perturbations=html_rows.perturbations(report),
            attacks=html_attacks.attacks(report),
            reasons=view.reasons(report.not_scored),
            measurement=measurement(report),
            command=text.command_line(report.run.command),
            style=_trusted(_asset("templates/report.css")),
            scripts=[_trusted(script) for script in scripts],
            script_sources=_trusted(" ".join(map(_source_hash, scripts))),
        )
    )


def write_html(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, render_html(report).encode("utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=DictLoader({_TEMPLATE: _asset(f"templates/{_TEMPLATE}")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["visible"] = text.visible
    environment.filters["breakable"] = _breakable
    environment.filters["count"] = text.count
    return environment


@cache
def _asset(name: str) -> str:
    return files("lsa_onnx.report").joinpath(name).read_text(encoding="utf-8")


def _library() -> str:
    """Chart.js without the pointer to its source map, which a browser's debugger would fetch."""
    return re.sub(r"\n//# sourceMappingURL=.*\s*$", "\n", _asset("vendor/chart.umd.min.js"))


def _breakable(name: str) -> Markup:
    """A name that may continue on the next line after each slash."""
    return Markup("/<wbr>").join(name.split("/"))


def _trusted(content: str) -> Markup:
    """Mark text of this package, never of a report, as markup."""
    return Markup(content)  # noqa: S704


def _source_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
