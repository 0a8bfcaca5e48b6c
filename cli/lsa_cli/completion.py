"""What a shell offers for a word that is being typed, and the script that lets it ask."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
)

from lsa_cli.option_kinds import Kind, kind_of

if TYPE_CHECKING:
    Item = CompletionItem[str]
    ParamType = click.ParamType[Any]
else:
    # Generic for type checkers only, in the older releases of click.
    Item, ParamType = CompletionItem, click.ParamType

# Set, it makes the program answer a shell: click's own name for it.
VARIABLE = "_LSA_ONNX_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
PROGRAM = "lsa-onnx"

MODELS = (".onnx",)
_ARCHIVES = (".npz", ".npy", ".zip", ".tar", ".tgz", ".tar.gz", ".gz", "-ubyte")
_ENDINGS = {
    "data": _ARCHIVES,
    "labels": _ARCHIVES,
    "perturbed": _ARCHIVES,
    "save_adversarial": (".npz",),
    "records": (".npz",),
    "report": (".json",),
    "json": (".json",),
    "html": (".html",),
    "plot": (".png", ".svg", ".pdf"),
    "config": (".toml",),
    "config_file": (".toml",),
    "custom_ops": (".so", ".dll", ".dylib"),
    "page": (".md",),
    "page_path": (".md",),
    "figures_path": (),
    "work": (),
    "reports": (),
}


def _attacks() -> Iterable[str]:
    from lsa_onnx.attacks import ATTACKS  # numpy

    return ATTACKS


def _perturbations() -> Iterable[str]:
    from lsa_onnx.attacks import ATTACKS, NOISES  # numpy

    return (*NOISES, *ATTACKS)


def _of_training(name: str) -> Callable[[], Iterable[str]]:
    def names() -> Iterable[str]:
        from lsa_trainer import option_checks  # numpy

        found: Iterable[str] = getattr(option_checks, name)
        return found

    return names


def _of_schedules(name: str) -> Callable[[], Iterable[str]]:
    def names() -> Iterable[str]:
        from lsa_trainer.training import schedules  # numpy

        found: Iterable[str] = getattr(schedules, name)
        return found

    return names


def _searchable() -> Iterable[str]:
    from lsa_trainer.tuning.plan import offered  # numpy

    return offered()


# What takes words that are known beforehand. A word after a comma, or a strength, is the user's own.
_WORDS: dict[str, Callable[[], Iterable[str]]] = {
    "attack": _attacks,
    "attacks": _attacks,
    "verify_attack": _attacks,
    "perturbations": _perturbations,
    "norm": lambda: ("linf", "l2", "l1"),
    "layers": lambda: ("activations", "learnable", "all"),
    "device": lambda: ("auto", "cpu", "cuda"),
    "layout": lambda: ("NCHW", "NHWC", "flat"),
    "objective": lambda: ("ce", "margin", "dlr", "kl", "output"),
    "split": lambda: ("train", "test", "train?", "test?"),
    "range_": lambda: ("0,1", "0,255", "-1,1"),
    "base": _of_training("BASES"),
    "inner": _of_training("INNERS"),
    "optimizer": _of_training("OPTIMIZERS"),
    "precision": _of_training("PRECISIONS"),
    "batch_norm": lambda: ("frozen", "clean", "all"),
    "keep": lambda: ("best", "last"),
    "schedule": _of_schedules("KINDS"),
    "gamma_schedule": _of_schedules("GAMMA_KINDS"),
    "eps_schedule": _of_schedules("EPS_KINDS"),
    "score": lambda: ("robust", "rg"),
    "search": _searchable,
}


Command = TypeVar("Command", bound=click.Command)


def answering(group: Command) -> Command:
    """The group as it answers a shell: with this module's script for bash."""
    add_completion_class(Bash)
    return offering(group)


def offering(command: Command) -> Command:
    """The same command with parameters that offer what they take; that which was given stays as it is."""
    found = copy.copy(command)
    found.params = [_offering(parameter) for parameter in command.params]
    return found


def _offering(parameter: click.Parameter) -> click.Parameter:
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
        return parameter
    found = copy.copy(parameter)
    found.type = _Offering(parameter.type)
    return found


class _Offering(ParamType):
    """A type that offers what this module knows of its parameter."""

    def __init__(self, kind: ParamType) -> None:
        self.name = kind.name
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As the type itself."""
        return self._kind.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Item]:
        """Words, or files."""
        found = _offered(param, self._kind, incomplete)
        return self._kind.shell_complete(ctx, param, incomplete) if found is None else found


def _offered(parameter: click.Parameter, kind: ParamType, incomplete: str) -> list[Item] | None:
    """What can stand for ``incomplete``; ``None`` to leave it to the type of the parameter."""
    name = str(parameter.name)
    if isinstance(parameter, click.Argument):
        return _files(incomplete, MODELS) if isinstance(kind, click.Path) else None
    if name in _WORDS:
        return [Item(word) for word in _WORDS[name]() if word.startswith(incomplete)]
    if name == "output":
        return _files(incomplete, (".toml",) if "toml" in str(parameter.metavar) else MODELS)
    if name in _ENDINGS:
        return _files(incomplete, _ENDINGS[name])
    written = isinstance(parameter, click.Option) and kind_of(parameter) is Kind.WRITTEN
    return [Item(incomplete, type="file")] if written else None


def _files(incomplete: str, endings: tuple[str, ...]) -> list[Item]:
    """Files with these endings, and folders, in which the shell goes on."""
    folder, name = os.path.split(incomplete)
    # A shell hands over what was typed, the home folder and all.
    place = Path(os.path.expanduser(folder or "."))  # noqa: PTH111 - "" is no path
    try:
        found = sorted(each.name for each in place.iterdir() if each.name.startswith(name))
    except OSError:
        found = []
    fitting = [
        Item(os.path.join(folder, each))  # noqa: PTH118 - "a/" stays as it was typed
        for each in found
        if each.lower().endswith(endings) and "\n" not in each and (place / each).is_file()
    ]
    return [*fitting, Item(incomplete, type="dir")]


class Bash(BashComplete):
    """click's, but folders are offered beside files, not in their place."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n'
    local response type value completion

    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete $1)

    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"

        if [[ $type == 'dir' ]]; then
            compopt -o plusdirs -o filenames
        elif [[ $type == 'file' ]]; then
            compopt -o default
        elif [[ $type == 'plain' ]]; then
            COMPREPLY+=("$value")
        fi
    done

    return 0
}

%(complete_func)s_setup() {
    complete -o nosort -F %(complete_func)s %(prog_name)s
}

%(complete_func)s_setup;
"""


def script(shell: str) -> str:
    """What a shell has to run once to offer completions.

    Args:
        shell: One of ``SHELLS``.
    """
    kind = Bash if shell == Bash.name else get_completion_class(shell)
    if kind is None:
        raise ValueError(f"no completion for {shell!r}")
    # The group is only needed to answer; the text does not depend on it.
    return kind(click.Group(), {}, PROGRAM, VARIABLE).source()
