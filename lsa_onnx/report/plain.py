"""Documents as plain text: what the command line prints, without colours."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.hardening import Hardening
from lsa_onnx.report.landscape import Landscape
from lsa_onnx.report.terminal import print_report
from lsa_onnx.report.terminal_boundary import print_boundary
from lsa_onnx.report.terminal_evaluation import print_evaluation
from lsa_onnx.report.terminal_evaluations import print_evaluations
from lsa_onnx.report.terminal_hardening import print_hardening
from lsa_onnx.report.terminal_landscape import print_landscape

_WIDTH = 110
_PRINTERS: dict[type, Any] = {
    Boundary: print_boundary,
    Evaluation: print_evaluation,
    Evaluations: print_evaluations,
    Hardening: print_hardening,
    Landscape: print_landscape,
    Report: print_report,
}


def as_text(document: object) -> str:
    """What a terminal of 110 columns shows of a document; names cannot act on one that it is printed to."""
    target = io.StringIO()
    console = Console(
        file=target, width=_WIDTH, color_system=None, force_terminal=False, legacy_windows=False
    )
    _PRINTERS[type(document)](document, console)
    lines = (line.rstrip() for line in target.getvalue().splitlines())
    return "\n".join(lines).strip("\n")
