"""``lsa-onnx compare``: what changed between two results, or between two models."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lsa_cli.alike import as_declared, as_read
from lsa_cli.checks import check_option, custom_ops_option, require_safe
from lsa_cli.gating import asked_of_scan, fail_on_option
from lsa_cli.options import (
    attack_options,
    data_options,
    input_options,
    layers_option,
    model_options,
    run_options,
)
from lsa_cli.output import deliver, require_distinct, require_writable
from lsa_cli.scan_options import list_options, perturbation_options
from lsa_cli.terminal import TerminalListener
from lsa_onnx.accounts.shares import accuracy_of
from lsa_onnx.comparing import Side, compare
from lsa_onnx.errors import DataError
from lsa_onnx.gates import Gates, parse_gates, require_passed
from lsa_onnx.inputs import sidecar_path
from lsa_onnx.report import (
    Comparison,
    print_comparison,
    read_scan_or_evaluation,
    write_comparison_html,
    write_comparison_markdown,
)
from lsa_onnx.report.conditions import conditions_of
from lsa_onnx.scanning import ScanOptions, open_subject, scan

EXAMPLES = """\b
Examples:
  lsa-onnx compare before.json after.json --html changes.html
  lsa-onnx compare float.onnx int8.onnx --data test.npz --fail-on regression
  lsa-onnx compare main.json branch.json --fail-on regression --markdown changes.md
"""
# What two documents can be told: all else says how models are scanned.
_OF_DOCUMENTS = frozenset(
    {"before", "after", "fail_on", "json", "html", "markdown", "verbose", "quiet"}
)


@click.command("compare", epilog=EXAMPLES)
@click.argument("before", type=click.Path())
@click.argument("after", type=click.Path())
@data_options
@input_options
@model_options
@perturbation_options
@attack_options
@layers_option("activations")
@list_options
@run_options
@fail_on_option
@custom_ops_option
@check_option
@click.option("--json", metavar="FILE|-", help="Write the comparison as JSON; - for stdout, alone.")
@click.option("--html", metavar="FILE", help="Write it as one self-contained page.")
@click.option("--markdown", metavar="FILE", help="Write it as Markdown, for a pull request.")
@click.option("-v", "--verbose", is_flag=True, help="Show every layer and note.")
@click.option("-q", "--quiet", is_flag=True, help="No messages and no progress.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    before: str,
    after: str,
    fail_on: tuple[str, ...],
    json: str | None,
    html: str | None,
    markdown: str | None,
    *,
    verbose: bool,
    quiet: bool,
    **rest: Any,
) -> None:
    """Compare two reports, two evaluations, or two models, which are scanned alike.

    BEFORE is what AFTER is held to: a baseline, or a float model and its quantised form. Gates are about AFTER;
    --fail-on regression is about all that is worse beyond chance.
    """
    files = {"--json": json, "--html": html, "--markdown": markdown}
    gates = parse_gates(fail_on, always=True)
    if _are_documents(before, after):
        _refuse_scan_options(ctx)
        require_writable(files, [], [before, after])
        found = _of_documents(before, after, gates)
    else:
        options = _scan_options(rest)
        gates.require_asked("report", asked_of_scan(options))
        require_distinct([before, after])
        require_safe(before, after, libraries=options.custom_ops)
        require_writable(files, [before, after], options.files)
        found = _of_models(before, after, options, gates, quiet=quiet)
    writers = {
        "--html": partial(write_comparison_html, found),
        "--markdown": partial(write_comparison_markdown, found),
    }
    deliver(found, files, writers, partial(print_comparison, found, verbose=verbose))
    require_passed(found.gates)


def _are_documents(before: str, after: str) -> bool:
    """Whether both are JSON files; a model is none.

    Raises:
        DataError: One is, and the other is not.
    """
    found = [_is_document(path) for path in (before, after)]
    if found[0] != found[1]:
        document, model = (before, after) if found[0] else (after, before)
        raise DataError(
            f"{document!r} is a JSON file and {model!r} is none; give two results of `lsa-onnx scan` or "
            "`lsa-onnx evaluate`, or two models"
        )
    return found[0]


def _is_document(path: str) -> bool:
    """By its name, else by its first character: no model begins with a brace."""
    if Path(path).suffix.lower() == ".json":
        return True
    try:
        # A pipe would be waited for.
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            return file.read(1) == b"{"
    # What cannot be read is no document; whoever opens the model says why.
    except (OSError, ValueError):
        return False


def _refuse_scan_options(ctx: click.Context) -> None:
    """Two documents are compared as they are.

    Raises:
        DataError: An option says how to scan.
    """
    for parameter in ctx.command.params:
        name = parameter.name or ""
        given = ctx.get_parameter_source(name) not in (ParameterSource.DEFAULT, None)
        if given and name not in _OF_DOCUMENTS and parameter.expose_value:
            raise DataError(
                f"{parameter.opts[0]} says how models are scanned, and two results are given, which are "
                "compared as they are; leave it out"
            )


def _scan_options(given: Mapping[str, Any]) -> ScanOptions:
    """How both models are scanned.

    Raises:
        DataError: An option is not usable, or is for one model alone.
    """
    fields = dict(given)
    data, range_ = fields.pop("data"), fields.pop("range_")
    options = ScanOptions(
        **fields | {"perturbations": fields["perturbations"] or None},
        data=Path(data) if data is not None else None,
        range=range_,
        command=("lsa-onnx", *sys.argv[1:]),
        pictures=False,
    )
    if options.save_adversarial is not None:
        raise DataError(
            f"--save-adversarial {str(options.save_adversarial)!r} is one file, and each model has inputs of "
            "its own; leave it out, or use `lsa-onnx scan`"
        )
    return options


def _of_documents(before: str, after: str, gates: Gates) -> Comparison:
    """Two results that are there already."""
    first, second = read_scan_or_evaluation(before), read_scan_or_evaluation(after)
    gates.require_possible(conditions_of(second))
    found = compare(Side(first, before), Side(second, after), ("lsa-onnx", *sys.argv[1:]))
    return dataclasses.replace(found, gates=gates.judge_change(found, first, second))


def _of_models(
    before: str, after: str, options: ScanOptions, gates: Gates, *, quiet: bool
) -> Comparison:
    """Scan both alike. What a sidecar says of the first holds for a second that has none."""
    own = sidecar_path(after).exists()
    # What is wrong with a model is said before the first takes its time, and alone.
    open_subject(before, options)
    open_subject(after, options if own else as_declared(options, before))
    with TerminalListener(quiet) as listener:
        listener.message(f"{before} (before)")
        first, classes = scan(before, options, listener), listener.classes
    with TerminalListener(quiet, gates) as listener:
        listener.message(f"{after} (after)")
        second = scan(after, options if own else as_read(options, first), listener)
    agreement = accuracy_of(listener.classes, classes)
    found = compare(Side(first, before), Side(second, after), options.command, agreement)
    return dataclasses.replace(found, gates=gates.judge_change(found, first, second))
