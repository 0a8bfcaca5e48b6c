"""What a configuration file and the environment may say of each option, and under which names."""

from __future__ import annotations

from enum import Enum

import click

PREFIX = "LSA_ONNX"


class Kind(Enum):
    """What the text of an option is, and who may set it."""

    PLAIN = "a value"
    READ = "a path that is read"
    WRITTEN = "a path that is written"
    FLAG = "for the command line alone"


# Code is run, a check is left out, data go to other machines, work is thrown away, a browser opens, or another file
# of options takes over: a file that happens to lie here has no say in that.
_FLAGS = frozenset({"cluster", "custom_ops", "no_check", "fresh", "open_page", "listed", "config"})
_READ = frozenset({"baseline", "data", "labels", "hold", "model", "perturbed", "report"})
_WRITTEN = frozenset(
    {
        "annotated_file",
        "csv_file",
        "figures_path",
        "html",
        "json",
        "junit_file",
        "markdown",
        "markdown_file",
        "netron_file",
        "output",
        "page",
        "page_path",
        "plot",
        "records",
        "reports",
        "sarif_file",
        "save_adversarial",
        "work",
    }
)
# Texts that are no paths. What is in none of these sets may be a path that is written, so a flag alone sets it.
_PLAIN = frozenset(
    {
        "attack", "attacks", "base", "batch_norm", "device", "eps", "eps_list", "eps_schedule", "eps_warmup",
        "extent", "fail_on", "gamma", "gamma_schedule", "inner", "keep", "label_smoothing", "layers", "layout",
        "max_clean_drop", "max_memory_bytes", "mean", "mvl", "norm", "objective", "optimizer", "perturb",
        "perturb_at", "perturbations", "precision", "proposals", "range_", "rows", "scale", "schedule", "score",
        "search", "seeds", "shard", "split", "std", "step_size", "verify_attack", "warmup", "x_key", "y_key"
    }
)  # fmt: skip


def kind_of(option: click.Option) -> Kind:
    """Who may set an option; a text that nobody has looked at is for the command line alone."""
    if option.name in _FLAGS:
        return Kind.FLAG
    if option.name in _READ:
        return Kind.READ
    if option.name in _WRITTEN:
        return Kind.WRITTEN
    return Kind.PLAIN if option.name in _PLAIN or _cannot_be_a_path(option) else Kind.FLAG


def _cannot_be_a_path(option: click.Option) -> bool:
    numbers = (type(click.INT), type(click.FLOAT), click.IntRange, click.FloatRange)
    return option.is_flag or option.count or isinstance(option.type, (*numbers, click.Choice))


def flag_of(option: click.Option) -> str:
    """The flag in messages, ``--max-memory``: the longest, for that is the one that explains itself."""
    return max(option.opts, key=len)


def key_of(option: click.Option) -> str:
    """The name in a file, ``max-memory``."""
    return flag_of(option).lstrip("-")


def keys_of(option: click.Option) -> list[str]:
    """All names that a file may use, as ``plain_key`` gives them."""
    return [flag.lstrip("-") for flag in option.opts if flag.startswith("--")]


def plain_key(key: str) -> str:
    """The same name with dashes, which is how flags have it."""
    return key.replace("_", "-")


def variables_of(option: click.Option, command: str) -> list[str]:
    """Environment variables that set an option of a command, the first that is set wins."""
    if kind_of(option) is Kind.FLAG:
        return []
    return [
        "_".join([PREFIX, *words]).replace("-", "_").upper() for words in _words(option, command)
    ]


def _words(option: click.Option, command: str) -> list[list[str]]:
    return [[command, key_of(option)], [key_of(option)]]


def options_of(command: click.Command) -> dict[str, click.Option]:
    """The options of a command, by the name of what they set in Python."""
    return {p.name: p for p in command.params if isinstance(p, click.Option) and p.name is not None}
