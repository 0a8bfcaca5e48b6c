"""Write a report where the user wants it."""

from __future__ import annotations

import click

from lsa_cli.terminal import results
from lsa_onnx.files import check_writable
from lsa_onnx.report import Report, dumps, print_report, write_html, write_json


def require_writable(*paths: str | None) -> None:
    """Fail now rather than after a long run.

    Raises:
        DataError: A path cannot be written.
    """
    for path in paths:
        if path is not None and path != "-":
            check_writable(path)


def deliver(report: Report, json: str | None, html: str | None, *, verbose: bool = False) -> None:
    """JSON alone on stdout for ``json == "-"``; else the terminal view there, and files as asked for.

    Raises:
        DataError: A file cannot be written; what was there before is intact.
    """
    if json == "-":
        click.echo(dumps(report))
    else:
        print_report(report, results(), verbose=verbose)
        if json is not None:
            write_json(report, json)
    if html is not None:
        write_html(report, html)
