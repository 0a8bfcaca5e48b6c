"""``lsa-onnx harden``: a deployed model with more robust weights."""

from __future__ import annotations

import dataclasses

import click

from lsa_cli.checks import check_option, require_safe
from lsa_cli.config import harden_options_of
from lsa_cli.options import model_argument
from lsa_cli.processes import is_first_process
from lsa_cli.rescan import SCANNED, scan_before_and_after
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

EXAMPLES = """\b
Examples:
  lsa-onnx harden model.onnx --data train.npz --report scan.json -o hardened.onnx
  lsa-onnx harden model.onnx --data train.npz --eps 8/255 --epochs 20 --max-clean-drop 1%
  lsa-onnx harden model.onnx --config hardened.onnx.run/config.toml -o again.onnx
  torchrun --nproc-per-node 2 -m lsa_cli harden model.onnx --data train.npz
"""


@click.command("harden", cls=GroupedCommand, epilog=EXAMPLES)
@model_argument
@output_options
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
    """Retrain MODEL with AT-LR and write it anew: the same graph, other weights.

    The new file appears only if it is more robust on samples that training never saw; if not, the
    exit code is 1. An interrupted run goes on when the same command is given again.
    """
    require_training()
    options = harden_options_of(ctx, config)
    targets = Targets(output or default_output(model), json, html)
    require_safe(model)
    require_targets(model, targets, options, config)
    options = dataclasses.replace(options, mvl=single_names(model, options.mvl))
    before, after = None, None
    with training_terminal(quiet=quiet, verbose=verbose) as terminal:
        hardening = run_hardening(model, targets, options, terminal)
        if html is not None and is_first_process():
            before, after = scan_before_and_after(
                hardening, options.scan_options(SCANNED), terminal
            )
    deliver_hardening(hardening, targets, before, after)
