"""The losses of one training step, with no forward pass more than they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch

from lsa_trainer.objectives.bases import Base
from lsa_trainer.objectives.regulariser import LayerRegulariser, Regularisation

# Inputs, shape (n, ...) → tensors by their ONNX names.
Module: TypeAlias = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]
_Values: TypeAlias = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What is minimised: J(θ, x, x̂, y) + LR(θ, x, x̂) (Khalooei et al. 2023, Alg. 3).

    Attributes:
        base: J.
        outputs: The tensors that J reads, in the order its criterion wants; for classes, the logits.
        regulariser: LR; ``None`` to train with J alone.
        exact_batching: Whether the model answers a sample the same whatever else is in the batch, so that
            x and x̂ may share one pass. Not so while BatchNormalization takes statistics of the batch, nor
            for models of a fixed batch.
    """

    base: Base
    outputs: tuple[str, ...]
    regulariser: LayerRegulariser | None = None
    exact_batching: bool = False

    @property
    def regularised(self) -> LayerRegulariser | None:
        """The regulariser, if it has a layer to work on."""
        return self.regulariser if self.regulariser and self.regulariser.gammas else None

    @property
    def needs_clean(self) -> bool:
        """Whether a step needs a pass with x."""
        return self.base.needs_clean or self.regularised is not None

    @property
    def needs_adversarial(self) -> bool:
        """Whether a step needs x̂."""
        return self.base.needs_adversarial or self.regularised is not None

    def scaled(self, factor: float) -> StepSpec:
        """The same with every γ times ``factor``."""
        if factor == 1 or self.regulariser is None:
            return self
        return replace(self, regulariser=self.regulariser.scaled(factor))


class Losses(NamedTuple):
    """The losses of one batch; what is not to be differentiated is detached.

    Attributes:
        total: J + LR, shape (): call ``backward`` on it.
        base: J, shape (), detached.
        regulariser: LR, shape (), detached; ``None`` without.
        cms: Layer → CM_l, the mean over samples, shape (), detached.
        terms: Layer → what γ_l weighs, see ``Regularisation``.
        clean: The first output for x, shape (n, ...), detached; ``None`` where J has no use for it.
        adversarial: That for x̂, likewise.
    """

    total: torch.Tensor
    base: torch.Tensor
    regulariser: torch.Tensor | None
    cms: dict[str, torch.Tensor]
    terms: dict[str, torch.Tensor]
    clean: torch.Tensor | None
    adversarial: torch.Tensor | None


def losses(
    module: Module,
    x: torch.Tensor,
    x_adv: torch.Tensor | None,
    y: torch.Tensor | Sequence[torch.Tensor],
    spec: StepSpec,
    layers_alone: Module | None = None,
) -> Losses:
    """J and LR of one batch.

    Args:
        module: The model; it gives the outputs and the regularised layers.
        x: Clean inputs, shape (n, ...).
        x_adv: x̂, of the same shape; ``None`` where the objective needs none.
        y: What J fits to: labels, or a target for each output.
        spec: The objective.
        layers_alone: The model up to the regularised layers: what is behind them is not computed for x
            where J has no use for it.
    """
    if spec.needs_adversarial and x_adv is None:
        raise ValueError("the objective needs perturbed inputs (x_adv: None)")
    clean, adversarial = _passes(module, layers_alone or module, x, x_adv, spec)
    outputs = _outputs(clean, spec) if spec.base.needs_clean else None
    base = spec.base(outputs, _outputs(adversarial, spec), y)
    term = _regularisation(clean, adversarial, len(x), spec)
    return Losses(
        total=base if term is None else base + term.total,
        base=base.detach(),
        regulariser=None if term is None else term.total.detach(),
        cms={} if term is None else term.cms,
        terms={} if term is None else term.terms,
        clean=_first(clean, spec) if spec.base.needs_clean else None,
        adversarial=_first(adversarial, spec),
    )


def _passes(
    module: Module,
    layers_alone: Module,
    x: torch.Tensor,
    x_adv: torch.Tensor | None,
    spec: StepSpec,
) -> tuple[_Values | None, _Values | None]:
    """What the model says of x and of x̂, as far as it matters."""
    if x_adv is None or not spec.needs_adversarial:
        return module(x), None
    if not spec.needs_clean:
        return None, module(x_adv)
    if not spec.base.needs_clean:
        # Where φ(x) is a constant, its pass leaves nothing behind.
        constant = spec.regularised is not None and spec.regularised.detach_clean
        with torch.set_grad_enabled(not constant and torch.is_grad_enabled()):
            clean = layers_alone(x)
        return clean, module(x_adv)
    if spec.exact_batching:
        return _halves(module(torch.cat([x, x_adv])), spec)
    return module(x), module(x_adv)


def _halves(values: _Values, spec: StepSpec) -> tuple[_Values, _Values]:
    """The tensors of a batch [x; x̂], apart."""
    axes: dict[str, int | None] = dict.fromkeys(spec.outputs, 0)
    if spec.regularised is not None:
        axes |= {name: spec.regularised.axis(name) for name in spec.regularised.gammas}
    pairs = {name: values[name].tensor_split(2, dim=axis) for name, axis in axes.items()}
    return {n: pair[0] for n, pair in pairs.items()}, {n: pair[1] for n, pair in pairs.items()}


def _regularisation(
    clean: _Values | None, adversarial: _Values | None, samples: int, spec: StepSpec
) -> Regularisation | None:
    if spec.regularised is None or clean is None or adversarial is None:
        return None
    return spec.regularised(clean, adversarial, samples)


def _outputs(values: _Values | None, spec: StepSpec) -> list[torch.Tensor] | None:
    return None if values is None else [values[name] for name in spec.outputs]


def _first(values: _Values | None, spec: StepSpec) -> torch.Tensor | None:
    return None if values is None else values[spec.outputs[0]].detach()
