"""``lsa-onnx scan``: the main job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.cluster import Sharing, cluster_options
from lsa_cli.options import (
    attack_options,
    data_options,
    input_options,
    layers_option,
    model_options,
    run_options,
)
from lsa_cli.output import deliver, require_writable
from lsa_cli.settings import command_line
from lsa_cli.shards import partial_files, records_path, shard_options
from lsa_cli.terminal import TerminalListener, results
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.attacks import ATTACKS, NOISES
from lsa_onnx.errors import ScanInterrupted
from lsa_onnx.report import Report, print_report, write_html, write_json
from lsa_onnx.report.figures import require_drawable
from lsa_onnx.report.text import visible
from lsa_onnx.scanning import ScanOptions
from lsa_onnx.scanning.options import DEFAULT_EPS, DEFAULT_ETA, DEFAULT_PERTURBATIONS

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
@click.option(
    "--attack",
    "perturbations",
    multiple=True,
    show_default=", ".join(DEFAULT_PERTURBATIONS),
    metavar="NAME[=STRENGTH]",
    help="Noise or attack to apply; the strength of a noise is a share, 0.1 or 10%, that of an "
    "attack its eps. Repeatable. Noises: "
    f"{', '.join(NOISES)}. Attacks: {', '.join(ATTACKS)}.",
)
@click.option(
    "--eps",
    default=DEFAULT_EPS,
    show_default=True,
    metavar="E",
    help="How far attacks may go: in units of the range, 8/255 of its width, or 3%.",
)
@attack_options
@click.option(
    "--perturbed",
    type=click.Path(path_type=Path),
    help="Perturbed inputs made elsewhere, one per clean one.",
)
@layers_option("activations")
@click.option(
    "--eta",
    type=float,
    default=DEFAULT_ETA,
    show_default=True,
    help="Cut-off η: a layer is listed when its mean CM exceeds μ + η σ.",
)
@click.option("--top-k", type=int, metavar="K", help="List the K most vulnerable layers instead.")
@run_options
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
@verbosity_options(
    "Show every layer, note and reason, and how long each stage takes; -vv also how it is run."
)
def command(
    models: tuple[str, ...],
    data: str | None,
    range_: tuple[float, float] | None,
    perturbations: tuple[str, ...],
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
    files = {"--json": json, "--html": html, "--plot": plot}
    if plot is not None:
        require_drawable(plot)
    sharing.check(models, options, files)
    require_safe(*models, libraries=options.custom_ops)
    require_writable(
        {**files, "--records": options.records, "--save-adversarial": options.save_adversarial},
        models,
        options.files,
    )
    if reports is not None:
        _scan_several(models, options, sharing, quiet=quiet)
        return
    with TerminalListener(quiet) as listener:
        try:
            report = sharing.scan(models[0], options, listener)
        except ScanInterrupted as interrupt:
            left = partial_files(files)
            _deliver(interrupt.report, left, verbose=verbose)
            listener.message(_told(left))
            raise
    _deliver(report, files, verbose=verbose)


def _scan_several(
    models: tuple[str, ...], options: ScanOptions, sharing: Sharing, *, quiet: bool
) -> None:
    """Write the reports of several models, and a line for each."""
    files = dict(zip(models, sharing.report_files(models), strict=True))

    def finished(model: str, report: Report) -> None:
        write_json(report, files[model])
        write_html(report, files[model].with_suffix(".html"))
        to.print(Text(f"{visible(model)}: {visible(report.verdict.headline)}"), soft_wrap=True)

    to = results()
    with TerminalListener(quiet) as listener:
        sharing.scan_all(models, options, listener, finished)


def _deliver(report: Report, files: dict[str, str | None], *, verbose: bool) -> None:
    deliver(
        report,
        files,
        {"--html": partial(write_html, report), "--plot": partial(_draw, report)},
        partial(print_report, report, verbose=verbose),
    )


def _told(files: dict[str, str | None]) -> str:
    """Where an interrupted scan left what it had."""
    named = ", ".join(repr(path) for path in files.values() if path not in (None, "-"))
    return f"what was scored so far: {named or 'shown above; --json FILE would keep it'}"


def _draw(report: Report, path: str) -> None:
    from lsa_onnx.report.figures.layers import draw_layers  # nobody else waits for matplotlib

    draw_layers([report], path)
