"""What the options of a training run may be."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from lsa_onnx.attacks import BALLS, parse_eps
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_trainer.training.schedules import EPS_KINDS, GAMMA_KINDS, KINDS

if TYPE_CHECKING:
    from lsa_trainer.options import TrainingOptions

BatchNorm = Literal["frozen", "clean", "all"]
# Their names alone: the objectives themselves need torch, which the help of the command line does without.
BASES = ("standard", "at-fgsm", "at-pgd", "at-fast", "at-apgd", "at-trades")
INNERS = ("auto", "ce", "margin", "dlr", "kl", "cm", "ce+cm")
DEFAULT_LR: Mapping[str, float] = {"adamw": 1e-3, "sgd": 1e-2}
OPTIMIZERS = tuple(DEFAULT_LR)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
# What goes beyond AT-LR as it was published, and the values that leave it at that: runs did the same before
# there were these options.
PUBLISHED: Mapping[str, Any] = {
    "inner": "auto",
    "clean_weight": 0.0,
    "gamma_schedule": "constant",
    "lr_power": 1,
    "eps_schedule": "warmup",
}
KEPT = ("best", "last")
# Of the comparison measure in the layer-wise term.
_POWERS = (1, 2)
# They have a loss at x of their own.
_WITH_CLEAN = ("standard", "at-trades")
# What they climb needs the regularised layers.
_OF_LAYERS = ("cm", "ce+cm")


def check_training(options: TrainingOptions) -> None:
    """Hold every value to its range.

    Raises:
        DataError: One is outside of it.
    """
    for name, accepted in _CHOICES.items():
        if getattr(options, name) not in accepted:
            raise unknown(name.replace("_", "-"), getattr(options, name), accepted)
    for name in ("steps", "batch_size", "validation_steps", "checkpoint_every", "epochs"):
        _require(options, name, getattr(options, name) >= 1, "1 or more")
    for name in ("eps_warmup", "warmup", "max_clean_drop", "label_smoothing", "clean_weight"):
        _require(options, name, 0 <= getattr(options, name) <= 1, "a share, 0 to 1")
    for name in ("weight_decay", "clip", "beta", "crop"):
        _require(options, name, 0 <= getattr(options, name) <= _MOST, f"0 to {_MOST:g}")
    _require(options, "ema", 0 <= options.ema < 1, "0 or more and less than 1")
    _require(options, "momentum", 0 <= options.momentum < 1, "0 or more and less than 1")
    every = options.validate_every
    _require(options, "validate_every", 0 < every < math.inf, "more than 0 epochs")
    _require(options, "lr_power", options.lr_power in _POWERS, "1 (as published) or 2")
    usable = options.lr is None or 0 < options.lr <= _MOST
    _require(options, "lr", usable, f"more than 0, {_MOST:g} at most")
    _require(options, "patience", options.patience is None or options.patience >= 1, "1 or more")
    for text in (options.eps, options.step_size):
        if text is not None:
            parse_eps(text, 1.0)
    _require_use(options)


# Far beyond any use, and still a number of single precision.
_MOST = 1e30
_CHOICES: Mapping[str, Collection[str]] = {
    "base": BASES,
    "inner": INNERS,
    "gamma_schedule": GAMMA_KINDS,
    "eps_schedule": EPS_KINDS,
    "norm": BALLS,
    "optimizer": OPTIMIZERS,
    "schedule": KINDS,
    "batch_norm": get_args(BatchNorm),
    "precision": PRECISIONS,
    "keep": KEPT,
}


def _require_use(options: TrainingOptions) -> None:
    """Refuse options that have nothing to work on.

    Raises:
        DataError: There is one.
    """
    if options.clean_weight and options.base in _WITH_CLEAN:
        raise DataError(
            f"--clean-weight {options.clean_weight:g} is of no use: base {options.base!r} weighs the loss at "
            "clean inputs by itself; leave it out, or train with at-pgd, for example"
        )
    if options.clean_weight == 1 and options.inner == "ce+cm":
        raise DataError(
            "--inner 'ce+cm' sets out from clean inputs along the loss at perturbed ones, of which --clean-weight 1 "
            "leaves nothing; give a smaller clean weight, or --inner cm"
        )
    if options.inner in _OF_LAYERS and options.gamma.strip() == "0":
        raise DataError(
            f"--inner {options.inner!r} climbs the regularised layers, and with --gamma 0 there are none; give "
            "another gamma, or --inner auto"
        )


def _require(options: TrainingOptions, name: str, holds: bool, accepted: str) -> None:
    if not holds:
        flag = "--" + name.replace("_", "-")
        raise DataError(f"{flag} {getattr(options, name)} is not usable; give {accepted}")
