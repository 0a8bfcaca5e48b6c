"""Learning rates, perturbation sizes and γ over a run, as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from lsa_onnx.errors import DataError

Kind: TypeAlias = Literal["constant", "cosine", "one-cycle", "step"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EpsKind: TypeAlias = Literal["warmup", "cosine", "random"]
EPS_KINDS: tuple[EpsKind, ...] = get_args(EpsKind)
GammaKind: TypeAlias = Literal["constant", "rising", "falling", "with-eps"]
GAMMA_KINDS: tuple[GammaKind, ...] = get_args(GammaKind)


@dataclass(frozen=True)
class Ramp:
    """Rises linearly to 1, which it has from step ``steps`` on; above zero from the first step on.

    Attributes:
        steps: Length; 0 for no ramp.

    Raises:
        DataError: It is negative.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise DataError(f"a warm-up of {self.steps} steps is not usable; give 0 or more")

    def __call__(self, step: int) -> float:
        """The factor at ``step``, counted from 0."""
        return min((step + 1) / (self.steps + 1), 1.0)


@dataclass(frozen=True)
class EpsSchedule:
    """The share of ε that a step has.

    * warmup: linearly to 1, which it has from then on;
    * cosine: along half a cosine, slowest at both ends;
    * random: as warmup, and each sample goes as far as a share of that which is drawn for it.

    Attributes:
        kind: See above.
        steps: Until it is 1.

    Raises:
        DataError: One of these is not usable.
    """

    kind: EpsKind
    steps: int

    def __post_init__(self) -> None:
        _require(
            self.kind in EPS_KINDS, "schedule of eps", self.kind, f"one of {', '.join(EPS_KINDS)}"
        )
        Ramp(self.steps)

    def __call__(self, step: int) -> float:
        """The share at ``step``, counted from 0: above 0, 1 at most."""
        share = Ramp(self.steps)(step)
        return share if self.kind != "cosine" else (1 - math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class GammaSchedule:
    """What γ is multiplied with at each step.

    * constant: 1;
    * rising: linearly from almost 0 at the first step to 1 at the last;
    * falling: linearly from 1 at the first step to almost 0 at the last;
    * with-eps: the share of ε that the step has.

    Attributes:
        kind: See above.
        steps: Of the whole run.
        eps: Of ε.

    Raises:
        DataError: One of these is not usable.
    """

    kind: GammaKind
    steps: int
    eps: EpsSchedule

    def __post_init__(self) -> None:
        kinds = f"one of {', '.join(GAMMA_KINDS)}"
        _require(self.kind in GAMMA_KINDS, "schedule of gamma", self.kind, kinds)
        _require(self.steps >= 1, "number of steps", self.steps, "1 or more")

    def __call__(self, step: int) -> float:
        """The factor at ``step``, counted from 0: above 0 within the run, 1 at most."""
        if self.kind == "with-eps":
            return self.eps(step)
        if self.kind == "rising":
            return min((step + 1) / self.steps, 1.0)
        return 1.0 if self.kind == "constant" else max((self.steps - step) / self.steps, 0.0)


@dataclass(frozen=True)
class Schedule:
    """What the learning rate is multiplied with at each step.

    The warm-up rises linearly to where the kind starts; the rest of the run is the kind's:

    * constant: 1;
    * cosine: half a cosine from 1 to ``final``;
    * one-cycle: linearly from ``first`` to 1 at share ``peak`` of it, then linearly to ``final``
      (Smith 2017);
    * step: 1, times ``drop`` from each of the ``milestones`` on, which are shares of the whole run.

    Attributes:
        kind: See above.
        steps: Of the whole run; the factor stays at its end value from then on.
        warmup: Steps of the warm-up.
        final: End value of cosine and one-cycle, 0 to 1.
        first: Start value of one-cycle, 0 to 1.
        peak: Of one-cycle, inside 0 to 1.
        milestones: Of step, ascending, inside 0 to 1.
        drop: Of step, above 0 and at most 1.

    Raises:
        DataError: One of these is not usable.
    """

    kind: Kind
    steps: int
    warmup: int = 0
    final: float = 0.0
    first: float = 0.04
    peak: float = 0.3
    milestones: tuple[float, ...] = (0.5, 0.75)
    drop: float = 0.1

    def __post_init__(self) -> None:
        _require(self.kind in KINDS, "schedule", self.kind, f"one of {', '.join(KINDS)}")
        _require(self.steps >= 1, "number of steps", self.steps, "1 or more")
        fits = 0 <= self.warmup < self.steps
        _require(fits, "warm-up", self.warmup, f"0 to {self.steps - 1} steps, fewer than the run")
        _require(0 <= self.final <= 1, "final factor", self.final, "0 to 1")
        _require(0 <= self.first <= 1, "first factor", self.first, "0 to 1")
        _require(0 < self.peak < 1, "peak", self.peak, "a share of the run between 0 and 1")
        _require(0 < self.drop <= 1, "drop", self.drop, "above 0 and at most 1")
        shares = self.milestones
        ascending = all(a < b for a, b in zip((0.0, *shares), (*shares, 1.0), strict=True))
        _require(ascending, "list of milestones", shares, "ascending shares between 0 and 1")

    def __call__(self, step: int) -> float:
        """The factor at ``step``, counted from 0."""
        shape = _SHAPES[self.kind]
        if step < self.warmup:
            return shape(self, 0.0, 0.0) * Ramp(self.warmup)(step)
        rest = (step - self.warmup) / (self.steps - self.warmup)
        return shape(self, min(rest, 1.0), step / self.steps)


def _require(holds: bool, what: str, value: Any, accepted: str) -> None:
    if not holds:
        raise DataError(f"{what} {value!r} is not usable; give {accepted}")


# (schedule, share of what follows the warm-up, share of the whole run) → factor.
_Shape: TypeAlias = Callable[[Schedule, float, float], float]


def _constant(_: Schedule, _rest: float, _whole: float) -> float:
    return 1.0


def _cosine(schedule: Schedule, rest: float, _: float) -> float:
    return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * rest)) / 2


def _one_cycle(schedule: Schedule, rest: float, _: float) -> float:
    if rest < schedule.peak:
        return schedule.first + (1 - schedule.first) * rest / schedule.peak
    return schedule.final + (1 - schedule.final) * (1 - rest) / (1 - schedule.peak)


def _step(schedule: Schedule, _: float, whole: float) -> float:
    passed = sum(whole >= milestone for milestone in schedule.milestones)
    return float(schedule.drop**passed)


_SHAPES: dict[Kind, _Shape] = {
    "constant": _constant,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "step": _step,
}
