"""A self-contained HTML page around what a document shows: template, style, scripts and their policy.

The page's security policy allows exactly the scripts in it (by their hashes) and no request at all, so
that even a mistake in escaping a name could not run or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from lsa_onnx.report import text
from lsa_onnx.report.html_colours import colour_rules

_CHARTS = "chart.umd.min.js"
# What a page draws with beside Chart.js, and its scripts beside the one of its name.
_PLUGINS = {"report": ["chartjs-chart-boxplot.umd.min.js"]}
_MORE = {"report": ["graph", "boxes"]}


def render_page(
    name: str,
    data: dict[str, Any] | None,
    values: dict[str, Any],
    library: str | None = None,
    script: str | None = None,
) -> str:
    """The whole page as text, to be stored as UTF-8.

    Args:
        name: Of the document: its template is ``NAME.html.j2``, its script ``NAME.js``.
        data: What the script reads; ``None`` for a page without charts.
        values: What the template shows.
        library: Source of what the script draws with; ``None`` for Chart.js and what our pages share of it.
        script: Name of the page whose script this one shares; ``None`` for its own.
    """
    drawing = _drawing(script or name, library) if data is not None else []
    scripts = [_asset("page.js"), *drawing]
    return (
        _environment()
        .get_template(f"{name}.html.j2")
        .render(
            **values,
            data=data,
            style=_trusted(colour_rules() + _asset("report.css")),
            scripts=[_trusted(script) for script in scripts],
            script_sources=_trusted(" ".join(map(_source_hash, scripts))),
        )
    )


def render_part(name: str, values: dict[str, Any]) -> str:
    """A template without a page around it, as text.

    Args:
        name: Its file is ``NAME.html.j2``.
        values: What it shows.
    """
    return _environment().get_template(f"{name}.html.j2").render(**values)


def _drawing(name: str, library: str | None) -> list[str]:
    """The scripts of a page that draws: libraries, then ours as one."""
    own = [_asset(f"{part}.js") for part in (name, *_MORE.get(name, []))]
    if library is not None:
        return [library, *own]
    libraries = [_vendored(file) for file in (_CHARTS, *_PLUGINS.get(name, []))]
    return [*libraries, "".join([_asset("charts.js"), *own])]


def unbroken(sentence: str) -> str:
    """A sentence whose percentages stay on one line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["visible"] = text.visible
    environment.filters["breakable"] = _breakable
    environment.filters["count"] = text.count
    environment.filters["unbroken"] = unbroken
    return environment


@cache
def _asset(name: str, folder: str = "templates") -> str:
    return files("lsa_onnx.report").joinpath(folder, name).read_text(encoding="utf-8")


def _vendored(name: str) -> str:
    """A library without the pointer to its source map, which a browser's debugger would fetch."""
    return re.sub(r"\n//# sourceMappingURL=.*\s*$", "\n", _asset(name, "vendor"))


def _breakable(name: str) -> Markup:
    """A name that may continue on the next line after each slash."""
    return Markup("/<wbr>").join(name.split("/"))


def _trusted(content: str) -> Markup:
    """Mark text of this package, never of a document, as markup."""
    return Markup(content)  # noqa: S704


def _source_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
