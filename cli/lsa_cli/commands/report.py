"""``lsa-onnx report``: a saved report again, in any format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from lsa_cli.checks import check_option, require_safe
from lsa_cli.output import deliver, require_writable
from lsa_cli.report_options import ReportFiles, draw, report_options
from lsa_onnx.report import print_report, read_report, write_html
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
@click.option(
    "--model",
    type=click.Path(),
    help="The scanned model, for --annotate.  [default: the path in the report]",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every layer, note and reason.")
@check_option
def command(
    report: str,
    html: str | None,
    plot: str | None,
    formats: ReportFiles,
    model: str | None,
    *,
    verbose: bool,
) -> None:
    """Show REPORT, the JSON file of a scan, and write it in other formats."""
    if plot is not None:
        require_drawable(plot)
    formats.require_usable()
    found = read_report(report)
    scanned = model if model is not None else found.model.file.path
    annotates = formats.files["--annotate"] is not None
    files = {"--html": html, "--plot": plot, **formats.files}
    if annotates:
        require_safe(scanned)
    require_writable(files, [scanned] if annotates else [], [report], formats.texts)
    writers: dict[str, Callable[[str], None]] = {
        "--html": partial(write_html, found),
        "--plot": partial(draw, found),
        **formats.writers(found, scanned),
    }
    show = partial(print_report, found, verbose=verbose)
    deliver(found, files, writers, show, formats.printers(found))
