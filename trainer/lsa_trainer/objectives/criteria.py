"""What training minimises for one set of outputs: by classes, or by the outputs' values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch.nn import functional

from lsa_onnx.errors import DataError, ModelError
from lsa_trainer.objectives.rows import sample_rows, wide

Tensors: TypeAlias = Sequence[torch.Tensor]

# Below this log-odds of all other classes together, the probability of the first rounds to 1 in float32.
_SATURATED = math.log(2.0**-24)
# The standard deviation of logits that a temperature aims at.
_SPREAD = 5.0


class Criterion(Protocol):
    """Distances of outputs, each of shape (n, ...): as means, shape (), and of each sample, shape (n,)."""

    def fit(self, outputs: Tensors, y: torch.Tensor | Tensors) -> torch.Tensor:
        """How far ``outputs`` are from what they should be."""

    def drift(self, clean: Tensors, perturbed: Tensors) -> torch.Tensor:
        """How far the outputs for perturbed inputs are from those for clean ones."""

    def distances(self, outputs: Tensors, y: torch.Tensor | Tensors) -> torch.Tensor:
        """What ``fit`` is the mean of."""

    def drifts(self, clean: Tensors, perturbed: Tensors) -> torch.Tensor:
        """What ``drift`` is the mean of."""


@dataclass(frozen=True)
class ClassLoss:
    """Mean cross-entropy, and KL(p(x) ‖ p(x̂)), of the first output's logits, shape (n, classes).

    Attributes:
        label_smoothing: Share of the target that is spread over all classes, 0 to 1.
        temperature: Logits are divided by it, see ``logit_temperature``.
        lowest_wins: The smallest score decides, not the largest.

    Raises:
        DataError: The smoothing is no share, or the temperature is not above 0.
    """

    label_smoothing: float = 0.0
    temperature: float = 1.0
    lowest_wins: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise DataError(
                f"label smoothing {self.label_smoothing:g} is not a share; give 0 to 1, usually 0.1 or less"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise DataError(
                f"temperature {self.temperature:g} is not usable; give more than 0, 1 to leave logits alone"
            )

    def logits(self, outputs: Tensors) -> torch.Tensor:
        """What the loss sees: z / T, float32 or wider, shape (n, classes); the largest wins."""
        z = wide(outputs[0])
        z = sample_rows(z, len(z))
        divisor = -self.temperature if self.lowest_wins else self.temperature
        return z if divisor == 1 else z / divisor

    def fit(self, outputs: Tensors, y: torch.Tensor | Tensors) -> torch.Tensor:
        """Cross-entropy; ``y`` are class labels, shape (n,), int64."""
        z, smoothing = self.logits(outputs), self.label_smoothing
        return functional.cross_entropy(z, y, label_smoothing=smoothing)

    def drift(self, clean: Tensors, perturbed: Tensors) -> torch.Tensor:
        """KL(p(x) ‖ p(x̂)), the second term of TRADES (Zhang et al. 2019, Eq. 5)."""
        log_p, log_q = (self.logits(outputs).log_softmax(1) for outputs in (clean, perturbed))
        return functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)

    def distances(self, outputs: Tensors, y: torch.Tensor | Tensors) -> torch.Tensor:
        """See ``fit``."""
        z, smoothing = self.logits(outputs), self.label_smoothing
        return functional.cross_entropy(z, y, label_smoothing=smoothing, reduction="none")

    def drifts(self, clean: Tensors, perturbed: Tensors) -> torch.Tensor:
        """See ``drift``."""
        log_p, log_q = (self.logits(outputs).log_softmax(1) for outputs in (clean, perturbed))
        return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


@dataclass(frozen=True)
class OutputLoss:
    """Σ over outputs of the mean over samples of ‖f − target‖² / scale, for models without classes.

    Attributes:
        scales: One for each output, above 0. With those of ``variance_scale``, an output that is constant
            at the mean of the targets has a loss of 1.
    """

    scales: tuple[float, ...] = (1.0,)

    def rows(self, outputs: Tensors) -> torch.Tensor:
        """What the loss sees: all f / √scale, float32 or wider, shape (n, elements of all outputs).

        Numbers are divided before they are squared: those that scales are made for never overflow.
        """
        given = zip(outputs, self.scales, strict=True)
        scaled = [sample_rows(wide(f), len(f)) / math.sqrt(scale) for f, scale in given]
        return torch.cat(scaled, 1)

    def distances(self, outputs: Tensors, y: torch.Tensor | Tensors) -> torch.Tensor:
        """The loss of each sample, shape (n,); see ``fit``."""
        targets = [y] if isinstance(y, torch.Tensor) else y
        _require_same_sizes(outputs, targets)
        return (self.rows(outputs) - self.rows(targets)).square().sum(1)

    def fit(self, outputs: Tensors, y: torch.Tensor | Tensors) -> torch.Tensor:
        """Distance from targets: given ones, or what the original model says of clean inputs."""
        return self.distances(outputs, y).mean()

    def drift(self, clean: Tensors, perturbed: Tensors) -> torch.Tensor:
        """See ``Criterion.drift``."""
        return self.distances(perturbed, clean).mean()

    def drifts(self, clean: Tensors, perturbed: Tensors) -> torch.Tensor:
        """See ``Criterion.drifts``."""
        return self.distances(perturbed, clean)


def variance_scale(targets: torch.Tensor) -> float:
    """The mean squared distance of targets, shape (n, ...), from their mean; 1 where all are equal."""
    rows = sample_rows(targets.detach().cpu().double(), len(targets))
    spread = float((rows - rows.mean(0)).square().sum(1).mean())
    return spread if spread > 0 else 1.0


def logit_temperature(logits: torch.Tensor) -> float:
    """A temperature T under which softmax of z / T is not saturated.

    Where a model is so sure that the first class's probability rounds to 1 in float32, cross-entropy
    rounds to 0 for right answers and is in the thousands for wrong ones: neither can be trained with.

    Args:
        logits: Of clean samples, shape (n, classes); rows that are not finite are left out.

    Returns:
        1 unless more than half of the samples are saturated. Then the power of two that brings the
        standard deviation of a sample's logits, in the median, closest to 5, but not below 1: division by
        it rounds nothing, and class predictions stay exactly as they are.

    Raises:
        ModelError: No row is finite.
    """
    z = sample_rows(logits.detach().cpu().double(), len(logits))
    z = z[z.isfinite().all(1)]
    if not len(z):
        raise ModelError(
            f"none of {len(logits)} samples has finite logits; training needs a model whose outputs are "
            "numbers, and `lsa-onnx scan MODEL` shows where NaN or infinity begins"
        )
    top, place = z.max(1, keepdim=True)
    odds = z.scatter(1, place, -torch.inf).logsumexp(1) - top.squeeze(1)
    if float((odds < _SATURATED).double().mean()) <= 0.5:
        return 1.0
    spread = float(z.std(1, correction=0).median())
    return max(1.0, 2.0 ** round(math.log2(spread / _SPREAD)))


def _require_same_sizes(outputs: Tensors, targets: Tensors) -> None:
    for f, target in zip(outputs, targets, strict=True):
        if len(f) != len(target) or f[:1].numel() != target[:1].numel():
            raise DataError(
                f"targets have shape {tuple(target.shape)} and outputs {tuple(f.shape)}; both need the same "
                "number of values per sample"
            )
