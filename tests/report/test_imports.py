"""What a program pays for is what it uses: the document needs neither rich nor jinja2."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lsa_onnx import report

HEAVY = {"rich", "jinja2", "onnx", "onnxruntime", "numpy", "torch"}


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import lsa_onnx.report", set()),
        ("import lsa_onnx.report.document", set()),
        ("from lsa_onnx.report import Report, write_json, load_schema", set()),
        ("from lsa_onnx.report import Evaluation, read_evaluation", set()),
        ("from lsa_onnx.report import Evaluations, read_evaluations", set()),
        ("from lsa_onnx.report import Hardening, read_hardening", set()),
        ("from lsa_onnx.report import Comparison, read_comparison, read_scan_or_evaluation", set()),
        ("from lsa_onnx.report import write_comparison_markdown", set()),
        ("from lsa_onnx.report import print_comparison", {"rich"}),
        ("from lsa_onnx.report import render_comparison_html", {"jinja2"}),
        ("from lsa_onnx.report import print_report", {"rich"}),
        ("from lsa_onnx.report import print_hardening", {"rich"}),
        ("from lsa_onnx.report import print_evaluation", {"rich"}),
        ("from lsa_onnx.report import print_evaluations", {"rich"}),
        ("from lsa_onnx.report import render_html", {"jinja2"}),
        ("from lsa_onnx.report import render_hardening_html", {"jinja2"}),
        ("from lsa_onnx.report import render_evaluation_html", {"jinja2"}),
    ],
)
def test_import_loads_only_what_it_needs(statement: str, allowed: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) == allowed


@pytest.mark.parametrize("name", report.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(report, name) is not None


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match=r"'lsa_onnx\.report' has no attribute 'print_raport'"):
        report.print_raport  # noqa: B018
