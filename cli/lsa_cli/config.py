"""The options of a training run: those of a TOML file, and over them the flags that were given."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from click.core import ParameterSource

from lsa_cli.settings import command_line
from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular
from lsa_onnx.scanning.options import ScanOptions
from lsa_trainer.options import HardenOptions, read_record

if TYPE_CHECKING:
    import click

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a loop can be told beyond a hardening: how it scans.
SCAN_FIELDS = ("perturbations", "layers", "eta", "top_k")
# Where a flag's name in Python differs from that of its field.
_RENAMED = {"range_": "range"}


def read_config(path: str) -> dict[str, Any]:
    """The options that a file sets, in the types that ``HardenOptions`` takes.

    Args:
        path: A TOML file without tables: names of fields and their values.

    Raises:
        DataError: It cannot be read, is no TOML, or has an unknown option or one of another type.
    """
    return read_record(_table(path), repr(path))


def harden_options_of(ctx: click.Context, config: str | None) -> HardenOptions:
    """What the flags and the file say.

    Raises:
        DataError: The file or a value is not usable.
    """
    stored = read_config(config) if config is not None else {}
    return _made(stored, given(ctx))


def loop_options_of(ctx: click.Context, config: str | None) -> tuple[HardenOptions, dict[str, Any]]:
    """Likewise, and those of ``SCAN_FIELDS`` that were given.

    Raises:
        DataError: The file or a value is not usable.
    """
    table = _table(config) if config is not None else {}
    of_scan = {name: table.pop(name) for name in SCAN_FIELDS if name in table}
    flags = given(ctx)
    scanning = read_record(of_scan, repr(config), ScanOptions)
    scanning |= {name: flags.pop(name) for name in SCAN_FIELDS if name in flags}
    return _made(read_record(table, repr(config)), flags), scanning


def given(ctx: click.Context) -> dict[str, Any]:
    """Options that are set by flags, variables or files, by the names of their fields."""
    known = {*HardenOptions.__dataclass_fields__, *SCAN_FIELDS}
    fields = {_RENAMED.get(name, name): name for name in ctx.params}
    return {
        field: ctx.params[name]
        for field, name in fields.items()
        if field in known and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def _made(stored: Mapping[str, Any], flags: Mapping[str, Any]) -> HardenOptions:
    return HardenOptions(**{**stored, **flags}, command=command_line())


def _table(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular(path).decode("utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"--config {path!r} cannot be read: {reason}; check the path") from error
    # Errors of the format and of the encoding are ValueErrors, as is that for a number too long to read. What
    # is nested deeply takes Python's parser too deep.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f'--config {path!r} is not TOML: {error}; give lines such as eps = "8/255"'
        ) from error
