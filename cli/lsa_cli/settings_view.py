"""All settings that no flag gave, over all commands: what ``lsa-onnx doctor`` shows."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass

import click
from click.core import ParameterSource

from lsa_cli.option_kinds import PREFIX, Kind, key_of, kind_of, options_of, variables_of
from lsa_cli.settings_file import SettingsFile
from lsa_cli.settings_values import Commands, Setting, file_settings, variable_setting
from lsa_onnx.errors import DataError

FLAG = "flag"
# Variables of other purposes: of this file, and of the project's own tests.
_OTHERS = frozenset({"LSA_ONNX_CONFIG", "LSA_ONNX_SHARED"})
# How much two names must have in common for the one to be the other misspelt.
_NEAR = 0.8


@dataclass(frozen=True)
class Told:
    """A setting in force.

    Attributes:
        option: Its name, as in a file.
        value: As it was given.
        where: "flag", a variable, or a file and a key.
        commands: Which take it from there.
        problem: Why they refuse it; ``None`` if they do not.
    """

    option: str
    value: str
    where: str
    commands: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True)
class Survey:
    """What is set.

    Attributes:
        told: Every setting in force.
        everywhere: Option → the commands that have it.
        problems: What is set and has no effect, or stops a command.
    """

    told: tuple[Told, ...]
    everywhere: dict[str, tuple[str, ...]]
    problems: tuple[str, ...]


def survey_settings(
    file: SettingsFile | None, commands: Commands, running: click.Context
) -> Survey:
    """Find what each command would be told.

    Args:
        file: The one in force, if there is one.
        commands: All of them.
        running: Of the command that asks, whose flags count as well.
    """
    loaded = {name: load() for name, load in commands.items()}
    having: dict[str, list[str]] = {}
    found: dict[tuple[str, str, str, str | None], list[str]] = {}
    problems: list[str] = []
    for name, command in loaded.items():
        for option in options_of(command).values():
            having.setdefault(key_of(option), []).append(name)
        try:
            settings = _in_force(name, command, file, commands, running)
        except DataError as error:
            problems.append(str(error))
            continue
        for setting in settings:
            told = (
                key_of(setting.option),
                _shown(setting),
                setting.where,
                _problem(setting, command),
            )
            found.setdefault(told, []).append(name)
    rows = [Told(*told[:3], tuple(names), told[3]) for told, names in found.items()]
    everywhere = {key: tuple(names) for key, names in having.items()}
    return Survey(tuple(rows), everywhere, (*dict.fromkeys(problems), *_without_effect(loaded)))


def _in_force(
    name: str,
    command: click.Command,
    file: SettingsFile | None,
    commands: Commands,
    running: click.Context,
) -> list[Setting]:
    of_file = {} if file is None else file_settings(file, name, command, commands)
    found = []
    for key, option in options_of(command).items():
        setting = variable_setting(option, name) or of_file.get(key)
        if running.info_name == name and _is_flag_given(running, key):
            setting = Setting(option, _raw(running.params.get(key)), FLAG)
        if setting is not None:
            found.append(setting)
    return found


def _is_flag_given(running: click.Context, key: str) -> bool:
    return running.get_parameter_source(key) is ParameterSource.COMMANDLINE


def _raw(value: object) -> str | list[str]:
    if isinstance(value, tuple | list):
        return ",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    return "yes" if value is None else str(value)


def _shown(setting: Setting) -> str:
    value = setting.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, list) else str(value)


def _problem(setting: Setting, command: click.Command) -> str | None:
    """Why the option cannot take the value, as far as the command line itself can tell."""
    if setting.where == FLAG:
        return None
    value, option = setting.value, setting.option
    if option.multiple and isinstance(value, str):
        value = list(option.type.split_envvar_value(value))
    try:
        option.type_cast_value(click.Context(command), value)
    except click.UsageError as error:
        return error.message.removesuffix(".")
    return None


def _without_effect(loaded: dict[str, click.Command]) -> list[str]:
    """Variables that look as if they were meant for an option, and are for none."""
    known, alone = set(_OTHERS), {}
    for name, command in loaded.items():
        for option in options_of(command).values():
            known.update(variables_of(option, name))
            if kind_of(option) is Kind.FLAG:
                alone[f"{PREFIX}_{key_of(option)}".replace("-", "_").upper()] = key_of(option)
    names = sorted(each.removeprefix(f"{PREFIX}_") for each in known)
    found = []
    for variable in sorted(os.environ):
        if not variable.startswith(f"{PREFIX}_") or variable in known:
            continue
        name = variable.removeprefix(f"{PREFIX}_")
        near = difflib.get_close_matches(name, names, n=1, cutoff=_NEAR)
        if variable in alone:
            found.append(
                f"{variable} sets nothing: --{alone[variable]} is for the command line alone"
            )
        elif near:
            found.append(f"{variable} sets nothing; did you mean {PREFIX}_{near[0]}?")
    return found
