"""``--fail-on`` and ``--baseline``: what a run must not be, and what it may not fall behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from lsa_onnx.errors import DataError
from lsa_onnx.gates import Gates, parse_gates, read_baseline
from lsa_onnx.report import Evaluation, Report
from lsa_onnx.scanning.options import DEFAULT_PERTURBATIONS, EvaluationOptions, ScanOptions

F = TypeVar("F", bound=Callable[..., Any])
D = TypeVar("D", Report, Evaluation)

# Takes the place of default attacks that need a gradient where the model has none.
_WITHOUT_GRADIENT = "square"
_PAST = "each with a past of its own"


def fail_on_option(function: F) -> F:
    """Gates."""
    return click.option(
        "--fail-on",
        multiple=True,
        metavar="GATE",
        help="Exit with code 1 if this is true, such as 'accuracy@pgd:8/255<40%', 'cm:conv1>1.2', 'mvl>3' "
        "or regression; docs/gates.md has the grammar. Repeatable.",
    )(function)


def gate_options(function: F) -> F:
    """Gates, and what they are held to."""
    baseline = click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        metavar="FILE.json",
        help="Fail only by what is worse than in this earlier result.",
    )
    return fail_on_option(baseline(function))


def require_one(models: Sequence[str], flag: str, file: Path | None, why: str) -> None:
    """Refuse one file for several models.

    Raises:
        DataError: That is asked for.
    """
    if file is not None and len(models) > 1:
        raise DataError(
            f"{flag} {str(file)!r} is one file, and {len(models)} models are given, {why}; give one model"
        )


def scan_gates(
    fail_on: Sequence[str], baseline: Path | None, options: ScanOptions, models: Sequence[str]
) -> Gates:
    """The gates of a scan, of which nothing is asked that it will not run.

    Raises:
        DataError: A gate or the baseline is not usable, or is for the whole of which this is a part.
    """
    require_one(models, "--baseline", baseline, _PAST)
    if options.shard is not None and (fail_on or baseline is not None):
        flag = "--fail-on" if fail_on else "--baseline"
        raise DataError(
            f"{flag} is about all samples, and --shard {options.shard[0]}/{options.shard[1]} sees a part of "
            "them; give it to `lsa-onnx merge`"
        )
    gates = parse_gates(fail_on, None if baseline is None else read_baseline(baseline, "report"))
    gates.require_asked("report", asked_of_scan(options))
    return gates


def merge_gates(fail_on: Sequence[str], baseline: Path | None) -> Gates:
    """The gates of a report whose parts are there already.

    Raises:
        DataError: A gate or the baseline is not usable.
    """
    return parse_gates(fail_on, None if baseline is None else read_baseline(baseline, "report"))


def asked_of_scan(options: ScanOptions) -> list[str]:
    """The names of the perturbations that a scan may apply, without their strengths."""
    texts = options.perturbations
    if texts is None:
        texts = (*DEFAULT_PERTURBATIONS, _WITHOUT_GRADIENT)
    pairs = [] if options.perturbed is None else ["pairs"]
    return [*(text.partition("=")[0] for text in texts), *pairs]


def evaluation_gates(
    fail_on: Sequence[str],
    baseline: Path | None,
    options: EvaluationOptions,
    models: Sequence[str],
) -> Gates:
    """Likewise, of an evaluation.

    Raises:
        DataError: A gate or the baseline is not usable.
    """
    require_one(models, "--baseline", baseline, _PAST)
    found = None if baseline is None else read_baseline(baseline, "evaluation")
    gates = parse_gates(fail_on, found)
    gates.require_asked("evaluation", options.attacks)
    return gates


def judged(document: D, gates: Gates) -> D:
    """The document with what the gates find in it."""
    return dataclasses.replace(document, gates=gates.judge(document))
