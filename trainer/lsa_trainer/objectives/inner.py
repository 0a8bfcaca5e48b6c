"""What training attacks can climb beside the loss of an answer: the layers, or all that a step minimises.

Alg. 3 of Khalooei et al. 2023 finds x̂ by J alone and then minimises J + LR there. Two more objectives, both to
be maximised, look for the x̂ that the sum is about:

* ``cm``: Σ_l CM_l over the regularised layers, the comparison measure that LR holds down;
* ``ce+cm``: J(θ, x, x̂, y) + Σ_l γ_l · CM_l, number for number what the step minimises, as far as it depends on
  x̂: of TRADES, J is β times the drift. The base ``standard`` has no loss at x̂, and that of the others is taken.

CM has no slope at x: for ``cm``, FGSM and PGD start nearby, as for ``kl``. However near that is, CM is as steep
there as anywhere, away from x on whichever side. So for ``ce+cm`` they start at x itself, where J alone chooses
the side (for three small networks, that gave the highest sum in each case, up to 6 % above a start nearby or at
random); FGSM, which has but that step, finds the x̂ of ``ce``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lsa_onnx.attacks import Answer, Goal
from lsa_trainer.objectives.bases import Base
from lsa_trainer.objectives.oracle import input_gradient
from lsa_trainer.objectives.regulariser import LayerRegulariser
from lsa_trainer.objectives.rows import sample_rows
from lsa_trainer.objectives.step import Module

# What the entries of a goal are called, before the name of a layer or the number of an output.
_LAYER, _CLEAN, _TARGET = "layer ", "clean ", "target "


@dataclass(frozen=True)
class InnerOracle:
    """An ``attacks.Oracle`` of LR, or of J + LR; see the module.

    As with ``TorchOracle``, only the input's gradient is computed. There is no margin: points are told apart by
    their loss alone.

    Attributes:
        module: The model; it gives the layers, and the outputs that J reads.
        term: LR.
        base: J; ``None`` for LR alone.
        outputs: The tensors that J reads.
    """

    module: Module
    term: LayerRegulariser
    base: Base | None = None
    outputs: tuple[str, ...] = ()

    def goal(self, x: torch.Tensor, y: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """What an attack leads away from: costs one pass.

        Args:
            x: Clean inputs, shape (n, ...).
            y: Labels, or a target for each output.

        Returns:
            Rows of the layers and outputs for x, and the targets; shape (n, ...) each, detached.
        """
        with torch.no_grad():
            clean = self.module(x)
        rows = {_LAYER + name: row for name, row in self.term.rows(clean, len(x)).items()}
        if self.base is None:
            return rows
        outputs = [sample_rows(clean[name], len(x)) for name in self.outputs]
        return rows | _numbered(_CLEAN, outputs) | _numbered(_TARGET, y)

    def __call__(self, x: torch.Tensor, y: Goal, *, gradient: bool = True) -> Answer:
        """See ``attacks.Oracle``.

        Args:
            x: Inputs, shape (n, ...).
            y: What ``goal`` gave.
            gradient: Whether to compute it.

        Raises:
            ModelError: What is climbed does not depend on ``x``.
        """
        if not gradient:
            with torch.no_grad():
                return Answer(self._loss(x, y), None, None)
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            loss = self._loss(point, y)
            kind = "cm" if self.base is None else "ce+cm"
            slope = input_gradient(kind, loss.sum(), point)
        return Answer(loss.detach(), slope, None)

    def _loss(self, x: torch.Tensor, y: Goal) -> torch.Tensor:
        """Shape (n,)."""
        values = self.module(x)
        layers = {name: y[_LAYER + name] for name in self.term.gammas}
        term = self.term.each(layers, values, len(x))
        if self.base is None:
            return term
        clean, targets = (_listed(y, kind) for kind in (_CLEAN, _TARGET))
        now = [values[name] for name in self.outputs]
        given = targets if len(targets) > 1 else targets[0]
        return self.base.of_perturbed(clean, now, given) + term


def _numbered(kind: str, tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{kind}{index}": tensor for index, tensor in enumerate(tensors)}


def _listed(goal: Goal, kind: str) -> list[torch.Tensor]:
    """The tensors that ``_numbered`` numbered."""
    return [goal[f"{kind}{i}"] for i in range(len(goal)) if f"{kind}{i}" in goal]
