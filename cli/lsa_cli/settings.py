"""Options that come from a configuration file or the environment, handed to click as defaults and variables."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from lsa_cli.option_kinds import flag_of, options_of, variables_of
from lsa_cli.settings_file import SettingsFile
from lsa_cli.settings_values import Commands, Setting, file_settings, variable_setting
from lsa_onnx.errors import LsaError

_APPLIED = "lsa_cli.settings.applied"
_RUNNING = "lsa_cli.settings.running"
_ARGUMENTS = "lsa_cli.settings.arguments"


class CommandContext(click.Context):
    """That of a command; it can be found again where an error of the command arrives."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.meta[_RUNNING] = self


def apply_settings(
    ctx: click.Context,
    name: str,
    command: click.Command,
    arguments: Iterable[str],
    file: SettingsFile | None,
    commands: Commands,
) -> None:
    """Let a command take what no flag says from the environment, and then from the file.

    Args:
        ctx: That of the group.
        name: Of the command.
        command: It is told the names of its variables.
        arguments: The words after its name. With ``--config`` among them, nothing else is taken.
        file: Settings, if there are any.
        commands: All there are, for a key that is not of this one.

    Raises:
        DataError: A key or a value of the file is not usable.
    """
    arguments = tuple(arguments)
    alone = _repeats_a_run(command, arguments)
    for option in options_of(command).values():
        option.envvar = None if alone else variables_of(option, name) or None
    command.context_class = CommandContext
    found = {} if alone or file is None else file_settings(file, name, command, commands)
    ctx.default_map = {name: {key: setting.value for key, setting in found.items()}}
    ctx.meta[_APPLIED] = found
    ctx.meta[_ARGUMENTS] = (name, *arguments)


def _repeats_a_run(command: click.Command, arguments: Iterable[str]) -> bool:
    """Whether ``--config`` names the options of an earlier run, which then are those of that file and of flags."""
    words = {word.partition("=")[0] for word in arguments}
    return "config" in options_of(command) and "--config" in words


def told_elsewhere(ctx: click.Context) -> list[Setting]:
    """The settings of a running command that no flag gave."""
    applied: Mapping[str, Setting] = ctx.meta.get(_APPLIED, {})
    found = []
    for name, option in options_of(ctx.command).items():
        source = ctx.get_parameter_source(name)
        setting = None
        if source is ParameterSource.ENVIRONMENT:
            setting = variable_setting(option, str(ctx.info_name))
        elif source is ParameterSource.DEFAULT_MAP:
            setting = applied.get(name)
        if setting is not None:
            found.append(setting)
    return found


def origin_of(error: LsaError | click.UsageError, ctx: click.Context) -> str:
    """Who set what an error is about, as the end of its line; nothing where a flag did."""
    running: click.Context | None = ctx.meta.get(_RUNNING)
    told = [] if running is None else told_elsewhere(running)
    typed = " ".join(ctx.meta.get(_ARGUMENTS, ()))
    if isinstance(error, click.BadParameter) and error.param is not None:
        about = [setting for setting in told if setting.option is error.param]
    else:
        about = [setting for setting in told if _is_about(str(error), setting, typed)]
    return f" (set by {', '.join(setting.where for setting in about)})" if about else ""


def _is_about(message: str, setting: Setting, typed: str) -> bool:
    """Whether a message names the flag, or the value where the words of the command line do not have it."""
    if flag_of(setting.option) in re.findall(r"--[\w-]+", message):
        return True
    values = setting.value if isinstance(setting.value, list) else [setting.value]
    texts = [value for value in values if isinstance(value, str) and value not in typed]
    return any(repr(text) in message for text in texts)


def command_line() -> tuple[str, ...]:
    """The command line that repeats this run: that of the process, with flags for what came from elsewhere."""
    ctx = click.get_current_context(silent=True)
    told = [] if ctx is None else told_elsewhere(ctx)
    if ctx is None or not told:
        return ("lsa-onnx", *sys.argv[1:])
    name, *rest = ctx.meta[_ARGUMENTS]
    return ("lsa-onnx", name, *(word for each in told for word in _words(each, ctx)), *rest)


def _words(setting: Setting, ctx: click.Context) -> list[str]:
    """A setting as flags."""
    option, value = setting.option, setting.value
    if option.is_flag:
        value = bool(ctx.params[str(option.name)])
        return [*(option.opts if value else option.secondary_opts)[:1]]
    if option.count:
        return []
    if option.multiple and isinstance(value, str):
        value = list(option.type.split_envvar_value(value))
    texts = value if isinstance(value, list) else [str(value)]
    return [word for text in texts for word in (flag_of(option), text)]
