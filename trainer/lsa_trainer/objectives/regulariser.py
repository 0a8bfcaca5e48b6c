"""The layer-wise term LR of AT-LR, and the comparison measure as something to differentiate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        total: Σ_l γ_l · CM_l, shape ().
        cms: Layer → CM_l, the mean over samples, shape (), detached.
    """

    total: torch.Tensor
    cms: dict[str, torch.Tensor]


@dataclass(frozen=True)
class LayerRegulariser:
    """LR(θ, x, x̂) = Σ_l γ_l · mean over samples of CM_l (Khalooei et al. 2023, Alg. 3).

    Attributes:
        gammas: Layer, by the ONNX name of its tensor → γ_l; see ``gammas``.
        batch_axes: Layer → the axis that counts samples, ``None`` where the tensor belongs to one sample;
            0 for layers that are not named.
        detach_clean: Take φ(x) as a constant, so that φ(x̂) is drawn to it. By default gradient flows
            through both, as in the paper, and the two meet halfway.
    """

    gammas: Mapping[str, float]
    batch_axes: Mapping[str, int | None] = field(default_factory=dict)
    detach_clean: bool = False

    def __call__(self, clean: Values, perturbed: Values, samples: int) -> Regularisation:
        """LR of a batch.

        Args:
            clean: Tensors for x, by ONNX name; others than the layers' are ignored.
            perturbed: Tensors for x̂, likewise.
            samples: Samples in the batch, n.
        """
        means = {name: self._mean(name, clean, perturbed, samples) for name in self.gammas}
        terms = [gamma * means[name] for name, gamma in self.gammas.items()]
        return Regularisation(torch.stack(terms).sum(), {n: m.detach() for n, m in means.items()})

    def axis(self, name: str) -> int | None:
        """The axis of a layer's tensor that counts samples."""
        return self.batch_axes.get(name, 0)

    def _mean(self, name: str, clean: Values, perturbed: Values, samples: int) -> torch.Tensor:
        a, b = clean[name], perturbed[name]
        if self.detach_clean:
            a = a.detach()
        return comparison_measure(a, b, self.axis(name), samples=samples).mean()
