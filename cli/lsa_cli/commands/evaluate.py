"""``lsa-onnx evaluate``: robust accuracy of one or more models under attacks of growing strength."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.gating import evaluation_gates, gate_options, judged, require_one
from lsa_cli.options import (
    attack_options,
    data_options,
    input_options,
    model_options,
    run_options,
)
from lsa_cli.output import deliver, require_distinct, require_writable
from lsa_cli.settings import command_line
from lsa_cli.shards import left_told, partial_files
from lsa_cli.terminal import TerminalListener
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.attacks import ATTACKS
from lsa_onnx.errors import EvaluationInterrupted, LsaError
from lsa_onnx.evaluation import EvaluationOptions, evaluate, require_evaluable, side_by_side
from lsa_onnx.evaluation.strengths import require_zero
from lsa_onnx.gates import require_all_passed
from lsa_onnx.report import (
    Evaluation,
    Evaluations,
    print_evaluation,
    print_evaluations,
    write_evaluation_html,
)
from lsa_onnx.report.figures import require_drawable

EXAMPLES = """\b
Examples:
  lsa-onnx evaluate model.onnx --data test.npz --attack auto --eps-list 0,2/255,8/255
  lsa-onnx evaluate model.onnx --data images/ --attack fgsm --attack pgd --steps 50
  lsa-onnx evaluate before.onnx after.onnx --data test.npz --attack auto --html both.html
"""
KINDS = "\n".join(
    ["\b", "Attacks:", *(f"  {name:<9} {kind.help}" for name, kind in ATTACKS.items())]
)


@click.command("evaluate", epilog=f"{EXAMPLES}\n{KINDS}")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path())
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
    help="How far attacks may go: in units of the range, 8/255 of its width, or 3%; with 0, the clean "
    "accuracy, for the R&G score.",
)
@attack_options
@run_options
@gate_options
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the result as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write the result as one self-contained page.")
@click.option("--plot", metavar="FILE", help="Draw the curves: a png, svg or pdf.")
@verbosity_options(told=["quiet"])
def command(
    models: tuple[str, ...],
    data: str | None,
    range_: tuple[float, float] | None,
    eps_list: str,
    fail_on: tuple[str, ...],
    baseline: Path | None,
    json: str | None,
    html: str | None,
    plot: str | None,
    *,
    quiet: bool,
    **rest: Any,
) -> None:
    """Count what each MODEL still gets right under attacks, at several strengths."""
    options = EvaluationOptions(
        data=Path(data) if data is not None else None,
        range=range_,
        eps_list=tuple(text.strip() for text in eps_list.split(",") if text.strip()),
        command=command_line(),
        **rest,
    )
    require_zero(options.eps_list)
    require_distinct(models)
    gates = evaluation_gates(fail_on, baseline, options, models)
    kept = options.save_adversarial
    require_one(models, "--save-adversarial", kept, "each with inputs of its own")
    files = {"--json": json, "--html": html, "--plot": plot}
    if plot is not None:
        require_drawable(plot)
    require_writable(
        {**files, "--save-adversarial": kept},
        models,
        [*options.files, *filter(None, [baseline])],
    )
    with TerminalListener(quiet, gates) as listener:
        found, failure = _evaluated(models, options, listener)
        if isinstance(failure, KeyboardInterrupt) and found:
            files = partial_files(files)
            listener.message(left_told(files))
    if not isinstance(failure, KeyboardInterrupt):
        found = [judged(each, gates) for each in found]
    if found:
        _deliver(side_by_side(found, options.command), files, several=len(models) > 1)
    if failure is not None:
        raise failure
    require_all_passed({each.model.file.path: each.gates for each in found})


def _evaluated(
    models: Sequence[str], options: EvaluationOptions, listener: TerminalListener
) -> tuple[list[Evaluation], LsaError | KeyboardInterrupt | None]:
    """One evaluation per model, up to the first that fails or is interrupted, and what ended it.

    Of several each is opened before any is attacked, which may take hours.
    """
    found: list[Evaluation] = []
    for model in models:
        with _naming(models, model):
            require_safe(model, libraries=options.custom_ops)
            if len(models) > 1:
                require_evaluable(model, options)
    for number, model in enumerate(models, start=1):
        if len(models) > 1:
            listener.message(f"{model} ({number} of {len(models)})")
        try:
            with _naming(models, model):
                found.append(evaluate(model, options, listener))
        except (LsaError, KeyboardInterrupt) as error:
            if isinstance(error, EvaluationInterrupted):
                found.append(error.evaluation)
            return found, error
    return found, None


@contextlib.contextmanager
def _naming(models: Sequence[str], model: str) -> Iterator[None]:
    """Let errors say which of several models they are about."""
    try:
        yield
    except LsaError as error:
        if len(models) > 1 and model not in str(error):
            error.args = (f"{model!r}: {error}", *error.args[1:])
        raise


def _deliver(found: Evaluations, files: Mapping[str, str | None], *, several: bool) -> None:
    """As ``lsa_cli.output.deliver``; one model that was asked for alone has a document of its own."""
    (first, *_) = found.evaluations
    writers = {
        "--html": partial(write_evaluation_html, found),
        "--plot": partial(_draw_curves, found),
    }
    if several:
        deliver(found, files, writers, partial(print_evaluations, found))
    else:
        deliver(first, files, writers, partial(print_evaluation, first))


def _draw_curves(found: Evaluations, path: str) -> None:
    from lsa_onnx.report.figures.curves import draw_curves  # nobody else waits for matplotlib

    draw_curves(found.evaluations, path)
