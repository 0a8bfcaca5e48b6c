"""The base objectives J of adversarial training: where a loss is taken, at x, at x̂ or at both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_trainer.objectives.attacking import Algorithm
from lsa_trainer.objectives.criteria import Criterion, Tensors

if TYPE_CHECKING:
    import torch

BaseName: TypeAlias = Literal["standard", "at-fgsm", "at-pgd", "at-fast", "at-apgd", "at-trades"]

# Base → the attack that makes its x̂; ``None`` where J needs none.
BASES: dict[BaseName, Algorithm | None] = {
    "standard": None,
    "at-fgsm": "fgsm",
    "at-pgd": "pgd",
    "at-fast": "fast",
    "at-apgd": "apgd",
    "at-trades": "trades",
}
# As Zhang et al. 2019 train: 1 / λ of their paper.
BETA = 6.0


@dataclass(frozen=True)
class Base:
    """J(θ, x, x̂, y) of Khalooei et al. 2023, Alg. 3.

    ``standard`` is the criterion at x, ``at-trades`` that at x plus ``beta`` · the drift from x to x̂
    (Zhang et al. 2019), and the others are the criterion at x̂, or there and at x.

    Attributes:
        name: One of ``BASES``.
        criterion: The distance that is minimised.
        beta: Weight of the drift, 0 or more; for ``at-trades`` alone.
        clean_weight: Share W of the criterion at x, 0 to 1, 1 − W of that at x̂ (Goodfellow et al. 2015, with
            0.5); without effect on ``standard`` and ``at-trades``.

    Raises:
        DataError: There is no such base, or a weight is not usable.
    """

    name: BaseName
    criterion: Criterion
    beta: float = BETA
    clean_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in BASES:
            raise unknown("base", self.name, BASES)
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise DataError(f"beta {self.beta:g} of {self.name!r} is not usable; give 0 or more")
        if not 0 <= self.clean_weight <= 1:
            raise DataError(f"a clean weight of {self.clean_weight:g} is not a share; give 0 to 1")

    @property
    def needs_clean(self) -> bool:
        """Whether J needs the outputs for x."""
        return self.name in ("standard", "at-trades") or self.clean_weight > 0

    @property
    def needs_adversarial(self) -> bool:
        """Whether J needs the outputs for x̂."""
        return self.name != "standard"

    def __call__(
        self, clean: Tensors | None, adversarial: Tensors | None, y: torch.Tensor | Tensors
    ) -> torch.Tensor:
        """J, shape ().

        Args:
            clean: The model's outputs for x, shape (n, ...) each; ``None`` where J needs none.
            adversarial: Those for x̂, likewise.
            y: What the criterion fits to.
        """
        if self.name == "at-trades":
            drift = self.criterion.drift(_given(clean, "x"), _given(adversarial, "x̂"))
            return self.criterion.fit(_given(clean, "x"), y) + self.beta * drift
        if self.name == "standard":
            return self.criterion.fit(_given(clean, "x"), y)
        lost = self.criterion.fit(_given(adversarial, "x̂"), y)
        if not self.clean_weight:
            return lost
        kept = self.criterion.fit(_given(clean, "x"), y)
        return (1 - self.clean_weight) * lost + self.clean_weight * kept

    def of_perturbed(
        self, clean: Tensors | None, adversarial: Tensors, y: torch.Tensor | Tensors
    ) -> torch.Tensor:
        """The part of J that depends on x̂, of each sample, shape (n,); of ``standard``, J at x̂.

        Args:
            clean: The model's outputs for x, for ``at-trades``.
            adversarial: Those for x̂.
            y: What the criterion fits to.
        """
        if self.name == "at-trades":
            return self.beta * self.criterion.drifts(_given(clean, "x"), adversarial)
        return (1 - self.clean_weight) * self.criterion.distances(adversarial, y)


def _given(outputs: Tensors | None, what: str) -> Tensors:
    if outputs is None:
        raise ValueError(f"the base needs the outputs for {what}")
    return outputs
