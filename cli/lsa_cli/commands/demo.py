"""``lsa-onnx demo``: the main job on a model and data that come with the tool."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from pathlib import Path

import click

from lsa_cli.output import deliver, require_writable
from lsa_cli.terminal import TerminalListener
from lsa_onnx.demo.assets import ATTRIBUTION, digits_data, digits_model
from lsa_onnx.scan import ScanOptions, scan


@click.command("demo")
@click.option(
    "--html",
    default="lsa-onnx-demo.html",
    show_default=True,
    metavar="FILE",
    help="Where to write the page.",
)
@click.option("--json", metavar="FILE|-", help="Write the report as JSON; - for stdout, alone.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
def command(html: str, json: str | None, *, open_page: bool) -> None:
    """Scan a small digit classifier, offline, in a few seconds."""
    model, data = digits_model(), digits_data()
    require_writable(json, html, (model, data))
    shown = ["lsa-onnx", "scan", str(model), "--data", str(data), "--html", html]
    click.echo(f"$ {shlex.join(shown)}", err=True)
    options = ScanOptions(data=data, command=("lsa-onnx", *sys.argv[1:]))
    with TerminalListener() as listener:
        report = scan(model, options, listener)
    deliver(report, json, html)
    page = Path(html).resolve()
    click.echo(ATTRIBUTION, err=True)
    click.echo(f"report: {page}", err=True)
    if open_page:
        webbrowser.open(page.as_uri())
