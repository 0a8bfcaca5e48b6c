"""``lsa-onnx decision-boundary``: what models of two features say over their plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.options import Parsed, data_options, input_options, model_options, run_options
from lsa_cli.output import deliver, require_distinct, require_writable
from lsa_cli.settings import command_line
from lsa_cli.terminal import TerminalListener
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.boundary import BoundaryOptions, decision_boundary
from lsa_onnx.boundary.options import DEFAULT_POINTS, parse_extent
from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.figures import require_drawable
from lsa_onnx.report.terminal_boundary import print_boundary

EXAMPLES = """\b
Examples:
  lsa-onnx decision-boundary moons.onnx --data moons.npz --range=-3,3 --plot boundary.png
  lsa-onnx decision-boundary before.onnx after.onnx --data moons.npz --decision binary --eps 0.1
"""


@click.command("decision-boundary", epilog=EXAMPLES)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path())
@data_options
@input_options
@model_options
@click.option(
    "--points",
    type=int,
    default=DEFAULT_POINTS,
    show_default=True,
    metavar="N",
    help="Along each feature.",
)
@click.option(
    "--extent",
    type=Parsed("LO,HI", parse_extent),
    metavar="LO,HI",
    help="Ends of both axes.  [default: what the samples span, and a little more]",
)
@click.option(
    "--eps",
    metavar="E",
    help="Draw how far an attack may go: in units of the range, 8/255 of its width, or 3%.",
)
@run_options
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the result as JSON; - for stdout, alone.")
@click.option("--plot", metavar="FILE", help="Draw the plane: a png, svg or pdf.")
@verbosity_options(told=["quiet"])
def command(
    models: tuple[str, ...],
    data: str | None,
    range_: tuple[float, float] | None,
    json: str | None,
    plot: str | None,
    *,
    quiet: bool,
    **rest: Any,
) -> None:
    """Show which class each MODEL, of exactly two features, sees everywhere in their plane."""
    options = BoundaryOptions(
        data=Path(data) if data is not None else None,
        range=range_,
        command=command_line(),
        **rest,
    )
    files = {"--json": json, "--plot": plot}
    if plot is not None:
        require_drawable(plot)
    require_distinct(models)
    require_safe(*models, libraries=options.custom_ops)
    require_writable(files, models, options.files)
    with TerminalListener(quiet) as listener:
        boundary = decision_boundary(models, options, listener)
    deliver(
        boundary,
        files,
        {"--plot": lambda path: _draw(boundary, path)},
        lambda console: print_boundary(boundary, console),
    )


def _draw(boundary: Boundary, path: str) -> None:
    from lsa_onnx.report.figures.boundary import draw_boundary  # imports matplotlib

    draw_boundary(boundary, path)
