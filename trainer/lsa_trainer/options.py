"""Everything that a hardening run can be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lsa_onnx.attacks import Norm
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.attacks.registry import ATTACKS
from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Arrays, parse_hold
from lsa_onnx.option_values import settle, typed
from lsa_onnx.scanning.options import DEFAULT_EPS, ScanOptions, SubjectOptions
from lsa_trainer.option_checks import (
    BASES,
    DEFAULT_LR,
    INNERS,
    OPTIMIZERS,
    PRECISIONS,
    BatchNorm,
    check_training,
)

__all__ = [
    "BASES",
    "DEFAULT_LR",
    "INNERS",
    "OPTIMIZERS",
    "PRECISIONS",
    "HardenOptions",
    "TrainingOptions",
    "read_record",
]

# The attack of the verdict takes so many steps at least, and so many times those of the training attack.
_LEAST_VERIFY_STEPS = 30
_STRONGER = 3
# What the fields of these options are not part of: where results go, and who asked.
_NOT_SAVED = frozenset({"command", "fresh"})
# The attack of the verdict that nobody named: the first that works in the norm.
_VERIFY_ATTACKS = ("auto", "pgd")


@dataclass(frozen=True)
class TrainingOptions:
    """How a module is trained, wherever it comes from.

    Attributes:
        base: Of the objective: one of ``lsa_trainer.objectives.BASES``.
        inner: What the training attack maximises, one of ``INNERS``: "auto" for what the base wants, "ce",
            "margin", "dlr", "kl" (the divergence from the clean answer), "cm" (Σ_l CM_l of the regularised
            layers) or "ce+cm" (what the step minimises, J + Σ_l γ_l · CM_l). See ``objectives.inner``.
        clean_weight: W of J = (1 − W) · J(x̂) + W · J(x), 0 to 1 (0.5 of Goodfellow et al. 2015); for bases
            that have no loss at x of their own.
        gamma: Weight of the layer-wise term: a number (0 for none), "auto", "auto:SHARE" (of J), or
            TENSOR=NUMBER,...; kept as text.
        gamma_schedule: How γ changes over the run, one of ``schedules.GAMMA_KINDS``.
        lr_power: The layer-wise term is of CM to this power, 1 (Khalooei et al. 2023) or 2.
        detach_clean: Take φ(x) as a constant in the layer-wise term.
        beta: Weight of the drift, of at-trades.
        label_smoothing: Share of the target that is spread over all classes.
        eps: How far the training attack may go: a number, or as ``lsa_onnx.attacks.parse_eps`` takes it;
            kept as text.
        norm: In which that is measured.
        steps: Gradient steps of the training attack.
        step_size: Of one of them, as ``eps``; ``None`` for the attack's own.
        eps_warmup: Share of the run in which ε grows to its value.
        eps_schedule: How it grows, and whether each sample has an ε of its own: one of
            ``schedules.EPS_KINDS``.
        epochs: Passes over the training samples.
        batch_size: Samples per step, over all processes.
        optimizer: "adamw" or "sgd".
        lr: Learning rate at its highest; ``None`` for that of ``DEFAULT_LR``.
        momentum: Of sgd.
        weight_decay: Of the optimizer.
        schedule: One of ``schedules.KINDS``.
        warmup: Share of the run in which the learning rate grows.
        ema: Decay of the moving average of the weights; 0 for none.
        clip: Largest norm of the gradient; 0 for no bound.
        crop: Pixels by which random crops go over the edge; 0 for none.
        flip: Mirror every other image.
        batch_norm: Statistics that BatchNormalization uses and updates in training: "frozen" (those of the
            file), "clean" (those of the batch in clean passes), "all".
        precision: One of ``PRECISIONS``.
        channels_last: Keep images in that memory format, in which convolutions are fastest.
        compile: Compile the module with ``torch.compile``.
        validate_every: Epochs between validations.
        validation_steps: Gradient steps of the validation attack; more than the training attack has.
        patience: Validations without a gain in robust accuracy after which training ends early; they count
            from where ε has grown to its value.
        keep: The weights that a run ends with: "best" for the most robust ones at a validation, those that training
            started from among them, or "last".
        max_clean_drop: Accuracy on clean inputs that the best may have lost, 0 to 1.
        checkpoint_every: Steps between checkpoints.
        seed: Of every random choice.
        tensorboard: Write the log for TensorBoard as well.

    Raises:
        DataError: A value is of another type, or not usable.
    """

    base: str = "at-pgd"
    inner: str = "auto"
    clean_weight: float = 0.0
    gamma: str = "auto"
    gamma_schedule: str = "constant"
    lr_power: int = 1
    detach_clean: bool = False
    beta: float = 6.0
    label_smoothing: float = 0.0
    eps: str = DEFAULT_EPS
    norm: Norm = "linf"
    steps: int = 7
    step_size: str | None = None
    eps_warmup: float = 0.3
    eps_schedule: str = "warmup"
    epochs: int = 5
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.05
    ema: float = 0.0
    clip: float = 1.0
    crop: int = 0
    flip: bool = False
    batch_norm: BatchNorm = "frozen"
    precision: str = "32-true"
    channels_last: bool = True
    compile: bool = False
    validate_every: float = 1.0
    validation_steps: int = 20
    patience: int | None = None
    keep: str = "best"
    max_clean_drop: float = 0.02
    checkpoint_every: int = 100
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        settle(self)
        check_training(self)


@dataclass(frozen=True)
class HardenOptions(TrainingOptions, SubjectOptions):
    """How a file is hardened.

    Attributes:
        split: As for ``SubjectOptions``; the part of the data that is for training, if it has such parts.
        report: The report of a scan whose MVL list is regularised; without one, the model is scanned.
        mvl: Tensors to regularise in place of the list.
        validation: Samples held out to choose the best checkpoint by.
        verification: Samples held out for the final verdict.
        verify_attack: The attack that the verdict is passed with, stronger than the training attack; by
            default "auto", and "pgd" in the l1 norm, in which "auto" does not work.
        verify_steps: Its gradient steps (queries of Square); see ``steps_of_verdict`` if ``None``.
        allow_frozen: Train also where less than 90 % of the weights can be trained.
        force: Write the file even if it is not better.
        reexport: Export the trained module anew with torch in place of writing weights back.
        fresh: Start anew where a run was interrupted.
    """

    split: str | None = "train?"
    report: Path | None = None
    mvl: tuple[str, ...] = ()
    validation: int = 512
    verification: int = 512
    verify_attack: str = ""
    verify_steps: int | None = None
    allow_frozen: bool = False
    force: bool = False
    reexport: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        SubjectOptions.__post_init__(self)
        if self.data is None:
            raise DataError(
                "hardening needs samples to train on; give --data train.npz, for example"
            )
        if isinstance(self.data, Arrays):
            raise DataError(
                f"data are {self.data}, and an interrupted hardening goes on from files; store them with "
                "numpy.savez and give the path"
            )
        object.__setattr__(self, "verify_attack", _able(self.verify_attack, self.norm))
        self._require_least(validation=1, verification=1, verify_steps=1)

    @property
    def steps_of_verdict(self) -> int | None:
        """Gradient steps of the attack on models with classes; Square has a number of its own."""
        if self.verify_steps is not None or self.verify_attack == "square":
            return self.verify_steps
        return max(_LEAST_VERIFY_STEPS, _STRONGER * self.steps)

    def scan_options(self, most: int, **scanning: Any) -> ScanOptions:
        """How to scan the model: ``most`` of the same samples, with the same eps and norm.

        Args:
            most: Samples at most.
            scanning: What is said of the scan alone, by field of ``ScanOptions``.
        """
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(SubjectOptions)}
        shared["samples"] = min(self.samples or most, most)
        return ScanOptions(**shared, eps=self.eps, norm=self.norm, **scanning)

    def to_record(self, path: Callable[[str], str] = str) -> dict[str, Any]:
        """Every option as a JSON- and TOML-ready value; what is not set is left out.

        Args:
            path: What is made of the path of a file, such as ``os.path.abspath`` for a record that is to
                be read in any folder.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["hold"] = tuple(_held(text, path) for text in self.hold)
        if self.labels not in (None, "none"):
            values["labels"] = path(self.labels)
        return {
            name: _plain(value, path)
            for name, value in values.items()
            if name not in _NOT_SAVED and value is not None
        }

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], where: str = "the configuration"
    ) -> HardenOptions:
        """The options that ``to_record`` gave.

        Raises:
            DataError: An option is unknown or of another type.
        """
        return cls(**read_record(record, where))


