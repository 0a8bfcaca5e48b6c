"""``lsa-onnx merge``: the shards of a scan as the report of the whole."""

from __future__ import annotations

from functools import partial

import click

from lsa_cli.output import deliver, require_writable
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.accounts.merging import merge, sources
from lsa_onnx.report import print_report, write_html
from lsa_onnx.report.figures import require_drawable
from lsa_onnx.report.figures.layers import draw_layers

EXAMPLES = """\b
Examples:
  lsa-onnx scan model.onnx --data images.npz --shard 1/2 --json part1.json
  lsa-onnx scan model.onnx --data images.npz --shard 2/2 --json part2.json
  lsa-onnx merge part1.json part2.json --json report.json
"""


@click.command("merge", epilog=EXAMPLES)
@click.argument("parts", nargs=-1, required=True, type=click.Path())
@click.option("--json", metavar="FILE|-", help="Write the report as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the report as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw CM by layer: a png, svg or pdf.")
@verbosity_options("Show every layer, note and reason.", told=["verbose"])
def command(
    parts: tuple[str, ...], json: str | None, html: str | None, plot: str | None, *, verbose: bool
) -> None:
    """Put the shards of a scan together: PARTS are the reports of all of them, or their records.

    The figures are those of a single run, to the last bit; models and data are not read again.
    """
    files = {"--json": json, "--html": html, "--plot": plot}
    if plot is not None:
        require_drawable(plot)
    require_writable(files, [], sources(parts))
    report = merge(parts)
    deliver(
        report,
        files,
        {"--html": partial(write_html, report), "--plot": partial(draw_layers, [report])},
        partial(print_report, report, verbose=verbose),
    )
