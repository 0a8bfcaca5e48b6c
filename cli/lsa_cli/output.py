"""Write a report where the user wants it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import click

from lsa_cli.terminal import results
from lsa_onnx.errors import DataError
from lsa_onnx.files import check_writable
from lsa_onnx.report import (
    Evaluation,
    Report,
    dumps,
    print_evaluation,
    print_report,
    write_html,
    write_json,
)


def require_writable(
    json: str | None,
    html: str | None,
    inputs: Iterable[str | Path] = (),
    *,
    npz: Path | None = None,
) -> None:
    """Fail now rather than after a long run, and never write over what is read.

    Args:
        json: File of the JSON report, ``-`` for stdout, ``None`` for none.
        html: File of the page, ``None`` for none.
        inputs: Files that the run reads.
        npz: File of adversarial inputs, ``None`` for none.

    Raises:
        DataError: A path cannot be written, is an input, or is given twice.
    """
    if html == "-":
        raise DataError("--html '-' is not a file; name one such as report.html")
    given = {"--json": json if json != "-" else None, "--html": html, "--save-adversarial": npz}
    paths = {flag: str(path) for flag, path in given.items() if path is not None}
    for path in paths.values():
        if any(_same_file(path, source) for source in inputs):
            raise DataError(f"{path!r} is an input of this run; name another file for the report")
        check_writable(path)
    for (first, path), (second, other) in itertools.combinations(paths.items(), 2):
        if _same_file(path, other):
            raise DataError(f"{first} and {second} are both {path!r}; name two different files")


def deliver(report: Report, json: str | None, html: str | None, *, verbose: bool = False) -> None:
    """JSON alone on stdout for ``json == "-"``, else the terminal view; and files as asked for.

    Files come first, so that a pager that is left early does not cost them. Where one cannot be
    written, the results still appear before the error does.

    Raises:
        DataError: A file cannot be written; what was there before is intact.
    """
    failure: DataError | None = None
    for write, path in ((write_json, json), (write_html, html)):
        if path is None or path == "-":
            continue
        try:
            write(report, path)
        except DataError as error:
            failure = failure or error
    if json == "-":
        click.echo(dumps(report), nl=False)
    else:
        print_report(report, results(), verbose=verbose)
    if failure is not None:
        raise failure


def deliver_evaluation(evaluation: Evaluation, json: str | None) -> None:
    """JSON alone on stdout for ``json == "-"``, else the terminal view; and a file if one is named.

    As in ``deliver``, the file comes first and the results appear where it cannot be written.

    Raises:
        DataError: The file cannot be written; what was there before is intact.
    """
    if json == "-":
        click.echo(dumps(evaluation), nl=False)
        return
    failure: DataError | None = None
    try:
        if json is not None:
            write_json(evaluation, json)
    except DataError as error:
        failure = error
    print_evaluation(evaluation, results())
    if failure is not None:
        raise failure


def _same_file(first: str | Path, second: str | Path) -> bool:
    """Whether two paths lead to one regular file, or to one that does not exist yet."""
    one, other = Path(first), Path(second)
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)
    return one.resolve() == other.resolve()