def read_record(
    record: Mapping[str, Any], where: str, kind: type[SubjectOptions] = HardenOptions
) -> dict[str, Any]:
    """Options by name, in the types that ``kind`` takes.

    Raises:
        DataError: An option is unknown, or of another type; ``where`` says in what file.
    """
    known = {f.name: f for f in dataclasses.fields(kind) if f.name != "command"}
    found = {}
    for name, value in record.items():
        if name not in known:
            raise unknown(f"option in {where}", name, sorted(known))
        found[name] = typed(name, value, str(known[name].type), where)
    return found


def _able(attack: str, norm: Norm) -> str:
    """``attack``, or where none is named the default one, that works in ``norm``."""
    able = [name for name, kind in ATTACKS.items() if norm in kind.norms]
    if not attack:
        return next(name for name in _VERIFY_ATTACKS if name in able)
    if attack not in ATTACKS:
        raise unknown("attack", attack, ATTACKS)
    if attack not in able:
        raise DataError(
            f"--verify-attack {attack!r} does not work in the {norm} norm; give one of "
            f"{', '.join(able)}, or leave it out"
        )
    return attack


def _plain(value: Any, path: Callable[[str], str]) -> Any:
    if isinstance(value, Path):
        return path(str(value))
    return list(value) if isinstance(value, tuple) else value


def _held(text: str, path: Callable[[str], str]) -> str:
    """``NAME=FILE`` with what ``path`` makes of the file; ``NAME=NUMBER`` as it is."""
    name, value = parse_hold(text)
    return f"{name}={path(value)}" if Path(value).exists() else text
