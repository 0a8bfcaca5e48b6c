"""``lsa-onnx demo``: scan, harden, scan, on a model and data that come with the tool."""

from __future__ import annotations

import os
import shlex
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from lsa_cli.commands.loop import run_loop
from lsa_cli.output import deliver, require_writable
from lsa_cli.settings import command_line
from lsa_cli.terminal import TerminalListener
from lsa_cli.training import INSTALL, Targets, missing_packages, require_targets
from lsa_cli.training_options import flags_of
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.demo.assets import ATTRIBUTION, digits_data, digits_model
from lsa_onnx.report import print_report, write_html
from lsa_onnx.report.text import visible
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


Tell = Callable[[str], None]


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
@verbosity_options()
def command(html: str, json: str | None, *, open_page: bool, verbose: bool, quiet: bool) -> None:
    """Scan a small digit classifier, harden it, and scan it again, offline, in about a minute.

    Without the packages that training needs, the scan alone.
    """
    page = Path(html).resolve()
    tell = _silence if quiet else _say
    if missing_packages():
        _scan(html, json, tell, verbose=verbose, quiet=quiet)
        tell(f"to harden the model as well: {INSTALL}")
    else:
        _harden(html, json, tell, verbose=verbose, quiet=quiet)
    tell(ATTRIBUTION)
    tell(f"report: {page}")
    if open_page:
        webbrowser.open(page.as_uri())


def _scan(html: str, json: str | None, tell: Tell, *, verbose: bool, quiet: bool) -> None:
    model, data = digits_model(), digits_data()
    require_writable({"--json": json, "--html": html}, [model], [data])
    tell(_prompt("scan", str(model), "--data", str(data), "--html", html))
    options = ScanOptions(data=data, command=command_line())
    with TerminalListener(quiet) as listener:
        report = scan(model, options, listener)
    files = {"--json": json, "--html": html}
    show = partial(print_report, report, verbose=verbose)
    deliver(report, files, {"--html": partial(write_html, report)}, show)


def _harden(html: str, json: str | None, tell: Tell, *, verbose: bool, quiet: bool) -> None:
    # Threads would only wait for each other on so small a model; torch reads this when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    model, data = str(digits_model()), digits_data()
    targets = Targets(str(Path(html).with_suffix(".onnx")), json, html)
    command = command_line()
    options = HardenOptions(data=data, fresh=True, command=command, **TRAINING)  # type: ignore[arg-type]
    require_targets(model, targets, options)
    told = ("--data", str(data), *flags_of(TRAINING), "-o", targets.output, "--html", html)
    tell(_prompt("loop", model, *told))
    run_loop(model, targets, options, {}, quiet=quiet, verbose=verbose)


def _prompt(*words: str) -> str:
    return f"$ {shlex.join(['lsa-onnx', *words])}"


def _say(text: str) -> None:
    click.echo(visible(text), err=True)


def _silence(_text: str) -> None:
    """What is not said."""
