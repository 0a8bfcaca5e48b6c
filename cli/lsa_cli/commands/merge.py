"""``lsa-onnx merge``: the shards of a scan as the report of the whole."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from lsa_cli.gating import gate_options, judged, merge_gates
from lsa_cli.output import deliver, require_writable
from lsa_onnx.accounts.merging import merge, sources
from lsa_onnx.gates import require_passed
from lsa_onnx.report import print_report, write_html
from lsa_onnx.report.conditions import conditions_of
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
@gate_options
@click.option("--json", metavar="FILE|-", help="Write the report as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the report as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw CM by layer: a png, svg or pdf.")
@click.option("-v", "--verbose", is_flag=True, help="Show every layer, note and reason.")
def command(
    parts: tuple[str, ...],
    fail_on: tuple[str, ...],
    baseline: Path | None,
    json: str | None,
    html: str | None,
    plot: str | None,
    *,
    verbose: bool,
) -> None:
    """Put the shards of a scan together: PARTS are the reports of all of them, or their records.

    The figures are those of a single run, to the last bit; models and data are not read again.
    """
    gates = merge_gates(fail_on, baseline)
    files = {"--json": json, "--html": html, "--plot": plot}
    if plot is not None:
        require_drawable(plot)
    require_writable(files, [], [*sources(parts), *filter(None, [baseline])])
    report = merge(parts)
    gates.require_possible(conditions_of(report))
    report = judged(report, gates)
    deliver(
        report,
        files,
        {"--html": partial(write_html, report), "--plot": partial(draw_layers, [report])},
        partial(print_report, report, verbose=verbose),
    )
    require_passed(report.gates)
