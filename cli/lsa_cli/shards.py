"""Options of a scan that is shared out, and what an interrupted scan leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from lsa_cli.options import Parsed
from lsa_onnx.errors import DataError

F = TypeVar("F", bound=Callable[..., Any])

RECORDS_SUFFIX = ".records.npz"


def parse_shard(text: str) -> tuple[int, int]:
    """``2/3`` as (2, 3); whether there is such a shard is for the scan to say.

    Raises:
        DataError: It is anything else.
    """
    number, _, count = text.partition("/")
    try:
        return int(number), int(count)
    except ValueError:
        raise DataError(f"{text!r} is no shard; give I/N such as 1/4, the first of four") from None


def shard_options(function: F) -> F:
    """Which part of the samples, and where its records go."""
    for option in (
        click.option(
            "--records",
            type=click.Path(path_type=Path),
            metavar="FILE.npz",
            help="Write what the runtime returned of each sample.  [default for a shard: beside --json]",
        ),
        click.option(
            "--shard",
            type=Parsed("I/N", parse_shard),
            metavar="I/N",
            help="Score the I-th of N parts of the samples; `lsa-onnx merge` puts them together.",
        ),
    ):
        function = option(function)
    return function


def records_path(
    shard: tuple[int, int] | None, records: Path | None, json: str | None
) -> Path | None:
    """Where records go: where the user says, or beside the report of a shard."""
    if records is not None or shard is None or json in (None, "-"):
        return records
    return Path(json).with_suffix(RECORDS_SUFFIX)


def partial_files(files: Mapping[str, str | None]) -> dict[str, str | None]:
    """Names for what is left of an interrupted run: a file that was whole is not given up for it."""
    return {flag: _partial(path) for flag, path in files.items()}


def _partial(path: str | None) -> str | None:
    if path is None or path == "-":
        return path
    whole = Path(path)
    return str(whole.with_name(f"{whole.stem}.partial{whole.suffix}"))


def left_told(files: Mapping[str, str | None]) -> str:
    """Where an interrupted run left what it had."""
    named = ", ".join(repr(path) for path in files.values() if path not in (None, "-"))
    return f"what was done so far: {named or 'shown above; --json FILE would keep it'}"
