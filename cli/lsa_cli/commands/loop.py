"""``lsa-onnx loop``: scan, harden, scan again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import click

from lsa_cli.checks import check_option, require_safe
from lsa_cli.config import loop_options_of
from lsa_cli.options import layers_option, model_argument
from lsa_cli.processes import is_first_process
from lsa_cli.rescan import SCANNED, scan_before_and_after
from lsa_cli.scan_options import list_options
from lsa_cli.training import (
    Targets,
    default_output,
    deliver_hardening,
    require_targets,
    require_training,
    run_hardening,
    single_names,
    training_terminal,
)
from lsa_cli.training_options import (
    GroupedCommand,
    harden_options,
    output_options,
    result_options,
)
from lsa_onnx.attacks import ATTACKS, NOISES
from lsa_onnx.scanning.options import DEFAULT_PERTURBATIONS
from lsa_trainer.options import HardenOptions

EXAMPLES = """\b
Examples:
  lsa-onnx loop model.onnx --data train.npz -o hardened.onnx --html before-after.html
  lsa-onnx loop model.onnx --data train.npz --eps 8/255 --attack pgd --top-k 3
"""


@click.command("loop", cls=GroupedCommand, epilog=EXAMPLES)
@model_argument
@output_options
@click.option(
    "--attack",
    "perturbations",
    multiple=True,
    metavar="NAME[=STRENGTH]",
    help=f"Noise or attack of the scans: {', '.join([*NOISES, *ATTACKS])}. Repeatable.  "
    f"[default: {', '.join(DEFAULT_PERTURBATIONS)}]",
)
@layers_option("activations")
@list_options
@harden_options
@result_options
@check_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    output: str | None,
    config: str | None,
    json: str | None,
    html: str | None,
    *,
    verbose: bool,
    quiet: bool,
    **_: object,
) -> None:
    """Scan MODEL, harden it with that report, and scan both files on samples never trained on.

    Exit code 1 if the hardened file is not better; it is not written then, the page is.
    """
    require_training()
    options, scanning = loop_options_of(ctx, config)
    targets = Targets(output or default_output(model), json, html)
    require_safe(model)
    require_targets(model, targets, options, config)
    options = dataclasses.replace(options, mvl=single_names(model, options.mvl))
    run_loop(model, targets, options, scanning, quiet=quiet, verbose=verbose)


def run_loop(
    model: str,
    targets: Targets,
    options: HardenOptions,
    scanning: Mapping[str, Any],
    *,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Do it all, and tell the results.

    Args:
        model: The file.
        targets: Where results go.
        options: Of the hardening; without a report or a list of layers, the model is scanned first.
        scanning: Of the scans, by field of ``ScanOptions``.
        quiet: No messages and no progress.
        verbose: More messages.

    Raises:
        GateFailed: The new file is not better.
    """
    how = options.scan_options(SCANNED, **scanning)
    before, after = None, None
    with training_terminal(quiet=quiet, verbose=verbose) as terminal:
        hardening = run_hardening(model, targets, options, terminal, how)
        if is_first_process():
            terminal.message("scan before and after, on samples that training never saw")
            before, after = scan_before_and_after(hardening, how, terminal)
    deliver_hardening(hardening, targets, before, after)
