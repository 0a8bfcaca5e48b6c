"""The entry point: finds commands without importing them, turns errors into a line and a code."""

from __future__ import annotations

import difflib
import os
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from lsa_cli.checks import prepare_check
from lsa_cli.processes import is_first_here, is_first_process
from lsa_onnx._version import __version__
from lsa_onnx.ending import ending_in_order
from lsa_onnx.errors import LsaError

# Name → module and one-line help, so that --help imports no command (and with it no numpy, onnx or
# onnxruntime).
COMMANDS = {
    "scan": ("lsa_cli.commands.scan", "Score every layer and name the most vulnerable ones."),
    "merge": ("lsa_cli.commands.merge", "Put the shards of a scan together, to the last bit."),
    "report": ("lsa_cli.commands.report", "Show a saved report, or write it in another format."),
    "evaluate": ("lsa_cli.commands.evaluate", "Robust accuracy under attacks, by strength."),
    "landscape": ("lsa_cli.commands.landscape", "How the loss bends around samples, or weights."),
    "decision-boundary": (
        "lsa_cli.commands.decision_boundary",
        "What a model of two features says over their plane.",
    ),
    "harden": ("lsa_cli.commands.harden", "Retrain the model file to be more robust (AT-LR)."),
    "loop": ("lsa_cli.commands.loop", "Scan, harden, scan again: a page of before and after."),
    "tune": ("lsa_cli.commands.tune", "Search for the choices of harden, on held-out samples."),
    "recipe": ("lsa_cli.commands.recipe", "Run the published experiments, row by row."),
    "layers": ("lsa_cli.commands.layers", "List what would be scored, and why the rest is not."),
    "expose": ("lsa_cli.commands.expose", "Write a copy of the model that returns its layers."),
    "compare": ("lsa_cli.commands.compare", "What changed between two results, or two models."),
    "diff": ("lsa_cli.commands.diff", "What differs between two model files, tensor by tensor."),
    "demo": ("lsa_cli.commands.demo", "Scan and harden a small model that comes with the tool."),
    "doctor": ("lsa_cli.commands.doctor", "Check this machine, and a model if one is given."),
}

# Those that open a model file which somebody else may have made.
CHECKED = frozenset(
    {
        "scan",
        "evaluate",
        "landscape",
        "decision-boundary",
        "harden",
        "loop",
        "tune",
        "layers",
        "expose",
        "compare",
        "diff",
        "doctor",
    }
)

EXIT_INTERRUPTED = 130

EPILOG = """\b
Exit codes: 0 done; 1 a gate failed; 2 usage or bad data; 3 model invalid or
unsupported; 4 device not available; 5 unsafe model file; 130 interrupted."""


class ReaderGone(Exception):
    """Whoever reads the results has gone (head, a pager).

    click would turn the broken pipe itself into exit code 1, which means a failed gate here.
    """


class LazyGroup(click.Group):
    """Lists its commands from ``COMMANDS`` and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """The command itself, imported now.

        Raises:
            UsageError: There is none of this name; the message names the nearest.
        """
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"accepted are {', '.join(COMMANDS)}."
            raise click.UsageError(f"no command {cmd_name!r}; {hint}", ctx)
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. What will check its model gets ready while it is imported."""
        if args and args[0] in CHECKED:
            prepare_check(ctx, args[1:])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            ReaderGone: Standard output was closed before all was written.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
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
    # The scan's own matrix products are tiny; threads of numpy's would wait for them in a busy loop
    # and take the processor from ONNX Runtime's (1.5 times the time for a small model).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # torch's threads would wait for each other in a busy loop, too: where something else runs, a step of
    # training then takes three times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.stdout is None:
        fail("standard output is closed; give it a file, such as /dev/null", 2)
    # Temporary files are removed on the way out. Other processes of a training wait in C++, where no
    # signal is handled.
    ending = ending_in_order() if is_first_process() else nullcontext()
    try:
        with ending:
            result = cli.main(prog_name="lsa-onnx", standalone_mode=False)
            sys.stdout.flush()
    except LsaError as error:
        _fail_alike(str(error), error.exit_code)
    except click.ClickException as error:
        _fail_usage(error)
    except (click.Abort, KeyboardInterrupt):
        _fail_alike("interrupted", EXIT_INTERRUPTED)
    except (ReaderGone, BrokenPipeError):
        _silence(sys.stdout)
        sys.exit(0)
    except MemoryError as error:
        remedy = "use fewer --samples, a smaller --batch, or fewer --layers"
        fail(f"out of memory: {str(error) or 'no detail given'}; {remedy}", 2)
    except OSError as error:
        _fail_system(error)
    sys.exit(result if isinstance(result, int) else 0)


def fail(message: str, exit_code: int) -> NoReturn:
    """Say in one line on stderr what went wrong, and leave."""
    line = " ".join(message.split())
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    _tell(f"lsa-onnx: {printable}")
    sys.exit(exit_code)


def _fail_alike(message: str, exit_code: int) -> NoReturn:
    """``fail`` for what all processes of a training meet: the first on each machine tells it."""
    if is_first_here():
        fail(message, exit_code)
    sys.exit(exit_code)


def _tell(text: str) -> None:
    """Write to stderr; where that fails, the exit code is still the one that is documented."""
    try:
        click.echo(text, err=True)
    except OSError:
        _silence(sys.stderr)


def _fail_usage(error: click.ClickException) -> NoReturn:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _tell(error.format_message())
        sys.exit(error.exit_code)
    text = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        text += "" if text.endswith((".", "?", "!")) else "."
        text += f" Try '{error.ctx.command_path} --help'."
    _fail_alike(text, error.exit_code)


def _fail_system(error: OSError) -> NoReturn:
    """What the system refused, outside of the files whose errors the library explains."""
    _silence(sys.stdout)
    what = f"cannot use {os.fspath(error.filename)!r}" if error.filename else "cannot write results"
    remedy = "check the path, its permissions and the free space"
    fail(f"{what}: {error.strerror or error}; {remedy}", 2)


def _silence(stream: TextIO) -> None:
    """What is still buffered has nowhere to go; keep Python from failing again when it flushes."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
