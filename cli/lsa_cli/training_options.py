"""Every option of a training run as a flag, by group; defaults are those of ``HardenOptions``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from lsa_cli.options import (
    Parsed,
    data_options,
    input_options,
    model_options,
    run_options,
)
from lsa_cli.verbosity import verbosity_options
from lsa_onnx.attacks import ATTACKS
from lsa_onnx.errors import DataError
from lsa_trainer.options import BASES, DEFAULT_LR, INNERS, OPTIMIZERS, PRECISIONS, HardenOptions
from lsa_trainer.training.schedules import EPS_KINDS, GAMMA_KINDS, KINDS

F = TypeVar("F", bound=Callable[..., Any])

_LR = ", ".join(f"{value:g} of {name}" for name, value in DEFAULT_LR.items())
# What takes more than a line.
_CLEAN = (
    "Share of J that is the loss at clean inputs, 0 to 1; standard and at-trades have their own. Costs a pass of "
    "clean inputs, or where layers are regularised the part of it behind them."
)
_GAMMA = (
    "Of the layer-wise term: a number (0: none), auto, auto:SHARE (of J at the start; auto is auto:0.1), or "
    "TENSOR=NUMBER,... each."
)
_INNER = (
    f"What it maximises: {', '.join(INNERS)}. auto is ce, and kl with at-trades; cm is the sum of the CMs of the "
    "regularised layers; ce+cm is all that is minimised. Of these kl, cm and ce+cm run clean inputs once more."
)
_EPS = (
    f"How it grows: {', '.join(EPS_KINDS)}; with random each sample's own is drawn at each step, from 0 to "
    "that of warmup."
)
_SUBJECT, _SCANS, _RESULTS = "Data, model and machine", "Scans", "Results"

# Group → (field, what its value is called, help). A field without a name for its value is a switch.
_GROUPS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Layers": (
        ("report", "FILE", "Report of a scan, whose list is regularised.  [default: scan first]"),
        ("mvl", "NAME,...", "Tensors to regularise instead, by their ONNX names. Repeatable."),
    ),
    "Objective": (
        ("base", "NAME", f"Loss J: {', '.join(BASES)}."),
        ("clean_weight", "W", _CLEAN),
        ("gamma", "G", _GAMMA),
        ("gamma_schedule", "NAME", f"Of gamma over the run: {', '.join(GAMMA_KINDS)}."),
        ("lr_power", "1|2", "The layer-wise term is of the CM (as published), or of its square."),
        ("detach_clean", "", "Take the clean representation as a constant in that term."),
        ("beta", "B", "Weight of the drift, of at-trades."),
        ("label_smoothing", "SHARE", "Share of the target that is spread over all classes."),
    ),
    "Training attack": (
        ("inner", "NAME", _INNER),
        ("eps", "E", "How far it may go: in units of the range, 8/255 of its width, or 3%."),
        ("norm", "linf|l2|l1", "In which eps is measured."),
        ("steps", "N", "Gradient steps."),
        ("step_size", "E", "Of one of them, as --eps.  [default: the attack's own]"),
        ("eps_warmup", "SHARE", "Share of the run in which eps grows to its value."),
        ("eps_schedule", "NAME", _EPS),
    ),
    "Optimisation": (
        ("epochs", "N", "Passes over the training samples."),
        ("batch_size", "N", "Samples per step, over all processes."),
        ("optimizer", "NAME", f"{' or '.join(OPTIMIZERS)}."),
        ("lr", "X", f"Learning rate at its highest.  [default: {_LR}]"),
        ("momentum", "X", "Of sgd, 0 or more and less than 1."),
        ("weight_decay", "X", "Of the optimizer."),
        ("schedule", "NAME", f"Of the learning rate: {', '.join(KINDS)}."),
        ("warmup", "SHARE", "Share of the run in which the learning rate grows."),
        ("ema", "X", "Decay of the moving average of the weights; 0 for none."),
        ("clip", "X", "Largest norm of the gradient; 0 for no bound."),
        ("crop", "N", "Pixels by which random crops go over the edge; 0 for none."),
        ("flip", "", "Mirror every other image."),
        ("batch_norm", "frozen|clean|all", "Statistics: the file's, or the batch's in clean or all passes."),
        ("precision", "NAME", f"{', '.join(PRECISIONS)}."),
        ("channels_last", "", "Keep images in the memory format that is fastest for convolutions."),
        ("compile", "", "Compile the module with torch.compile."),
        ("allow_frozen", "", "Train also where less than 90 % of the weights can be trained."),
    ),
    "Validation": (
        ("validation", "N", "Samples held out to choose the best weights by."),
        ("validate_every", "EPOCHS", "Epochs between validations; parts of one will do."),
        ("validation_steps", "N", "Gradient steps of the attack in validation."),
        ("patience", "N", "End after N validations without a gain.  [default: never]"),
        ("keep", "best|last", "Weights to end with: of the best validation, the first among them, or the last."),
        ("checkpoint_every", "N", "Steps between checkpoints, from which a run goes on."),
        ("fresh", "", "Start anew where a run was interrupted."),
        ("tensorboard", "", "Write the log for TensorBoard as well."),
    ),
    "Verdict": (
        ("verification", "N", "Samples held out for the verdict alone."),
        ("verify_attack", "NAME", f"Attack of the verdict: {', '.join(ATTACKS)}.  [default: auto; pgd if norm is l1]"),
        ("verify_steps", "N", "Its gradient steps.  [default: 30 or 3 times --steps, more without classes]"),
        ("max_clean_drop", "SHARE", "Clean accuracy that may be lost: 0.02, or 2%."),
        ("force", "", "Write the file even if it is not better."),
        ("reexport", "", "Export the module anew with torch in place of writing the weights back."),
    ),
}  # fmt: skip
_ALIASES = {"batch_norm": ("--bn",)}
_TITLES = {
    **{field: title for title, rows in _GROUPS.items() for field, _, _ in rows},
    **dict.fromkeys(("perturbations", "layers", "eta", "top_k"), _SCANS),
    **dict.fromkeys(("output", "config", "json", "html", "verbose", "quiet"), _RESULTS),
}


class GroupedCommand(click.Command):
    """Lists its options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        titles = (_SUBJECT, _SCANS, *_GROUPS, _RESULTS)
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in titles}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                title = _RESULTS if param.is_eager else _TITLES.get(param.name or "", _SUBJECT)
                sections[title].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def parse_share(text: str) -> float:
    """A share as a number, 0.02, or as 2%.

    Raises:
        DataError: It is neither.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise DataError(f"{text!r} is not a share; give one such as 0.02 or 2%") from None
    return value / 100 if text.strip().endswith("%") else value


def harden_options(function: F) -> F:
    """All of ``HardenOptions``, and the file that may hold them."""
    for title in reversed(_GROUPS):
        for row in reversed(_GROUPS[title]):
            function = _option(*row)(function)
    for shared in (run_options, model_options, input_options, data_options):
        function = shared(function)
    return click.option(
        "--config",
        type=click.Path(),
        metavar="FILE.toml",
        help="Options by name, with underscores, as a run saves them; flags win over it. Paths in it "
        "count from the current folder; those that a run saves are absolute.",
    )(function)


def output_options(function: F) -> F:
    """Where the new file goes."""
    return click.option(
        "-o",
        "--output",
        metavar="OUT.onnx",
        help="The file to write.  [default: the model's name with .hardened.onnx, in this folder]",
    )(function)


def result_options(function: F) -> F:
    """Where results go, and how much is said."""
    options = (
        click.option(
            "--json", metavar="FILE|-", help="Write the result as JSON; - for stdout, alone."
        ),
        click.option(
            "--html", metavar="FILE", help="Write a page of the model before and after, scanned."
        ),
        verbosity_options(
            "Also tell each tenth of the training, and stages with their times; -vv also how they run."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def flags_of(values: Mapping[str, Any]) -> list[str]:
    """The command line that sets these options, none of them a switch."""
    return [word for name, value in values.items() for word in (_flag(name), str(value))]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


_FIELDS = {field.name: field for field in dataclasses.fields(HardenOptions)}


def _option(name: str, metavar: str, text: str) -> Callable[[F], F]:
    flag = _flag(name)
    # Nothing here has a default of its own: what is not given may still come from --config.
    if not metavar:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    default = _FIELDS[name].default
    shown = "" if default in (None, (), "") else f"  [default: {default}]"
    return click.option(
        flag,
        *_ALIASES.get(name, ()),
        name,
        type=_kind(name, metavar),
        multiple=name == "mvl",
        metavar=metavar,
        help=text + shown,
    )


def _kind(name: str, metavar: str) -> Any:
    if metavar == "SHARE":
        return Parsed(metavar, parse_share)
    kinds = {"int": int, "float": float}
    return kinds.get(str(_FIELDS[name].type).partition(" ")[0], str)
