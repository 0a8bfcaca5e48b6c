"""``lsa-onnx evaluate``: robust accuracy under attacks of growing strength."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.options import (
    attack_options,
    data_options,
    input_options,
    model_argument,
    model_options,
    run_options,
)
from lsa_cli.output import deliver_evaluation, require_writable
from lsa_cli.terminal import TerminalListener
from lsa_onnx.attacks import ATTACKS
from lsa_onnx.evaluation import EvaluationOptions, evaluate

EXAMPLES = """\b
Examples:
  lsa-onnx evaluate model.onnx --data test.npz --attack auto --eps-list 0,2/255,8/255
  lsa-onnx evaluate model.onnx --data images/ --attack fgsm --attack pgd --steps 50
"""
KINDS = "\n".join(
    ["\b", "Attacks:", *(f"  {name:<9} {kind.help}" for name, kind in ATTACKS.items())]
)


@click.command("evaluate", epilog=f"{EXAMPLES}\n{KINDS}")
@model_argument
@data_options
@input_options
@model_options
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    default=EvaluationOptions.attacks,
    show_default=", ".join(EvaluationOptions.attacks),
    metavar="NAME",
    help=f"Attack: {', '.join(ATTACKS)}. Repeatable.",
)
@click.option(
    "--eps-list",
    default=",".join(EvaluationOptions.eps_list),
    show_default=True,
    metavar="E,E,...",
    help="How far attacks may go: in units of the range, 8/255 of its width, or 3%.",
)
@attack_options
@run_options
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the result as JSON; - for stdout, alone.")
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
def command(
    model: str,
    data: str | None,
    range_: tuple[float, float] | None,
    eps_list: str,
    json: str | None,
    *,
    quiet: bool,
    **rest: Any,
) -> None:
    """Count what MODEL still gets right under attacks, at several strengths."""
    options = EvaluationOptions(
        data=Path(data) if data is not None else None,
        range=range_,
        eps_list=tuple(text for text in eps_list.split(",") if text.strip()),
        command=("lsa-onnx", *sys.argv[1:]),
        **rest,
    )
    targets = {"--json": json, "--save-adversarial": options.save_adversarial}
    require_safe(model, libraries=options.custom_ops)
    require_writable(targets, [model], options.files)
    with TerminalListener(quiet) as listener:
        evaluation = evaluate(model, options, listener)
    deliver_evaluation(evaluation, json)
