"""Option types and option groups that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import as_layout, parse_floats, parse_range

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    # Generic for type checkers only, in the older releases of click.
    ParamType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)


class Parsed(ParamType):
    """An option whose text is read by a function of the library, with that function's message."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; a ``DataError`` becomes a usage error that names the option."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except DataError as error:
            self.fail(str(error), param, ctx)


def parse_size(text: str) -> int:
    """Bytes of ``512M``, ``1GiB`` or ``1073741824``; units are powers of 1024.

    Raises:
        DataError: Anything else.
    """
    found = _SIZE.fullmatch(text)
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size == 0:
        raise DataError(f"{text!r} is not a size; give one such as 512M or 1GiB")
    return size


def parse_names(text: str) -> tuple[str, ...]:
    """What stands between commas; nothing for an empty text.

    Raises:
        DataError: There is nothing between them.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if text and not names:
        raise DataError(f"{text!r} names nothing; give names between commas, or leave it out")
    return names


def parse_seeds(text: str) -> tuple[int, ...]:
    """``0,1,2``.

    Raises:
        DataError: It is anything else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise DataError(f"{text!r} are no seeds; give whole numbers such as 0,1,2") from None


def model_argument(function: F) -> F:
    """MODEL, a path that the library checks (its message names the remedy)."""
    return click.argument("model", type=click.Path())(function)


def input_options(function: F) -> F:
    """What the input values mean."""
    return _stack(
        function,
        click.option(
            "--range",
            "range_",
            type=Parsed("LO,HI", parse_range),
            metavar="LO,HI",
            help="Value range of the data; strengths are in its units.  [default: 0,1]",
        ),
        click.option(
            "--mean",
            type=Parsed("A,B,C", lambda text: parse_floats(text, "--mean")),
            metavar="A,B,C",
            help="Normalisation the model expects, per channel, on the 0..1 scale.",
        ),
        click.option(
            "--std",
            type=Parsed("A,B,C", lambda text: parse_floats(text, "--std")),
            metavar="A,B,C",
            help="Likewise, the standard deviation.",
        ),
        click.option(
            "--layout",
            type=Parsed("LAYOUT", as_layout),
            metavar="NCHW|NHWC|flat",
            help="Axis order that the model takes.  [default: by its shape]",
        ),
    )


def data_options(function: F) -> F:
    """Where inputs and labels come from."""
    return _stack(
        function,
        click.option(
            "--data",
            type=click.Path(path_type=str),
            help="npz, npy, IDX, or a folder, tar or zip of images. A scan without it uses synthetic inputs.",
        ),
        click.option(
            "--labels", metavar="PATH|none", help="Labels in a file of their own, or none."
        ),
        click.option("--x-key", metavar="NAME", help="Array of an npz that holds the samples."),
        click.option("--y-key", metavar="NAME", help="Array of an npz that holds the labels."),
        click.option(
            "--split",
            metavar="NAME",
            help="Part of the data, such as test or train; train? takes it if there is one.",
        ),
        click.option("--resize", is_flag=True, help="Scale images of another size to the model's."),
        click.option("--samples", type=int, metavar="N", help="Draw N samples at random."),
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Of every random choice."
        ),
    )


def model_options(function: F) -> F:
    """Which input is perturbed, what the others are given, and how a class is read."""
    return _stack(
        function,
        click.option("--perturb", metavar="NAME", help="Input to perturb.  [default: first float]"),
        click.option(
            "--perturb-at",
            metavar="TENSOR",
            help="Inner tensor to perturb instead.  [default: the embedding, without float inputs]",
        ),
        click.option(
            "--hold",
            multiple=True,
            metavar="NAME=FILE",
            help="Values of an input that is not perturbed: npy, npz or a number. Repeatable.",
        ),
        decision_option,
    )


def decision_option(function: F) -> F:
    """How a class is read."""
    return click.option(
        "--decision",
        type=click.Choice(["max", "min", "binary", "none"]),
        default="max",
        show_default=True,
        help="Which score wins; binary: one score tells two classes apart, class 1 above 0, or above 0.5 "
        "behind a Sigmoid; none: read no class.",
    )(function)


def attack_options(function: F) -> F:
    """How attacks go about it."""
    return _stack(
        function,
        click.option(
            "--norm",
            default="linf",
            show_default=True,
            metavar="linf|l2|l1",
            help="In which eps is measured.",
        ),
        click.option("--steps", type=int, metavar="N", help="Gradient steps; queries of square."),
        click.option(
            "--restarts",
            type=int,
            default=1,
            show_default=True,
            metavar="N",
            help="Random starts; the worst counts, sample by sample.",
        ),
        click.option(
            "--momentum",
            type=float,
            default=0.0,
            metavar="DECAY",
            help="Of earlier gradients, of pgd; 0 to 1.",
        ),
        click.option(
            "--objective",
            metavar="NAME",
            help="What attacks maximise: ce, margin, dlr, kl, output or layer:TENSOR."
            "  [default: ce; output without classes]",
        ),
        click.option(
            "--straight-through",
            is_flag=True,
            help="Let gradients pass Sign, Round, Floor and Ceil.",
        ),
        click.option(
            "--save-adversarial",
            type=click.Path(path_type=Path),
            metavar="FILE.npz",
            help="Write the inputs that attacks made.",
        ),
    )


def run_options(function: F) -> F:
    """Batches, memory, device, and the gate on clean accuracy."""
    return _stack(
        function,
        click.option(
            "--batch", type=int, metavar="N", help="Samples per run.  [default: by memory]"
        ),
        click.option(
            "--max-memory",
            "max_memory_bytes",
            type=Parsed("SIZE", parse_size),
            metavar="SIZE",
            help="Bound on memory beyond a plain session, such as 512M or 1GiB.",
        ),
        device_option,
        click.option(
            "--expect-accuracy",
            type=float,
            metavar="SHARE",
            help="Stop with exit code 1 if the clean accuracy is below this, 0 to 1.",
        ),
    )


def layers_option(default: str) -> Callable[[F], F]:
    """Which tensors to take."""
    return click.option(
        "--layers",
        multiple=True,
        default=(default,),
        show_default=default,
        metavar="SELECT",
        help="activations (one point per learnable layer, after its activation), learnable, all, "
        "op:TYPE, re:REGEX, or names with wildcards. Repeatable.",
    )


def device_option(function: F) -> F:
    """Where to run."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]",
        help="cuda is an error where it does not work; auto says that it fell back.",
    )(function)


def _stack(function: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        function = option(function)
    return function
