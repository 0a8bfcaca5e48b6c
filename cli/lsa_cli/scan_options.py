"""The options of a scan that other commands have, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lsa_onnx.attacks import ATTACKS, NOISES
from lsa_onnx.scanning.options import DEFAULT_EPS, DEFAULT_ETA, DEFAULT_PERTURBATIONS

F = TypeVar("F", bound=Callable[..., Any])


def perturbation_options(function: F) -> F:
    """What is applied, and how far attacks may go."""
    eps = click.option(
        "--eps",
        default=DEFAULT_EPS,
        show_default=True,
        metavar="E",
        help="How far attacks may go: in units of the range, 8/255 of its width, or 3%.",
    )
    attack = click.option(
        "--attack",
        "perturbations",
        multiple=True,
        show_default=", ".join(DEFAULT_PERTURBATIONS),
        metavar="NAME[=STRENGTH]",
        help="Noise or attack to apply; the strength of a noise is a share, 0.1 or 10%, that of an "
        "attack its eps. Repeatable. Noises: "
        f"{', '.join(NOISES)}. Attacks: {', '.join(ATTACKS)}.",
    )
    return attack(eps(function))


def list_options(function: F) -> F:
    """Which layers are in the MVL list."""
    top_k = click.option(
        "--top-k", type=int, metavar="K", help="List the K most vulnerable layers instead."
    )
    eta = click.option(
        "--eta",
        type=float,
        default=DEFAULT_ETA,
        show_default=True,
        help="Cut-off η: a layer is listed when its mean CM exceeds μ + η σ.",
    )
    return eta(top_k(function))
