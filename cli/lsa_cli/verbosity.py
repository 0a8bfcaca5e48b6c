"""How much a command says: ``-q``, ``-v`` and ``-vv``, alike on all of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Container
from typing import Any, TypeVar

import click

from lsa_cli.processes import is_first_here
from lsa_onnx.report.text import visible

F = TypeVar("F", bound=Callable[..., Any])

QUIET = "lsa_cli.verbosity.quiet"
_LOGGERS = ("lsa_onnx", "lsa_trainer", "lsa_cli")
_LEVELS = {1: logging.INFO, 2: logging.DEBUG}
_TIMES = "Also tell how long each stage takes; -vv how it is run as well."


def verbosity_options(
    more: str = _TIMES, told: Container[str] = ("quiet", "verbose")
) -> Callable[[F], F]:
    """``-v`` and ``-q``. Results are not messages: they appear however quiet a command is.

    Args:
        more: Help of ``-v``.
        told: Which of the two the command itself takes, as switches.
    """

    def add(function: F) -> F:
        quiet = click.option(
            "-q",
            "--quiet",
            is_flag=True,
            callback=_keep_quiet,
            expose_value="quiet" in told,
            help="Nothing on stderr but errors.",
        )
        verbose = click.option(
            "-v",
            "--verbose",
            count=True,
            callback=_listen,
            expose_value="verbose" in told,
            help=more,
        )
        return verbose(quiet(function))

    return add


def _keep_quiet(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[QUIET] = value
    return value


def _listen(ctx: click.Context, _param: click.Parameter, level: int) -> bool:
    """Let what the packages log appear on stderr until the command ends."""
    if level > 0 and is_first_here() and not ctx.resilient_parsing:
        handler = _Handler(ctx)
        for name in _LOGGERS:
            _attach(ctx, logging.getLogger(name), handler, _LEVELS[min(level, 2)])
    return level > 0


def _attach(
    ctx: click.Context, logger: logging.Logger, handler: logging.Handler, level: int
) -> None:
    before = logger.level
    logger.setLevel(level)
    logger.addHandler(handler)

    def detach() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    # That of the command is not closed where its other options are refused.
    ctx.find_root().call_on_close(detach)


class _Handler(logging.Handler):
    """Writes a line to stderr, also while a bar is shown there."""

    def __init__(self, ctx: click.Context) -> None:
        super().__init__()
        self._ctx = ctx
        self._detail = logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, unless the command is to be quiet; names in it may come from a model."""
        if not self._ctx.meta.get(QUIET):
            # The stream of this moment: a bar puts one of its own in its place.
            click.echo(visible(self.format(record)), file=sys.stderr)

    def format(self, record: logging.LogRecord) -> str:
        """What is for users as it is; detail with the time, and the module that tells it."""
        return (
            record.getMessage() if record.levelno >= logging.INFO else self._detail.format(record)
        )
