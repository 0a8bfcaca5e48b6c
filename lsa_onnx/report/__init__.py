"""Reports: the documents, their JSON files and schemas, the views for a terminal and a browser.

Names are loaded when they are first used, so that importing one of them does not import what only
another needs (rich for the terminal, jinja2 for HTML).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_onnx.report.comparison import COMPARISON_VERSION as COMPARISON_VERSION
    from lsa_onnx.report.comparison import Comparison as Comparison
    from lsa_onnx.report.document import SCHEMA_VERSION as SCHEMA_VERSION
    from lsa_onnx.report.document import Report as Report
    from lsa_onnx.report.evaluation import EVALUATION_VERSION as EVALUATION_VERSION
    from lsa_onnx.report.evaluation import Evaluation as Evaluation
    from lsa_onnx.report.evaluations import Evaluations as Evaluations
    from lsa_onnx.report.hardening import HARDENING_VERSION as HARDENING_VERSION
    from lsa_onnx.report.hardening import Hardening as Hardening
    from lsa_onnx.report.html import render_html as render_html
    from lsa_onnx.report.html import write_html as write_html
    from lsa_onnx.report.html_comparison import render_comparison_html as render_comparison_html
    from lsa_onnx.report.html_comparison import write_comparison_html as write_comparison_html
    from lsa_onnx.report.html_evaluation import render_evaluation_html as render_evaluation_html
    from lsa_onnx.report.html_evaluation import write_evaluation_html as write_evaluation_html
    from lsa_onnx.report.html_hardening import render_hardening_html as render_hardening_html
    from lsa_onnx.report.html_hardening import write_hardening_html as write_hardening_html
    from lsa_onnx.report.json_file import dumps as dumps
    from lsa_onnx.report.json_file import read_comparison as read_comparison
    from lsa_onnx.report.json_file import read_evaluation as read_evaluation
    from lsa_onnx.report.json_file import read_evaluations as read_evaluations
    from lsa_onnx.report.json_file import read_hardening as read_hardening
    from lsa_onnx.report.json_file import read_report as read_report
    from lsa_onnx.report.json_file import read_scan_or_evaluation as read_scan_or_evaluation
    from lsa_onnx.report.json_file import write_json as write_json
    from lsa_onnx.report.markdown_comparison import (
        render_comparison_markdown as render_comparison_markdown,
    )
    from lsa_onnx.report.markdown_comparison import (
        write_comparison_markdown as write_comparison_markdown,
    )
    from lsa_onnx.report.schema import load_schema as load_schema
    from lsa_onnx.report.terminal import print_layers as print_layers
    from lsa_onnx.report.terminal import print_report as print_report
    from lsa_onnx.report.terminal_comparison import print_comparison as print_comparison
    from lsa_onnx.report.terminal_evaluation import print_evaluation as print_evaluation
    from lsa_onnx.report.terminal_evaluations import print_evaluations as print_evaluations
    from lsa_onnx.report.terminal_hardening import print_hardening as print_hardening

_HOMES = {
    "COMPARISON_VERSION": "comparison",
    "Comparison": "comparison",
    "EVALUATION_VERSION": "evaluation",
    "Evaluation": "evaluation",
    "Evaluations": "evaluations",
    "HARDENING_VERSION": "hardening",
    "Hardening": "hardening",
    "Report": "document",
    "SCHEMA_VERSION": "document",
    "dumps": "json_file",
    "load_schema": "schema",
    "print_comparison": "terminal_comparison",
    "print_evaluation": "terminal_evaluation",
    "print_evaluations": "terminal_evaluations",
    "print_hardening": "terminal_hardening",
    "print_layers": "terminal",
    "print_report": "terminal",
    "read_comparison": "json_file",
    "read_evaluation": "json_file",
    "read_evaluations": "json_file",
    "read_hardening": "json_file",
    "read_report": "json_file",
    "read_scan_or_evaluation": "json_file",
    "render_comparison_html": "html_comparison",
    "render_comparison_markdown": "markdown_comparison",
    "render_evaluation_html": "html_evaluation",
    "render_hardening_html": "html_hardening",
    "render_html": "html",
    "write_comparison_html": "html_comparison",
    "write_comparison_markdown": "markdown_comparison",
    "write_evaluation_html": "html_evaluation",
    "write_hardening_html": "html_hardening",
    "write_html": "html",
    "write_json": "json_file",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
