"""``lsa-onnx landscape``: how the loss bends around samples, or around the weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.options import data_options, input_options, model_options, run_options
from lsa_cli.output import deliver, require_distinct, require_writable
from lsa_cli.settings import command_line
from lsa_cli.terminal import TerminalListener
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.attacks import ATTACKS
from lsa_onnx.landscape import LandscapeOptions, input_landscape
from lsa_onnx.landscape.options import (
    DEFAULT_EXTENTS,
    DEFAULT_POINTS,
    DEFAULT_SAMPLES,
    PROPOSALS,
    SPACES,
)
from lsa_onnx.report.figures import require_drawable, require_interactive
from lsa_onnx.report.landscape import Landscape
from lsa_onnx.report.terminal_landscape import print_landscape
from lsa_onnx.scanning.options import DEFAULT_EPS

EXAMPLES = """\b
Examples:
  lsa-onnx landscape model.onnx --data test.npz --plot surface.png
  lsa-onnx landscape before.onnx after.onnx --data test.npz --extent 16/255 --html both.html
  lsa-onnx landscape model.onnx --data test.npz --space weights --report scan.json --plot weights.png
"""


@click.command("landscape", epilog=EXAMPLES)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path())
@data_options
@input_options
@model_options
@click.option(
    "--space",
    type=click.Choice(SPACES),
    default="input",
    show_default=True,
    help="input: the plane of the loss gradient's sign and a random direction through each sample; "
    "weights: that of two filter-normalised random directions.",
)
@click.option(
    "--extent",
    metavar="E",
    show_default=f"{DEFAULT_EXTENTS['input']}, in weights {DEFAULT_EXTENTS['weights']}",
    help="How far each axis goes: in units of the range, 8/255 of its width, or 3%; in weights a multiple "
    "of the norm of each filter.",
)
@click.option(
    "--points",
    type=int,
    default=DEFAULT_POINTS,
    show_default=True,
    metavar="N",
    help="Along each axis, odd.",
)
@click.option(
    "--objective",
    metavar="NAME",
    help="What is shown: ce, margin, dlr, kl or output."
    "  [default: ce, unsaturated; output without classes]",
)
@click.option(
    "--straight-through",
    is_flag=True,
    help="Let gradients pass Sign, Round, Floor and Ceil.",
)
@click.option(
    "--proposals",
    metavar="P,P,...",
    show_default="all",
    help="Weights: what is regularised, each a surface: none, each (every layer alone), mvl (the whole "
    "list).",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Weights: JSON of a scan, whose MVL list is taken.  [default: scan first]",
)
@click.option("--mvl", metavar="NAME,...", help="Weights: tensors to regularise, in its place.")
@click.option(
    "--gamma",
    default="auto",
    show_default=True,
    metavar="GAMMA",
    help="Weights: weight of the layer-wise term, as in harden.",
)
@click.option(
    "--attack",
    default="pgd",
    show_default=True,
    metavar="NAME",
    help=f"Weights: what perturbs the inputs of that term, one of {', '.join(ATTACKS)}.",
)
@click.option(
    "--eps", default=DEFAULT_EPS, show_default=True, metavar="E", help="Weights: of that attack."
)
@click.option("--steps", type=int, metavar="N", help="Weights: of that attack.")
@run_options
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the result as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the surfaces as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw the surfaces: a png, svg or pdf.")
@verbosity_options(told=["quiet"])
def command(
    models: tuple[str, ...],
    data: str | None,
    range_: tuple[float, float] | None,
    samples: int | None,
    proposals: str | None,
    mvl: str | None,
    json: str | None,
    html: str | None,
    plot: str | None,
    *,
    quiet: bool,
    **rest: Any,
) -> None:
    """Show the objective of each MODEL over a plane, as a mean over samples, and how it bends."""
    options = LandscapeOptions(
        data=Path(data) if data is not None else None,
        range=range_,
        samples=DEFAULT_SAMPLES if samples is None else samples,
        proposals=_proposals(proposals, rest["space"]),
        mvl=(mvl,) if mvl is not None else (),
        command=command_line(),
        **rest,
    )
    files = {"--json": json, "--html": html, "--plot": plot}
    if options.space == "weights":
        _require_training()
    if plot is not None:
        require_drawable(plot)
    if html is not None:
        require_interactive()
    require_distinct(models)
    require_safe(*models, libraries=options.custom_ops)
    require_writable(files, models, options.files)
    with TerminalListener(quiet) as listener:
        landscape = _landscape(models, options, listener)
    deliver(
        landscape,
        files,
        {"--html": lambda path: _write(landscape, path), "--plot": lambda p: _draw(landscape, p)},
        lambda console: print_landscape(landscape, console),
    )


def _proposals(text: str | None, space: str) -> tuple[str, ...]:
    """What was asked for, or all that can be drawn."""
    if text is None:
        return PROPOSALS if space == "weights" else ("none",)
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _require_training() -> None:
    """Weights are moved in torch; see ``lsa_cli.training``."""
    from lsa_cli.training import require_training

    require_training()


def _landscape(
    models: tuple[str, ...], options: LandscapeOptions, listener: TerminalListener
) -> Landscape:
    if options.space == "input":
        return input_landscape(models, options, listener)
    # torch is loaded here and not before.
    from lsa_cli.training import single_names
    from lsa_trainer.landscape import weight_landscape

    names = single_names(models[0], options.mvl)
    return weight_landscape(models, dataclasses.replace(options, mvl=names), listener)


def _draw(landscape: Landscape, path: str) -> None:
    from lsa_onnx.report.figures.surfaces import draw_surfaces  # imports matplotlib

    draw_surfaces(landscape, path)


def _write(landscape: Landscape, path: str) -> None:
    from lsa_onnx.report.figures.surfaces_html import write_surfaces  # imports plotly

    write_surfaces(landscape, path)
