"""``lsa-onnx tune``: a search for the choices of ``harden``."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsa_cli.checks import check_option, require_safe
from lsa_cli.config import harden_options_of
from lsa_cli.options import Parsed, model_argument, parse_names, parse_seeds
from lsa_cli.output import require_writable
from lsa_cli.terminal import results
from lsa_cli.training import require_training, single_names, training_terminal
from lsa_cli.training_options import GroupedCommand, harden_options
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.errors import DataError
from lsa_onnx.report.text import visible
from lsa_trainer.tuning.plan import SEARCHABLE, TuningPlan, offered, require_optuna, require_search

if TYPE_CHECKING:
    from lsa_trainer.tuning import Tuning

EXAMPLES = """\b
Examples:
  lsa-onnx tune model.onnx --data train.npz --eps 8/255 --trials 30 -o best.toml
  lsa-onnx tune model.onnx --data train.npz --search gamma,layers,inner --seeds 0,1,2
  lsa-onnx harden model.onnx --config best.toml
"""
CHOICES = "\n".join(
    ["\b", "What can be searched:", *(f"  {name:<14} {SEARCHABLE[name]}" for name in offered())]
)
_SEARCH = ("trials", "timeout", "search", "seeds", "score", "eps_list", "held_out")
_ALIASES = {"r&g": "rg"}


class TuneCommand(GroupedCommand):
    """Lists the options of the search before those of the hardening."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        own = [param for param in self.params if param.name in _SEARCH]
        records = [record for param in own if (record := param.get_help_record(ctx)) is not None]
        with formatter.section("Search"):
            formatter.write_dl(records)
        rest = [param for param in self.params if param not in own]
        GroupedCommand(self.name, params=rest).format_options(ctx, formatter)


@click.command("tune", cls=TuneCommand, epilog=f"{EXAMPLES}\n{CHOICES}")
@model_argument
@click.option(
    "-o",
    "--output",
    default="best.toml",
    show_default=True,
    metavar="BEST.toml",
    help="The options of the best trial, for harden --config.",
)
@click.option(
    "--trials",
    type=int,
    default=TuningPlan.trials,
    show_default=True,
    metavar="N",
    help="Settings to train, plain adversarial training among them.",
)
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    help="Begin no further trial after that.  [default: never]",
)
@click.option(
    "--search",
    type=Parsed("NAME,...", parse_names),
    default=",".join(TuningPlan.search),
    show_default=True,
    metavar="NAME,...",
    help="What is searched; the list is below.",
)
@click.option(
    "--seeds",
    type=Parsed("S,S,...", parse_seeds),
    default=(),
    metavar="S,S,...",
    help="Train each trial once with each; its score is the mean.  [default: that of --seed]",
)
@click.option(
    "--score",
    default=TuningPlan.score,
    show_default=True,
    metavar="robust|rg",
    help="Accuracy under the attack of the verdict at --eps, or the R&G score over --eps-list.",
)
@click.option(
    "--eps-list",
    type=Parsed("E,E,...", parse_names),
    default="",
    metavar="E,E,...",
    help="Strengths of the R&G score, 0 among them.",
)
@click.option(
    "--held-out",
    type=int,
    default=TuningPlan.held_out,
    show_default=True,
    metavar="N",
    help="Samples of the data that score the trials and train none; a fifth of all at most.",
)
@harden_options
@click.option("--json", metavar="FILE|-", help="Write all trials as JSON; - for stdout, alone.")
@click.option("--page", metavar="FILE.md", help="Write a page of Markdown.")
@verbosity_options(
    "Also tell each tenth of every training, and stages with their times; -vv also how they run."
)
@check_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    output: str,
    config: str | None,
    json: str | None,
    page: str | None,
    *,
    verbose: bool,
    quiet: bool,
    **rest: Any,
) -> None:
    """Search for the choices of harden that make MODEL most robust, on held-out training samples.

    Each trial hardens MODEL on one part of --data and is attacked on another. An interrupted search
    goes on when the same command is given again, and several processes may share one.
    """
    require_training()
    require_optuna()
    searched = {name: rest[name] for name in _SEARCH}
    plan = TuningPlan(**searched | {"score": _ALIASES.get(rest["score"], rest["score"])})
    options = harden_options_of(ctx, config)
    require_search(options, plan)
    require_safe(model)
    named = [path for path in (options.report, config) if path is not None]
    targets = {"-o": output, "--json": json, "--page": page}
    require_writable(targets, [model], [*options.files, *named])
    options = dataclasses.replace(options, mvl=single_names(model, options.mvl))
    # torch and Optuna are loaded here and not before.
    from lsa_trainer.tuning import tune

    # It tells of every process and precision that it sets up.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    folder = Path(f"{output}.study")
    with training_terminal(quiet=quiet, verbose=verbose) as terminal:
        tuning = tune(model, options, plan, folder=folder, listener=terminal)
    _deliver(tuning, output, json, page)


def _deliver(tuning: Tuning, output: str, json: str | None, page: str | None) -> None:
    """Files as asked for; then JSON alone on stdout for ``json == "-"``, else the terminal view.

    As for scans, results appear also where a file cannot be written.

    Raises:
        DataError: A file cannot be written; what was there before is intact.
    """
    from lsa_trainer.tuning import dumps, print_tuning, write_best, write_page, write_tuning

    failure: DataError | None = None
    for write, path in ((write_best, output), (write_page, page), (write_tuning, json)):
        if path is None or path == "-":
            continue
        try:
            write(tuning, path)
        except DataError as error:
            failure = failure or error
    if json == "-":
        click.echo(dumps(tuning), nl=False)
    else:
        print_tuning(tuning, results())
        told = shlex.join(["lsa-onnx", "harden", tuning.model, "--config", output])
        click.echo(visible(told))
    if failure is not None:
        raise failure
