"""``lsa-onnx scan``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.cluster import Sharing, cluster_options
from lsa_cli.gating import gate_options, judged, scan_gates
from lsa_cli.options import (
    attack_options,
    data_options,
    input_options,
    layers_option,
    model_options,
    run_options,
)
from lsa_cli.output import require_writable
from lsa_cli.report_options import ReportFiles, report_options, write_report
from lsa_cli.scan_options import list_options, perturbation_options
from lsa_cli.settings import command_line
from lsa_cli.shards import left_told, partial_files, records_path, shard_options
from lsa_cli.terminal import TerminalListener, results
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.errors import ScanInterrupted
from lsa_onnx.gates import Gates, require_all_passed, require_passed
from lsa_onnx.report import Report, write_html, write_json
from lsa_onnx.report.figures import require_drawable
from lsa_onnx.report.sections import GateOutcome
from lsa_onnx.report.text import visible
from lsa_onnx.scanning import ScanOptions

EXAMPLES = """\b
Examples:
  lsa-onnx scan model.onnx --data images.npz --html report.html
  lsa-onnx scan model.onnx --data images/ --mean .485,.456,.406 --std .229,.224,.225
  lsa-onnx scan model.onnx --data images.npz --attack pgd --eps 8/255
"""


@click.command("scan", epilog=EXAMPLES)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path())
@data_options
@input_options
@model_options
@perturbation_options
@attack_options
@click.option(
    "--perturbed",
    type=click.Path(path_type=Path),
    help="Perturbed inputs made elsewhere, one per clean one.",
)
@layers_option("activations")
@list_options
@run_options
@gate_options
@shard_options
@cluster_options
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Whether reports show the inputs that changed most, where they are images.  [default: they do]",
)
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the report as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the report as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw CM by layer: a png, svg or pdf.")
@report_options
@verbosity_options(
    "Show every layer, note and reason, and how long each stage takes; -vv also how it is run."
)
def command(
    models: tuple[str, ...],
    data: str | None,
    range_: tuple[float, float] | None,
    perturbations: tuple[str, ...],
    fail_on: tuple[str, ...],
    baseline: Path | None,
    json: str | None,
    html: str | None,
    plot: str | None,
    shard: tuple[int, int] | None,
    records: Path | None,
    cluster: str | None,
    workers: int | None,
    shards: int | None,
    work: str | None,
    reports: str | None,
    formats: ReportFiles,
    *,
    verbose: bool,
    quiet: bool,
    **rest: Any,
) -> None:
    """Score every layer of MODEL under perturbations and name the most vulnerable ones.

    Several models are scanned with --cluster.
    """
    sharing = Sharing(cluster, workers, shards, work, reports)
    options = ScanOptions(
        data=Path(data) if data is not None else None,
        range=range_,
        perturbations=perturbations or None,
        shard=shard,
        records=records_path(shard, records, json),
        command=command_line(),
        **rest,
    )
    gates = scan_gates(fail_on, baseline, options, models)
    files = {"--json": json, "--html": html, "--plot": plot, **formats.files}
    if plot is not None:
        require_drawable(plot)
    formats.require_usable()
    sharing.check(models, options, files)
    require_safe(*models, libraries=options.custom_ops)
    require_writable(
        {**files, "--records": options.records, "--save-adversarial": options.save_adversarial},
        models,
        [*options.files, *filter(None, [baseline])],
        formats.texts,
    )
    if reports is not None:
        _scan_several(models, options, sharing, gates, quiet=quiet)
        return
    with TerminalListener(quiet, gates) as listener:
        try:
            report = judged(sharing.scan(models[0], options, listener), gates)
        except ScanInterrupted as interrupt:
            left = partial_files(files)
            left_over = judged(interrupt.report, gates)
            write_report(left_over, left, models[0], formats, verbose=verbose)
            listener.message(left_told(left))
            raise
    write_report(report, files, models[0], formats, verbose=verbose)
    require_passed(report.gates)


def _scan_several(
    models: tuple[str, ...], options: ScanOptions, sharing: Sharing, gates: Gates, *, quiet: bool
) -> None:
    """Write the reports of several models, and a line for each."""
    files = dict(zip(models, sharing.report_files(models), strict=True))
    outcomes: dict[str, list[GateOutcome]] = {}

    def finished(model: str, report: Report) -> None:
        report = judged(report, gates)
        outcomes[model] = report.gates
        write_json(report, files[model])
        write_html(report, files[model].with_suffix(".html"))
        to.print(Text(f"{visible(model)}: {visible(report.verdict.headline)}"), soft_wrap=True)

    to = results()
    with TerminalListener(quiet) as listener:
        sharing.scan_all(models, options, listener, finished)
    require_all_passed(outcomes)
