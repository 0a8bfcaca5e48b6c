"""``lsa-onnx recipe``: a published experiment, run through the tool."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsa_cli.options import Parsed, device_option, parse_names, parse_seeds
from lsa_cli.output import require_writable
from lsa_cli.terminal import results
from lsa_cli.training import require_training, training_terminal
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically

if TYPE_CHECKING:
    from lsa_trainer.recipes import Ran, Recipe

EXAMPLES = """\b
Examples:
  lsa-onnx recipe
  lsa-onnx recipe moon-table2 -o moon --page moon/results.md --figures moon
  lsa-onnx recipe mnist-table3 -o mnist --data mnist.npz --rows 'Normal,AT-APGD*' --seeds 0
  lsa-onnx recipe own.toml -o own --scale smoke
"""


@click.command("recipe", epilog=EXAMPLES)
@click.argument("name", required=False, metavar="[NAME|FILE.toml]")
@click.option("-o", "--output", "work", metavar="WORK", help="Folder of all that is made.")
@click.option("--list", "listed", is_flag=True, help="List the recipes that come with the tool.")
@click.option("--data", metavar="PATH", help="Samples, for a recipe that does not make them.")
@click.option(
    "--seeds",
    type=Parsed("N,N,...", parse_seeds),
    metavar="N,N,...",
    help="Seeds in place of the recipe's.",
)
@click.option(
    "--rows",
    type=Parsed("NAME,...", parse_names),
    default="",
    metavar="NAME,...",
    help="Rows by name or wildcard.  [default: all]",
)
@click.option("--scale", metavar="NAME", help="A reduced run that the recipe has, such as smoke.")
@click.option("--fresh", is_flag=True, help="Run these rows anew, whether or not they are done.")
@click.option("--page", "page_path", metavar="FILE.md", help="Write the results as a page.")
@click.option(
    "--figures",
    "figures_path",
    metavar="FOLDER",
    help="Draw the recipe's figures there, of its first seed: CM by layer, losses around inputs and over "
    "weights, regions of two features.",
)
@device_option
@verbosity_options(
    "Also tell each tenth of every training, and stages with their times; -vv also how they run."
)
def command(
    name: str | None,
    work: str | None,
    data: str | None,
    seeds: tuple[int, ...] | None,
    rows: tuple[str, ...],
    scale: str | None,
    page_path: str | None,
    figures_path: str | None,
    device: str,
    *,
    listed: bool,
    fresh: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Run a published experiment: train, export, scan, harden and evaluate, row by row.

    What is done already in the folder WORK stays; a run that was interrupted goes on when the same
    command is given again, and several processes may share the work. Without NAME, recipes are listed.
    """
    if name is None or listed:
        _list()
        return
    from lsa_trainer.recipes import read_recipe, results_page

    recipe = read_recipe(name, scale)
    require_training()
    if figures_path is not None:
        _require_figures(recipe, figures_path)
    if work is None:
        raise DataError(f"recipe {name!r} needs a folder for what it makes; name one with -o")
    if page_path is not None:
        _require_page(page_path, work, [path for path in (name, data) if path is not None])
    ran = _run(recipe, work, data, seeds, rows, device, fresh=fresh, quiet=quiet, verbose=verbose)
    if ran.results:
        text = results_page(ran.results)
        if page_path is None:
            click.echo(text, nl=False)
        else:
            write_atomically(page_path, text.encode("utf-8"))
    ran.require_all()
    if figures_path is not None:
        _draw(recipe, work, figures_path, data, seeds, device, quiet=quiet)


def _require_figures(recipe: Recipe, folder: str) -> None:
    """Fail before a long run."""
    from lsa_trainer.recipes import require_figures  # torch
    from lsa_trainer.training.checkpoint import make_folder

    require_figures(recipe)
    make_folder(folder)


def _draw(
    recipe: Recipe,
    work: str,
    folder: str,
    data: str | None,
    seeds: tuple[int, ...] | None,
    device: str,
    *,
    quiet: bool,
) -> None:
    from lsa_trainer.recipes import draw_figures

    with training_terminal(quiet=quiet, verbose=False) as terminal:
        draw_figures(
            recipe,
            work,
            folder,
            data=data,
            seed=None if seeds is None else seeds[0],
            device=device,
            listener=terminal,
        )


def _list() -> None:
    from lsa_trainer.recipes import read_recipe, shipped

    for name in shipped():
        recipe = read_recipe(name)
        results().print(f"[bold]{name}[/bold]  {recipe.source}: {recipe.title}", highlight=False)
        told = f"{len(recipe.rows)} rows, {len(recipe.seeds)} seeds; "
        results().print(
            f"    {told}data {recipe.data.source or 'made'}; scales {', '.join(recipe.scales)}",
            highlight=False,
        )


def _require_page(path: str, work: str, inputs: list[str]) -> None:
    """Fail before a long run; the page may lie in a folder that the run is going to make.

    Raises:
        DataError: It cannot be written, or would replace an input or a file that the run keeps.
    """
    from lsa_trainer.training.checkpoint import make_folder

    if Path(path).parent == Path(work):
        make_folder(work)
    if Path(path).suffix != ".md" and Path(work).resolve() in Path(path).resolve().parents:
        raise DataError(
            f"--page {path!r} may be a file that the run keeps in {work!r}; name one such as results.md"
        )
    require_writable({"--page": path}, [], inputs)


def _run(
    recipe: Recipe,
    work: str,
    data: str | None,
    seeds: tuple[int, ...] | None,
    rows: tuple[str, ...],
    device: str,
    *,
    fresh: bool,
    quiet: bool,
    verbose: bool,
) -> Ran:
    """Run what is missing. torch is loaded here and not before."""
    from lsa_trainer.recipes import run_recipe

    # It tells of every process and precision that it sets up.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    with training_terminal(quiet=quiet, verbose=verbose) as terminal:
        return run_recipe(
            recipe,
            work,
            data=data,
            seeds=seeds,
            rows=rows,
            device=device,
            fresh=fresh,
            listener=terminal,
        )
