"""``lsa-onnx demo``: scan, harden, scan, on a model and data that come with the tool."""

from __future__ import annotations

import os
import shlex
import webbrowser
from functools import partial
from pathlib import Path

import click

from lsa_cli.commands.loop import run_loop
from lsa_cli.output import deliver, require_writable
from lsa_cli.settings import command_line
from lsa_cli.terminal import TerminalListener
from lsa_cli.training import INSTALL, Targets, missing_packages, require_targets
from lsa_cli.training_options import flags_of
from lsa_onnx.demo.assets import ATTRIBUTION, digits_data, digits_model
from lsa_onnx.report import print_report, write_html
from lsa_onnx.scanning import ScanOptions, scan
from lsa_trainer.options import HardenOptions

# A CNN of 10,490 weights on 300 images: half a minute on two cores. The images of 8×8 pixels hold
# little: an eps of a tenth of the range halves what the model gets right.
TRAINING = {
    "eps": "10%",
    "epochs": 40,
    "batch_size": 32,
    "lr": 0.01,
    "validate_every": 4.0,
    "verify_attack": "apgd",
    "max_clean_drop": 0.05,
}


@click.command("demo")
@click.option(
    "--html",
    default="lsa-onnx-demo.html",
    show_default=True,
    metavar="FILE",
    help="Where to write the page; the hardened model lies beside it.",
)
@click.option("--json", metavar="FILE|-", help="Write the result as JSON; - for stdout, alone.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
def command(html: str, json: str | None, *, open_page: bool) -> None:
    """Scan a small digit classifier, harden it, and scan it again, offline, in about a minute.

    Without the packages that training needs, the scan alone.
    """
    if missing_packages():
        _scan(html, json)
        click.echo(f"to harden the model as well: {INSTALL}", err=True)
    else:
        _harden(html, json)
    page = Path(html).resolve()
    click.echo(ATTRIBUTION, err=True)
    click.echo(f"report: {page}", err=True)
    if open_page:
        webbrowser.open(page.as_uri())


def _scan(html: str, json: str | None) -> None:
    model, data = digits_model(), digits_data()
    require_writable({"--json": json, "--html": html}, [model], [data])
    _show("scan", str(model), "--data", str(data), "--html", html)
    options = ScanOptions(data=data, command=command_line())
    with TerminalListener() as listener:
        report = scan(model, options, listener)
    files = {"--json": json, "--html": html}
    deliver(report, files, {"--html": partial(write_html, report)}, partial(print_report, report))


def _harden(html: str, json: str | None) -> None:
    # Threads would only wait for each other on so small a model; torch reads this when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    model, data = str(digits_model()), digits_data()
    targets = Targets(str(Path(html).with_suffix(".onnx")), json, html)
    command = command_line()
    options = HardenOptions(data=data, fresh=True, command=command, **TRAINING)  # type: ignore[arg-type]
    require_targets(model, targets, options)
    told = ("--data", str(data), *flags_of(TRAINING), "-o", targets.output, "--html", html)
    _show("loop", model, *told)
    run_loop(model, targets, options, {})


def _show(*words: str) -> None:
    click.echo(f"$ {shlex.join(['lsa-onnx', *words])}", err=True)
