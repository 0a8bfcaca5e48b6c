"""Commands with the options that words, files and variables give them, and not run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from lsa_cli.main import COMMANDS, cli, load
from lsa_cli.settings import apply_settings
from lsa_cli.settings_file import SettingsFile

ALL = {name: partial(load, name) for name in COMMANDS}


def group() -> click.Context:
    """The context above that of a command; from it, a command has its ``-h``, once and for all."""
    return click.Context(cli, info_name="lsa-onnx", **cli.context_settings)


def file_of(table: dict[str, Any], folder: Path, prefix: str = "") -> SettingsFile:
    """As if read from ``folder``."""
    return SettingsFile("lsa-onnx.toml", folder, table, prefix)


def context(
    name: str, words: list[str], table: dict[str, Any] | None = None, folder: Path | None = None
) -> click.Context:
    """A command as it would run with these words, beside a file with this table."""
    above = group()
    file = None if table is None else file_of(table, folder or Path.cwd())
    apply_settings(above, name, load(name), words, file, ALL)
    found = load(name).make_context(name, list(words), parent=above)
    above.close()
    return found
