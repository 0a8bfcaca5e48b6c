"""The check of model files by another process, before a command opens them in this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from lsa_onnx.checking import Checker

F = TypeVar("F", bound=Callable[..., Any])

_WITHOUT = "--no-check"
_READY = "lsa_cli.checks.ready"
_SKIPPED = "lsa_cli.checks.skipped"


def prepare_check(ctx: click.Context, words: Sequence[str]) -> None:
    """Start the process that will check a model, so that it gets ready while this one does.

    Args:
        ctx: It is ended with this context, wherever it got to.
        words: Of the command line, after the command's name.
    """
    if words and not {_WITHOUT, *ctx.help_option_names}.intersection(words):
        ctx.meta[_READY] = ctx.with_resource(start())


def check_option(function: F) -> F:
    """``--no-check``, which ``require_safe`` heeds."""

    def keep(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        ctx.meta[_SKIPPED] = value

    return click.option(
        _WITHOUT,
        is_flag=True,
        expose_value=False,
        callback=keep,
        help="Open the model without trying it out in a process of its own first.",
    )(function)


def custom_ops_option(function: F) -> F:
    """Libraries whose code sessions run."""
    return click.option(
        "--custom-ops",
        multiple=True,
        metavar="LIB",
        help="Library of custom operators that the model needs; its code is run. Repeatable.",
    )(function)


def require_safe(*models: str | Path, libraries: Sequence[str] = ()) -> None:
    """Refuse a model that ends, or fills, the process that opens it.

    Raises:
        UnsafeModelError: There is one.
    """
    ctx = click.get_current_context()
    if ctx.meta.get(_SKIPPED):
        return
    for model in models:
        # The one that is ready serves for one model.
        ready: Checker | None = ctx.meta.pop(_READY, None)
        with ready or start() as checker:
            checker.check(model, libraries=libraries)


def start() -> Checker:
    """A process that is ready for one check."""
    # A command that opens no model starts no process.
    from lsa_onnx.checking import Checker

    return Checker()
