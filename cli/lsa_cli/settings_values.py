"""Settings that files and variables hold, in the form in which click takes them from a command line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from lsa_cli.option_kinds import (
    Kind,
    flag_of,
    keys_of,
    kind_of,
    options_of,
    plain_key,
    variables_of,
)
from lsa_cli.settings_file import SettingsFile
from lsa_onnx.errors import DataError

# Name → what imports the command.
Commands = Mapping[str, Callable[[], click.Command]]
Value = str | bool | int | list[str]


@dataclass(frozen=True)
class Setting:
    """A value that an option is given by other than a flag.

    Attributes:
        option: What it sets.
        value: As click takes it from the command line: a text, texts, or a switch.
        where: The variable, or the file and the key.
    """

    option: click.Option
    value: Value
    where: str


def file_settings(
    file: SettingsFile, name: str, command: click.Command, commands: Commands
) -> dict[str, Setting]:
    """What a file says to a command, by the name of what it sets in Python.

    Raises:
        DataError: A key or a value is not usable.
    """
    options = {key: option for option in options_of(command).values() for key in keys_of(option)}
    general = {key: value for key, value in file.table.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in file.table.items() if isinstance(value, dict)}
    found: dict[str, Setting] = {}
    for key, written, value in _entries(file, (), general):
        if key in options:
            _add(found, file, (written,), options[key], value)
        else:
            _require_known(key, file.where(written), commands)
    for key, written, table in _entries(file, (), tables):
        if key not in commands:
            _refuse(file.where(written), "there is no such command", key, commands)
        if key != name:
            continue
        for inner, own, value in _entries(file, (written,), table):
            if inner not in options:
                accepted = [key for key, o in options.items() if kind_of(o) is not Kind.FLAG]
                _refuse(file.where(written, own), f"{name} has no such option", inner, accepted)
            _add(found, file, (written, own), options[inner], value)
    return found


def _require_known(key: str, where: str, commands: Commands) -> None:
    """Refuse a key that is an option of no command. All of them are imported, if need be."""
    known: set[str] = set()
    for load in commands.values():
        known.update(key for option in options_of(load()).values() for key in keys_of(option))
        if key in known:
            return
    _refuse(where, "no command has this option", key, known)


def _entries(
    file: SettingsFile, above: tuple[str, ...], table: Mapping[str, Any]
) -> Iterator[tuple[str, str, Any]]:
    """Each key with dashes, as it is written, and its value.

    Raises:
        DataError: A key is written in two ways.
    """
    seen: dict[str, str] = {}
    for written, value in table.items():
        key = plain_key(written)
        if key in seen:
            raise DataError(
                f"{file.where(*above, written)} is {seen[key]!r} written in another way; give it once"
            )
        seen[key] = written
        yield key, written, value


def _refuse(where: str, problem: str, key: str, accepted: Iterable[str]) -> NoReturn:
    names = sorted(accepted)
    near = difflib.get_close_matches(key.lower(), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"accepted are {', '.join(names)}"
    raise DataError(f"{where}: {problem}; {hint}")


def _add(
    found: dict[str, Setting],
    file: SettingsFile,
    keys: tuple[str, ...],
    option: click.Option,
    value: Any,
) -> None:
    where = file.where(*keys)
    kind = kind_of(option)
    if kind is Kind.FLAG:
        raise DataError(
            f"{where}: no file can set this; give {flag_of(option)} on the command line"
        )
    taken = _as_given(option, value, where)
    if kind is Kind.READ:
        taken = _each(taken, lambda text: _read_path(option, text, file.folder))
    elif kind is Kind.WRITTEN:
        taken = _each(taken, lambda text: _written_path(text, file.folder, where))
    found[str(option.name)] = Setting(option, taken, where)


def _as_given(option: click.Option, value: Any, where: str) -> Value:
    """The value as the command line would give it, so that the same code reads and refuses it.

    Raises:
        DataError: It is of another type than the option takes.
    """
    if option.count and isinstance(value, int):
        return int(value)
    if option.is_flag or option.count:
        if isinstance(value, bool):
            return value
        raise _wrong(where, value, "true or false")
    listed = isinstance(value, list)
    texts = [_text(each, where) for each in (value if listed else [value])]
    if option.multiple:
        return texts
    if not listed:
        return texts[0]
    if "," in str(option.metavar):
        return ",".join(texts)
    raise _wrong(where, value, f"one value, as {flag_of(option)} takes it")


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError as error:
            raise DataError(f"{where} is not usable: {error}; give a smaller number") from error
    raise _wrong(where, value, "a text or a number")


def _wrong(where: str, value: Any, accepted: str) -> DataError:
    return DataError(f"{where} = {value!r} is not usable; give {accepted}")


def _each(value: Value, make: Callable[[str], str]) -> Value:
    if isinstance(value, list):
        return [make(text) for text in value]
    return make(value) if isinstance(value, str) else value


def _read_path(option: click.Option, text: str, folder: Path) -> str:
    if option.name == "labels" and text == "none":
        return text
    if option.name == "hold":
        name, sign, held = text.rpartition("=")
        return text if _is_number(held) else f"{name}{sign}{_beside(folder, held)}"
    return _beside(folder, text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _beside(folder: Path, text: str) -> str:
    """A path that counts from ``folder``: short where that is the current one."""
    return text if folder == Path.cwd() else os.path.join(folder, text)  # noqa: PTH118 - "a/" stays "a/"


def _written_path(text: str, folder: Path, where: str) -> str:
    """A path below the file's folder, also behind all links: a file of strangers overwrites nothing of yours.

    Raises:
        DataError: It leads elsewhere.
    """
    if text == "-":
        return text
    path = _beside(folder, text)
    try:
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except ValueError:
        # A NUL character.
        inside = False
    if not inside:
        raise DataError(
            f"{where} = {text!r} leads out of the file's folder, where files that it names are not "
            "written; give a path inside, or a flag"
        )
    return path


def variable_setting(option: click.Option, command: str) -> Setting | None:
    """What the environment says to an option of a command."""
    for name in variables_of(option, command):
        if value := os.environ.get(name):
            return Setting(option, value, name)
    return None
