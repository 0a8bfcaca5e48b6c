"""The layer-wise term LR of AT-LR, and the comparison measure as something to differentiate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from lsa_onnx.measures import NEAR_ZERO_RMS
from lsa_trainer.objectives.rows import sample_rows, wide

# Tensors by their ONNX names.
Values = Mapping[str, torch.Tensor]


def comparison_measure(
    clean: torch.Tensor,
    perturbed: torch.Tensor,
    batch_axis: int | None = 0,
    *,
    samples: int | None = None,
) -> torch.Tensor:
    """CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖ of each sample, shape (n,), in the Frobenius norm.

    It can be differentiated everywhere: where nothing moved, the gradient is 0 (a subgradient). A sample
    whose clean representation is near zero, in the sense of ``lsa_onnx.measures``, has no CM: it gives
    0 and no gradient; NaN stays NaN. Computed in float32 or wider.

    Args:
        clean: φ(x).
        perturbed: φ(x̂), of the same shape.
        batch_axis: The axis that counts samples; ``None`` where the tensor belongs to one sample.
        samples: How many there are, where several entries of the batch axis belong to one.
    """
    if samples is None:
        samples = 1 if batch_axis is None else clean.shape[batch_axis]
    a, b = (wide(sample_rows(x, samples, batch_axis)) for x in (clean, perturbed))
    size, moved = (torch.linalg.vector_norm(rows, dim=1) for rows in (a, b - a))
    blank = size <= NEAR_ZERO_RMS * a.shape[1] ** 0.5
    # Masked twice: a quotient by 0 would put NaN into the gradient even of what is left out.
    ratio = moved / torch.where(blank, 1.0, size)
    return torch.where(blank, 0.0, ratio)


class Regularisation(NamedTuple):
    """What LR is for a batch.

    Attributes:
        total: Σ_l γ_l · CM_l, shape (); with a power of 2, of the squares.
        cms: Layer → CM_l, the mean over samples, shape (), detached.
        terms: Layer → what γ_l weighs: CM_l, or with a power of 2 the mean square; likewise.
    """

    total: torch.Tensor
    cms: dict[str, torch.Tensor]
    terms: dict[str, torch.Tensor]


@dataclass(frozen=True)
class LayerRegulariser:
    """LR(θ, x, x̂) = Σ_l γ_l · mean over samples of CM_l ^ power (Khalooei et al. 2023, Alg. 3: power 1).

    Attributes:
        gammas: Layer, by the ONNX name of its tensor → γ_l; see ``gammas``.
        batch_axes: Layer → the axis that counts samples, ``None`` where the tensor belongs to one sample;
            0 for layers that are not named.
        detach_clean: Take φ(x) as a constant, so that φ(x̂) is drawn to it. By default gradient flows
            through both, as in the paper, and the two meet halfway.
        power: 1, or 2 for the square: the pull on a layer fades as it comes to rest.
    """

    gammas: Mapping[str, float]
    batch_axes: Mapping[str, int | None] = field(default_factory=dict)
    detach_clean: bool = False
    power: int = 1

    def __call__(self, clean: Values, perturbed: Values, samples: int) -> Regularisation:
        """LR of a batch.

        Args:
            clean: Tensors for x, by ONNX name; others than the layers' are ignored.
            perturbed: Tensors for x̂, likewise.
            samples: Samples in the batch, n.
        """
        cms = {name: self._cm(name, clean, perturbed, samples) for name in self.gammas}
        means = {name: self._raised(cm).mean() for name, cm in cms.items()}
        weighed = [gamma * means[name] for name, gamma in self.gammas.items()]
        return Regularisation(
            torch.stack(weighed).sum(),
            {name: cm.detach().mean() for name, cm in cms.items()},
            {name: mean.detach() for name, mean in means.items()},
        )

    def each(
        self, clean: Mapping[str, torch.Tensor], perturbed: Values, samples: int
    ) -> torch.Tensor:
        """LR of each sample, shape (n,).

        Args:
            clean: What ``rows`` gives for x.
            perturbed: Tensors for x̂, by ONNX name.
            samples: Samples in the batch, n.
        """
        now = self.rows(perturbed, samples)
        cms = {name: comparison_measure(clean[name], now[name]) for name in self.gammas}
        terms = [gamma * self._raised(cms[name]) for name, gamma in self.gammas.items()]
        return torch.stack(terms).sum(0)

    def rows(self, values: Values, samples: int) -> dict[str, torch.Tensor]:
        """The layers' tensors with one row per sample, shape (n, elements)."""
        return {n: sample_rows(values[n], samples, self.axis(n)) for n in self.gammas}

    def scaled(self, factor: float) -> LayerRegulariser:
        """The same with every γ_l times ``factor``."""
        return replace(self, gammas={name: gamma * factor for name, gamma in self.gammas.items()})

    def measure(self) -> LayerRegulariser:
        """Σ_l CM_l of the same layers: each with a weight of 1, and not squared."""
        return replace(self, gammas=dict.fromkeys(self.gammas, 1.0), power=1)

    def axis(self, name: str) -> int | None:
        """The axis of a layer's tensor that counts samples."""
        return self.batch_axes.get(name, 0)

    def _raised(self, cm: torch.Tensor) -> torch.Tensor:
        return cm if self.power == 1 else cm.square()

    def _cm(self, name: str, clean: Values, perturbed: Values, samples: int) -> torch.Tensor:
        a, b = clean[name], perturbed[name]
        if self.detach_clean:
            a = a.detach()
        return comparison_measure(a, b, self.axis(name), samples=samples)
