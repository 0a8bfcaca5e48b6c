"""The attacks that training uses, with the choices that are right there and not in an audit."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from lsa_onnx.attacks import (
    BALLS,
    Answer,
    Ball,
    Goal,
    Norm,
    Oracle,
    Randomness,
    apgd,
    check_eps,
    fast,
    fgsm,
    trades,
)
from lsa_onnx.attacks.arrays import displaced
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.attacks.fast import STEP_SHARE
from lsa_onnx.attacks.pgd import ascend, default_step
from lsa_onnx.errors import DataError
from lsa_onnx.rewrite.objectives import CLASS_KINDS, Kind
from lsa_trainer.objectives.rows import wide

Algorithm: TypeAlias = Literal["fgsm", "pgd", "fast", "trades", "apgd"]
# What only training climbs, see ``objectives.inner``: Σ_l CM_l, and all that is minimised.
LayerAim: TypeAlias = Literal["cm", "ce+cm"]
Aim: TypeAlias = Kind | LayerAim

STEPS = 10
LAYER_AIMS: tuple[LayerAim, ...] = get_args(LayerAim)
# Share of the way to a random point of the ball, from where ascent of a distance starts.
_NEARBY = 0.1
_WITHOUT_STEP_SIZE = ("fgsm", "apgd")


@dataclass(frozen=True, kw_only=True)
class TrainingAttack:
    """x̂ ← Attack(F, x, y) of Khalooei et al. 2023, Alg. 3.

    Attributes:
        kind: ``fgsm`` (Goodfellow et al. 2015), ``pgd`` (Madry et al. 2018), ``fast`` (Wong et al. 2020),
            ``trades`` (Zhang et al. 2019) or ``apgd`` (Croce & Hein 2020).
        eps: How far an input may move, in units of the declared range.
        norm: In which that is measured: "linf", "l2" or "l1".
        steps: Gradient steps of ``pgd``, ``trades`` and ``apgd``.
        step_size: In units of the declared range; ``None`` for 2.5 · eps / steps, and for 1.25 · eps with
            ``fast``. ``fgsm`` and ``apgd`` take none.
        low: Lower end of the declared range.
        high: Upper end.
        objective: What the oracle maximises; ``None`` for "kl" with ``trades`` and "ce" with all others.

    Raises:
        DataError: A parameter is not usable.
    """

    kind: Algorithm
    eps: float
    norm: Norm = "linf"
    steps: int = STEPS
    step_size: float | None = None
    low: float = 0.0
    high: float = 1.0
    objective: Aim | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Algorithm):
            raise unknown("training attack", self.kind, get_args(Algorithm))
        if self.norm not in BALLS:
            raise unknown("norm", self.norm, BALLS)
        check_eps(self.eps, self.norm, self.high - self.low)
        if self.steps < 1:
            raise DataError(f"{self.steps} steps of {self.kind!r} are not usable; give 1 or more")
        self._check_step_size()

    @property
    def aim(self) -> Aim:
        """The objective that the oracle should have."""
        return self.objective or ("kl" if self.kind == "trades" else "ce")

    @property
    def leaves_clean(self) -> bool:
        """Whether it leads away from the model's own answer for x, not from what that should be."""
        return self.aim == "kl" or (self.aim == "output" and self.kind == "trades")

    def __call__(
        self,
        oracle: Oracle,
        x: torch.Tensor,
        goal: Goal,
        numbers: Randomness,
        eps_scale: float = 1.0,
        shares: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Perturb a batch.

        Args:
            oracle: The model with the objective ``aim``.
            x: Clean inputs, shape (n, ...), within [low, high].
            goal: What the objective aims at.
            numbers: For random starts; new ones for each epoch.
            eps_scale: Of eps and of the step size, 0 or more: below 1 while training warms up.
            shares: Of that, the share that each sample has, shape (n,), 0 to 1; ``None`` for all of it.

        Returns:
            Perturbed inputs, shape and type of ``x``, detached, within [low, high]; ``x`` itself where
            nothing may move.

        Raises:
            DataError: The inputs are no floats, or ``eps_scale`` is no scale.
        """
        if not x.is_floating_point():
            raise DataError(
                f"training attack {self.kind!r} moves inputs by less than whole numbers, and they are "
                f"{x.dtype}; give float inputs"
            )
        if not (math.isfinite(eps_scale) and eps_scale >= 0):
            raise DataError(
                f"eps_scale {eps_scale:g} is not usable; give 0 or more, 1 for all of eps"
            )
        eps, clean = self.eps * eps_scale, x.detach()
        if eps == 0 or clean.numel() == 0:
            return clean
        ball = BALLS[self.norm](eps, self.low, self.high)
        with torch.no_grad():
            if shares is None:
                return self._search(oracle, clean, goal, ball, numbers)
            nearer = _Nearer(oracle, clean, ball, shares)
            return nearer.seen(self._search(nearer, clean, goal, ball, numbers))

    def _search(
        self, oracle: Oracle, x: torch.Tensor, goal: Goal, ball: Ball, numbers: Randomness
    ) -> torch.Tensor:
        given = (oracle, x, goal, ball)
        if self.kind == "fgsm":
            # Objectives that measure how far the answer moves have no gradient at x itself.
            nearby = None if self._sloped_at_clean else numbers
            return fgsm(*given, numbers=nearby)
        if self.kind == "fast":
            share = STEP_SHARE if self.step_size is None else self.step_size / self.eps
            return fast(*given, numbers=numbers, step_share=share)
        if self.kind == "apgd":
            return apgd(*given, numbers=numbers, steps=self.steps).x
        size = self._step(ball)
        if self.kind == "trades":
            return trades(*given, numbers=numbers, steps=self.steps, step_size=size)
        return _last_point(*given, self._start(x, ball, numbers), self.steps, size)

    def _start(self, x: torch.Tensor, ball: Ball, numbers: Randomness) -> torch.Tensor:
        """Where PGD starts from: a random point of the ball or, to climb a distance, one near ``x``."""
        if self.aim == "ce+cm":
            return x
        start = ball.random_start(x, numbers)
        if self._sloped_at_clean:
            return start
        # A distance has a valley: from beyond it, ascent would end on the side that is less far off.
        return ball.project(x + _NEARBY * (start - x), x)

    @property
    def _sloped_at_clean(self) -> bool:
        """Whether there is a way up from x itself."""
        return self.aim in CLASS_KINDS or self.aim == "ce+cm"

    def _step(self, ball: Ball) -> float:
        """The length of a step in ``ball``, in units of x."""
        if self.step_size is None:
            return default_step(ball.eps, self.steps)
        return self.step_size * ball.eps / self.eps

    def _check_step_size(self) -> None:
        size = self.step_size
        if size is None:
            return
        if self.kind in _WITHOUT_STEP_SIZE:
            raise DataError(
                f"step size {size:g} is of no use: {self.kind!r} sets its own; leave it out, or train "
                "with 'pgd', 'fast' or 'trades'"
            )
        if not (math.isfinite(size) and size > 0):
            raise DataError(f"step size {size:g} of {self.kind!r} is not usable; give more than 0")


@dataclass(frozen=True)
class _Nearer:
    """An oracle that sees x + s · (u − x) where it is asked about u, each sample with a share s of its own.

    So an attack on the ball of ε climbs what there is in that of s · ε, with steps and starts that shrink
    along. The range of inputs shrinks as well, which matters only to elements that are nearer to an end
    of it than ε, and not at that end: they go s times as far as they might.
    """

    oracle: Oracle
    x: torch.Tensor
    ball: Ball
    shares: torch.Tensor

    def __call__(self, x: torch.Tensor, y: Goal, *, gradient: bool = True) -> Answer:
        """See ``attacks.Oracle``."""
        said = self.oracle(self.seen(x), y, gradient=gradient)
        if said.gradient is None:
            return said
        return said._replace(gradient=self._share(said.gradient) * said.gradient)

    def seen(self, u: torch.Tensor) -> torch.Tensor:
        """The point x + s · (u − x), no farther from x than that after rounding."""
        moved = wide(u) - wide(self.x)
        near: torch.Tensor = displaced(self.x, self._share(moved) * moved)
        return near.clamp(self.ball.low, self.ball.high)

    def _share(self, like: torch.Tensor) -> torch.Tensor:
        return self.shares.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _last_point(
    oracle: Oracle,
    x: torch.Tensor,
    goal: Goal,
    ball: Ball,
    start: torch.Tensor,
    steps: int,
    step_size: float,
) -> torch.Tensor:
    """The last point of PGD, as Madry et al. 2018 train.

    An audit takes the worst of all points; to know that of the last one costs another forward pass.
    """
    # A queue of one: the points before it are given up as they go.
    ((last, _),) = deque(ascend(oracle, x, goal, ball, start, steps, step_size), maxlen=1)
    return last
