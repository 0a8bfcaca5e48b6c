"""``lsa-onnx merge``: the shards of a scan as the report of the whole."""

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
from lsa_onnx.accounts.merging import merge, sources
from lsa_onnx.gates import require_passed
from lsa_onnx.report.conditions import conditions_of
from lsa_onnx.report.figures import require_drawable

EXAMPLES = """\b
Examples:
  lsa-onnx scan model.onnx --data images.npz --shard 1/2 --json part1.json
  lsa-onnx scan model.onnx --data images.npz --shard 2/2 --json part2.json
  lsa-onnx merge part1.json part2.json --json report.json
"""


@click.command("merge", epilog=EXAMPLES)
@click.argument("parts", nargs=-1, required=True, type=click.Path())
@gate_options
@click.option("--json", metavar="FILE|-", help="Write the report as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the report as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw CM by layer: a png, svg or pdf.")
@report_options
@scanned_model_option
@check_option
@verbosity_options("Show every layer, note and reason.", told=["verbose"])
def command(
    parts: tuple[str, ...],
    fail_on: tuple[str, ...],
    baseline: Path | None,
    json: str | None,
    html: str | None,
    plot: str | None,
    formats: ReportFiles,
    model: str | None,
    *,
    verbose: bool,
) -> None:
    """Put the shards of a scan together: PARTS are the reports of all of them, or their records.

    The figures are those of a single run, to the last bit; models and data are not read again.
    """
    gates = saved_gates(fail_on, baseline)
    files = {"--json": json, "--html": html, "--plot": plot, **formats.files}
    if plot is not None:
        require_drawable(plot)
    formats.require_usable()
    models = [] if model is None else [model]
    inputs = [*sources(parts), *filter(None, [baseline])]
    require_writable(files, models, inputs, formats.texts)
    report = merge(parts)
    scanned = scanned_model(report, model, formats)
    gates.require_possible(conditions_of(report))
    report = judged(report, gates)
    write_report(report, files, scanned, formats, verbose=verbose)
    require_passed(report.gates)
