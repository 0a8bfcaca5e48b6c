"""What all attacks have in common as values: parameters, their checks, and the promise kept."""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lsa_onnx.attacks.balls import BALLS, Ball, Norm
from lsa_onnx.attacks.base import Array, Batch, Perturbation
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.attacks.oracle import Oracle
from lsa_onnx.attacks.randomness import ATTACK_STREAM, Randomness, SampleRandomness
from lsa_onnx.errors import DataError

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
# Objectives that aim at another class; all others compare with the clean answer.
CLASS_OBJECTIVES = frozenset({"ce", "margin", "dlr"})
_ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
# What summing many small differences may be off by.
_SLACK = 1e-5


@dataclass(frozen=True, kw_only=True)
class Attack(Perturbation):
    """A search for the worst input within a distance of the clean one. Subclasses write ``search``.

    Attributes:
        eps: The distance, in units of the declared range.
        norm: In which it is measured: "linf", "l2" or "l1".
        seed: Of the random numbers, 0 to 2³² − 1.
        objective: What is maximised, see ``Batch.oracles``; ``None`` for the attack's own.
        name: What the report calls it; ``algorithm`` by default.

    Raises:
        DataError: A parameter is not usable, or the norm is not one of ``norms``.
    """

    eps: float
    norm: Norm = "linf"
    seed: int = 0
    objective: str | None = None
    name: str = ""

    kind = "attack"
    algorithm: ClassVar[str]
    norms: ClassVar[tuple[Norm, ...]] = NORMS
    needs_gradient: ClassVar[bool] = True
    # Whether a sample that it breaks counts as broken at every larger eps as well, without another
    # attempt. Single attacks are tried anew at each, as published curves are.
    cumulative: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.algorithm)
        if not (np.isfinite(self.eps) and self.eps >= 0):
            raise DataError(f"eps {self.eps:g} of {self.name!r} is not a distance; give 0 or more")
        if self.norm not in BALLS:
            raise unknown("norm", self.norm, BALLS)
        if self.norm not in self.norms:
            raise DataError(
                f"attack {self.name!r} does not work in the {self.norm} norm; it takes "
                f"{' and '.join(self.norms)}, and 'pgd' and 'apgd' take {', '.join(NORMS)}"
            )
        for count in ("steps", "restarts", "queries"):
            if getattr(self, count, 1) < 1:
                raise DataError(
                    f"{getattr(self, count)} {count} of {self.name!r} are not usable; give 1 or more"
                )

    @abc.abstractmethod
    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        """The perturbed inputs, shape of ``batch.x``."""

    def run(self, batch: Batch) -> Array:
        """See ``Perturbation.run``.

        Raises:
            DataError: The inputs are no floats, or the batch lacks what the attack needs.
        """
        if batch.x.dtype.kind != "f":
            raise DataError(
                f"attack {self.name!r} moves inputs by less than whole numbers, and they are "
                f"{batch.x.dtype}; give float inputs"
            )
        if batch.x.size == 0:
            return batch.x
        ball = BALLS[self.norm](self.eps, batch.low, batch.high)
        numbers = SampleRandomness(self.seed, ATTACK_STREAM, batch.positions)
        return self.search(batch, ball, numbers)

    def oracle(self, batch: Batch, objective: str | None = None) -> Oracle:
        """The model under ``objective``; by default the attack's own, then that of the scan.

        Raises:
            DataError: There is none.
        """
        if batch.oracles is None:
            instead = "'square' and the noises work" if self.needs_gradient else "the noises work"
            wanted = "gradients" if self.needs_gradient else "answers"
            raise DataError(
                f"attack {self.name!r} needs {wanted} of the model, and it offers none "
                f"(oracles: None); {instead} without"
            )
        return batch.oracles(objective or self.objective)

    def aims_away_from_x(self, batch: Batch) -> bool:
        """Whether the objective measures how far the answer moves from the clean one."""
        if self.objective is None:
            return batch.labels is None
        return self.objective not in CLASS_OBJECTIVES

    def objectives(self, *, labelled: bool) -> tuple[str | None, ...]:  # noqa: ARG002 - some ask for others
        """The objectives it asks for, see ``Batch.oracles``, on samples with or without labels."""
        return (self.objective,)

    def parameters(self) -> dict[str, Any]:
        """See ``Perturbation.parameters``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["name"]
        return {"algorithm": self.algorithm, **values}

    def at(self, eps: float) -> Attack:
        """The same attack at another distance, in units of the declared range; its name says so."""
        base = self.name.partition("=")[0]
        return dataclasses.replace(self, eps=eps, name=f"{base}={eps:.6g}")

    def verify(self, batch: Batch, result: Array) -> None:
        """See ``Perturbation.verify``: no sample moved farther than eps."""
        tiny = float(np.finfo(batch.x.dtype).tiny)
        # One sample at a time, so that the doubles stay small beside the batch.
        for index, (clean, perturbed) in enumerate(zip(batch.x, result, strict=True)):
            delta = (perturbed.astype(np.float64) - clean).ravel()
            moved = np.linalg.norm(delta, _ORDERS[self.norm]) if delta.size else 0.0
            if moved > self.eps * (1 + _SLACK) + tiny:
                raise DataError(
                    f"attack {self.name!r} moved sample {batch.positions[index]} by {moved:.9g} in the "
                    f"{self.norm} norm, beyond eps {self.eps:g}; its results cannot be used, please "
                    "report this defect"
                )
