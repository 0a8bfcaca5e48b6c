"""``lsa-onnx report``: a saved report again, in any format."""

from __future__ import annotations

from pathlib import Path

import click

from lsa_cli.checks import check_option
from lsa_cli.gating import gate_options, judged, saved_gates
from lsa_cli.output import require_writable
from lsa_cli.report_options import (
    ReportFiles,
    report_options,
    scanned_model,
    scanned_model_option,
    write_report,
)
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.gates import require_passed
from lsa_onnx.report import read_report
from lsa_onnx.report.conditions import conditions_of
from lsa_onnx.report.figures import require_drawable

EXAMPLES = """\b
Examples:
  lsa-onnx report report.json
  lsa-onnx report report.json --html report.html --sarif report.sarif --junit report.xml
  lsa-onnx report report.json --markdown - | gh pr comment --body-file -
"""


@click.command("report", epilog=EXAMPLES)
@click.argument("report", type=click.Path())
@click.option("--html", metavar="FILE", help="Write the report as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw CM by layer: a png, svg or pdf.")
@report_options
@gate_options
@scanned_model_option
@verbosity_options("Show every layer, note and reason.", told=["verbose"])
@check_option
def command(
    report: str,
    html: str | None,
    plot: str | None,
    formats: ReportFiles,
    fail_on: tuple[str, ...],
    baseline: Path | None,
    model: str | None,
    *,
    verbose: bool,
) -> None:
    """Show REPORT, the JSON file of a scan, write it in other formats, and hold it to gates.

    With gates of its own it forgets what those of the scan found.
    """
    gates = saved_gates(fail_on, baseline)
    if plot is not None:
        require_drawable(plot)
    formats.require_usable()
    found = read_report(report)
    gates.require_possible(conditions_of(found))
    found = judged(found, gates) if gates else found
    scanned = scanned_model(found, model, formats)
    files = {"--html": html, "--plot": plot, **formats.files}
    inputs: list[str | Path] = [report, *filter(None, [baseline])]
    require_writable(files, [scanned] if formats.annotates else [], inputs, formats.texts)
    write_report(found, files, scanned, formats, verbose=verbose)
    if gates:
        require_passed(found.gates)
