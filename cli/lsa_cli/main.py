"""The entry point: finds commands without importing them, and turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from lsa_onnx._version import __version__
from lsa_onnx.errors import LsaError

# Name → module and one-line help, so that --help imports no command (and with it no numpy, onnx or onnxruntime).
COMMANDS = {
    "scan": ("lsa_cli.commands.scan", "Score every layer and name the most vulnerable ones."),
    "layers": ("lsa_cli.commands.layers", "List what would be scored, and why the rest is not."),
    "expose": ("lsa_cli.commands.expose", "Write a copy of the model that returns its layers."),
    "demo": ("lsa_cli.commands.demo", "Scan a small model that comes with the tool."),
    "doctor": ("lsa_cli.commands.doctor", "Check this machine, and a model if one is given."),
}

EXIT_INTERRUPTED = 130

EPILOG = """\b
Exit codes: 0 done; 1 a gate failed; 2 usage or bad data; 3 model invalid or
unsupported; 4 device not available; 5 unsafe model file; 130 interrupted."""


class LazyGroup(click.Group):
    """Lists its commands from ``COMMANDS`` and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="lsa-onnx")
def cli() -> None:
    """Audit a deployed ONNX model: which layers does a perturbation move most?"""


def main() -> NoReturn:
    """Run the command line and leave with the documented exit code."""
    try:
        result = cli.main(prog_name="lsa-onnx", standalone_mode=False)
        sys.stdout.flush()
    except LsaError as error:
        fail(str(error), error.exit_code)
    except click.ClickException as error:
        fail(_usage_line(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, a pager) has gone; keep Python from failing again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)


def fail(message: str, exit_code: int) -> NoReturn:
    """Say in one line on stderr what went wrong, and leave."""
    line = " ".join(message.split())
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    click.echo(f"lsa-onnx: {printable}", err=True)
    sys.exit(exit_code)


def _usage_line(error: click.ClickException) -> str:
    text = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += f" Try '{error.ctx.command_path} --help'."
    return text
