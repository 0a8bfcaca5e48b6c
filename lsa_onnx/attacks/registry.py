"""Every perturbation by name, and how a command line asks for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lsa_onnx.attacks.apgd import Apgd
from lsa_onnx.attacks.attack import Attack
from lsa_onnx.attacks.auto import Auto
from lsa_onnx.attacks.balls import BALLS, Norm
from lsa_onnx.attacks.base import Perturbation
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.attacks.epsilon import check_eps, parse_eps
from lsa_onnx.attacks.fast import Fast
from lsa_onnx.attacks.fgsm import Fgsm
from lsa_onnx.attacks.noise import NOISES, Noise, parse_strength
from lsa_onnx.attacks.pgd import Pgd
from lsa_onnx.attacks.square import Square
from lsa_onnx.attacks.trades import Trades
from lsa_onnx.errors import DataError

# AutoAttack has 5,000 queries of Square beside 100 steps of APGD.
_QUERIES_PER_STEP = 50


@dataclass(frozen=True)
class AttackKind:
    """An attack that can be asked for.

    Attributes:
        attack: Its class.
        help: One line for ``--help``.
        fixed: Parameters that its name fixes.
    """

    attack: type[Attack]
    help: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_gradient(self) -> bool:
        """Whether it asks the model for gradients."""
        return self.attack.needs_gradient

    @property
    def norms(self) -> tuple[Norm, ...]:
        """The norms it works in."""
        return self.attack.norms


ATTACKS = {
    "fgsm": AttackKind(Fgsm, "one gradient step of eps (Goodfellow et al. 2015)"),
    "fast": AttackKind(Fast, "one gradient step from a random start (Wong et al. 2020)"),
    "pgd": AttackKind(Pgd, "projected gradient steps (Madry et al. 2018)"),
    "apgd": AttackKind(Apgd, "PGD that sets its own step size (Croce & Hein 2020)"),
    "apgd-ce": AttackKind(Apgd, "APGD on the cross-entropy", {"objective": "ce"}),
    "apgd-dlr": AttackKind(Apgd, "APGD on the scale-free DLR loss", {"objective": "dlr"}),
    "trades": AttackKind(Trades, "gradient steps on the KL divergence (Zhang et al. 2019)"),
    "square": AttackKind(Square, "random search without gradients (Andriushchenko et al. 2020)"),
    "auto": AttackKind(Auto, "APGD-CE, APGD-DLR and Square, the worst of them (AutoAttack)"),
}


@dataclass(frozen=True)
class AttackSettings:
    """What perturbations are given beside their names; each takes what it has a use for.

    Attributes:
        eps: Distance in units of the declared range; ``None`` if each attack must name its own.
        norm: "linf", "l2" or "l1".
        steps: Gradient steps, queries of Square; ``None`` for each attack's own number.
        restarts: Random starts.
        objective: What is maximised where the attack's name does not say; ``None`` for the default.
        seed: Of all random numbers, 0 to 2³² − 1.
        low: Lower end of the declared range.
        high: Upper end.
        momentum: Decay of earlier gradients, of PGD; 0 for none.

    Raises:
        DataError: A value is not usable.
    """

    eps: float | None = None
    norm: Norm = "linf"
    steps: int | None = None
    restarts: int = 1
    objective: str | None = None
    seed: int = 0
    low: float = 0.0
    high: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.norm not in BALLS:
            raise unknown("norm", self.norm, BALLS)
        for name in ("steps", "restarts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"{value} {name} are not usable; give 1 or more")
        if not 0 <= self.momentum <= 1:
            raise DataError(f"momentum {self.momentum:g} is not a decay; give 0 to 1")
        if self.eps is not None:
            check_eps(self.eps, self.norm, self.width)

    @property
    def width(self) -> float:
        """Of the declared range."""
        return self.high - self.low

    def options(self, attack: type[Attack]) -> dict[str, Any]:
        """The parameters that ``attack`` has a use for, by the name it knows them under."""
        given: dict[str, Any] = {
            "norm": self.norm,
            "seed": self.seed,
            "objective": self.objective,
            "steps": self.steps,
            "restarts": self.restarts,
            "momentum": self.momentum,
        }
        if self.steps is not None:
            given["queries"] = self.steps * (_QUERIES_PER_STEP if attack is Auto else 1)
        known = {f.name for f in dataclasses.fields(attack)}
        return {name: v for name, v in given.items() if name in known and v is not None}


def parse_perturbations(texts: Iterable[str], settings: AttackSettings) -> list[Perturbation]:
    """The noises and attacks that texts such as ``gaussian=20%`` or ``pgd=8/255`` stand for.

    Each comes once. Those of one name at several strengths are named ``NAME=STRENGTH`` or
    ``NAME=EPS``, so that names are unique.

    Args:
        texts: ``NAME`` or ``NAME=VALUE`` each: for a noise a share, 0.1 or 10%; for an attack an eps
            as ``parse_eps`` takes it.
        settings: All else.

    Raises:
        DataError: An unknown name, a value that is not usable, or a norm that the attack lacks.
    """
    shown: dict[tuple[str, float], str] = {}
    for text in texts:
        name, value, how = _parsed(text, settings)
        shown.setdefault((name, value), how)
    names = [name for name, _ in shown]
    return [
        _made(name, value, settings, f"{name}={how}" if names.count(name) > 1 else name)
        for (name, value), how in shown.items()
    ]


def _parsed(text: str, settings: AttackSettings) -> tuple[str, float, str]:
    """Name, value, and the value as a name shows it."""
    name, equals, value = text.partition("=")
    if name in NOISES:
        strength = parse_strength(value, text) if equals else NOISES[name].default
        return name, strength, f"{strength:.12g}"
    if name not in ATTACKS:
        raise unknown(
            "perturbation",
            name,
            [*NOISES, *ATTACKS],
            ", noises also as NAME=STRENGTH, attacks as NAME=EPS",
        )
    if equals:
        eps = parse_eps(value, settings.width)
        check_eps(eps, settings.norm, settings.width)
        return name, eps, value.strip()
    if settings.eps is None:
        raise DataError(
            f"attack {name!r} has no eps; give --eps 8/255 or {name}=8/255, for example"
        )
    return name, settings.eps, f"{settings.eps:.12g}"


def _made(name: str, value: float, settings: AttackSettings, shown: str) -> Perturbation:
    if name in NOISES:
        return Noise(name, value, settings.seed, shown)
    kind = ATTACKS[name]
    return kind.attack(eps=value, name=shown, **settings.options(kind.attack) | dict(kind.fixed))
