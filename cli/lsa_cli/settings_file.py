"""The configuration file: where it is looked for, and what it holds before any command asks."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN_NAME = "lsa-onnx.toml"
SHARED_NAME = "pyproject.toml"
NO_FILE = "none"
NOT_THERE = "not there"
_TOOL = "lsa-onnx"
_PREFIX = f"tool.{_TOOL}."
_ROOTS = (".git", ".hg")
# Far beyond what people write by hand.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class SettingsFile:
    """A file of settings.

    Attributes:
        path: As it is shown: relative where it lies in the current folder.
        folder: Where it lies; relative paths in it count from there.
        table: Its settings: options for all commands by name, and a table for each command.
        prefix: What stands before the names of its keys, for messages.
    """

    path: str
    folder: Path
    table: dict[str, Any]
    prefix: str = ""

    def where(self, *keys: str) -> str:
        """A setting as messages name it, ``lsa-onnx.toml: scan.eta``."""
        return f"{self.path}: {self.prefix}{'.'.join(keys)}"


@dataclass(frozen=True)
class Looked:
    """A place where settings were looked for, and what was found there."""

    path: str
    found: str


@dataclass(frozen=True)
class Found:
    """The file that is in force, if there is one, and all that were looked for."""

    file: SettingsFile | None
    looked: tuple[Looked, ...]


def find_settings(named: str | None = None) -> Found:
    """Find and read the file that is in force.

    Args:
        named: A file that was asked for; ``none`` for no file; ``None`` to look around.

    Raises:
        DataError: The file cannot be read or is no TOML; or one was asked for and has no settings.
    """
    if named == NO_FILE:
        return Found(None, (Looked(NO_FILE, "no file is read"),))
    if named is not None:
        return _named(Path(named))
    looked: list[Looked] = []
    file: SettingsFile | None = None
    for folder in _folders():
        for name in (OWN_NAME, SHARED_NAME):
            path = folder / name
            shown = _shown(path)
            if not os.path.lexists(path):
                looked.append(Looked(shown, NOT_THERE))
            elif file is not None:
                looked.append(Looked(shown, f"not read, for {file.path} comes first"))
            else:
                file = _read(path, shown)
                looked.append(Looked(shown, _NO_TABLE if file is None else "read"))
    return Found(file, tuple(looked))


_NO_TABLE = f"no [tool.{_TOOL}]"


def _folders() -> list[Path]:
    """The current folder and those above it in the same repository.

    Outside of a repository there is the current folder alone: what lies in /tmp, say, is anybody's.
    """
    try:
        here = Path.cwd()
    except OSError:
        # The folder has been removed.
        return []
    above = [here, *here.parents]
    roots = (
        n for n, folder in enumerate(above) if any((folder / name).exists() for name in _ROOTS)
    )
    return above[: next(roots, 0) + 1]


def _shown(path: Path) -> str:
    return path.name if path.parent == Path.cwd() else str(path)


def _named(path: Path) -> Found:
    file = _read(path, str(path), required=True)
    if file is None:
        raise DataError(
            f"--config-file {str(path)!r} has no table [tool.{_TOOL}]; add it or name another file"
        )
    return Found(file, (Looked(str(path), "read"),))


def _read(path: Path, shown: str, *, required: bool = False) -> SettingsFile | None:
    """The settings of a file; ``None`` for a pyproject.toml that has none.

    Raises:
        DataError: It cannot be read or is no TOML.
    """
    if path.name != SHARED_NAME:
        return SettingsFile(shown, path.absolute().parent, _parsed(_content(path, shown), shown))
    try:
        content = _content(path, shown)
    except DataError:
        # That of others, who need not know of this tool.
        if required:
            raise
        return None
    if _TOOL.encode() not in content:
        return None
    table: Any = _parsed(content, shown)
    for key in ("tool", _TOOL):
        table = table.get(key) if isinstance(table, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise DataError(
            f"tool.{_TOOL} = {table!r} in {shown!r} is not a table; write [tool.{_TOOL}]"
        )
    return SettingsFile(shown, path.absolute().parent, table, _PREFIX)


def _content(path: Path, shown: str) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"configuration file {shown!r} cannot be read: {reason}; check the path, or give "
            f"--config-file {NO_FILE}"
        ) from error


def _parsed(content: bytes, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    # Errors of the format and of the encoding are ValueErrors, as is that for a number too long to read. What
    # is nested deeply takes Python's parser too deep.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f'configuration file {shown!r} is not TOML: {error}; give lines such as device = "cpu"'
        ) from error
