"""``lsa-onnx scan``: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lsa_cli.options import (
    Parsed,
    data_options,
    device_option,
    input_options,
    layers_option,
    model_argument,
    parse_size,
)
from lsa_cli.output import deliver, require_writable
from lsa_cli.terminal import TerminalListener
from lsa_onnx.attacks import NOISES
from lsa_onnx.scan import ScanOptions, scan
from lsa_onnx.scan.options import DEFAULT_ETA


@click.command("scan")
@model_argument
@data_options
@input_options
@click.option(
    "--attack",
    "perturbations",
    multiple=True,
    default=tuple(NOISES),
    show_default=", ".join(NOISES),
    metavar="NAME[=STRENGTH]",
    help="Perturbation to apply; the strength is a share, 0.1 or 10%. Repeatable.",
)
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
@click.option("--batch", type=int, metavar="N", help="Samples per run.  [default: by memory]")
@click.option(
    "--max-memory",
    "max_memory_bytes",
    type=Parsed("SIZE", parse_size),
    metavar="SIZE",
    help="Bound on memory beyond a plain session, such as 512M or 1GiB.",
)
@device_option
@click.option(
    "--expect-accuracy",
    type=float,
    metavar="SHARE",
    help="Stop with exit code 1 if the clean accuracy is below this, 0 to 1.",
)
@click.option("--json", metavar="FILE|-", help="Write the report as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the report as one self-contained page.")
@click.option("-v", "--verbose", is_flag=True, help="Show every layer, note and reason.")
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
def command(
    model: str,
    data: str | None,
    range_: tuple[float, float] | None,
    json: str | None,
    html: str | None,
    *,
    verbose: bool,
    quiet: bool,
    **rest: Any,
) -> None:
    r"""Score every layer of MODEL under perturbations and name the most vulnerable ones.

    \b
    lsa-onnx scan model.onnx --data images.npz --html report.html
    lsa-onnx scan model.onnx --data images/ --mean .485,.456,.406 --std .229,.224,.225
    """
    options = ScanOptions(
        data=Path(data) if data is not None else None,
        range=range_,
        command=("lsa-onnx", *sys.argv[1:]),
        **rest,
    )
    labels = None if options.labels == "none" else options.labels
    require_writable(json, html, (model, data, labels, options.perturbed))
    with TerminalListener(quiet) as listener:
        report = scan(model, options, listener)
    deliver(report, json, html, verbose=verbose)
