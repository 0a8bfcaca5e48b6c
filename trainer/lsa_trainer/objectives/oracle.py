"""Loss, gradient and margin of a torch model, for the attacks of ``lsa_onnx.attacks``.

The formulas are those of ``lsa_onnx.rewrite.objectives``, number for number, so that an attack means the
same while training in torch as while auditing in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple, TypeAlias

import torch

from lsa_onnx.attacks import Answer, Goal
from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.objectives import CLASS_KINDS, Kind
from lsa_trainer.objectives.rows import sample_rows, wide

# Inputs, shape (n, ...) → logits, shape (n, classes), or the tensors that an objective watches.
Outputs: TypeAlias = Callable[[torch.Tensor], torch.Tensor | Sequence[torch.Tensor]]

_TINY = 1e-12


class _Judged(NamedTuple):
    """Loss and margin, shape (n,) each, and where their gradient starts.

    ``slope`` is the derivative of Σ loss by ``source``; ``None`` where ``source`` is that sum itself.
    """

    loss: torch.Tensor
    margin: torch.Tensor | None
    source: torch.Tensor
    slope: torch.Tensor | None


@dataclass(frozen=True)
class TorchOracle:
    """An ``attacks.Oracle`` on torch tensors.

    Only the input's gradient is computed, never that of a weight: ``grad`` of parameters stays as it is
    and no graph is kept. The model runs in the mode (training, evaluation, autocast) that it is in.

    Attributes:
        logits: Logits for inputs; for ``output`` and ``layer``, the tensor or tensors, shape (n, ...)
            each, whose change is measured.
        kind: What is maximised.
        lowest_wins: The smallest score decides, not the largest.
        targeted: Towards a class given as ``target``, not away from ``labels``.
    """

    logits: Outputs
    kind: Kind
    _: KW_ONLY
    lowest_wins: bool = False
    targeted: bool = False

    def __call__(self, x: torch.Tensor, y: Goal, *, gradient: bool = True) -> Answer:
        """See ``attacks.Oracle``.

        Args:
            x: Inputs, shape (n, ...).
            y: ``labels`` or ``target``, shape (n,), or the entries of ``references``.
            gradient: Whether to compute it.

        Returns:
            Detached tensors; loss and margin are float32 or wider.

        Raises:
            ModelError: The model has too few classes, or its answer does not depend on ``x``.
        """
        if not gradient:
            with torch.no_grad():
                said = self._judged(x, y)
            return Answer(said.loss, None, said.margin)
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            said = self._judged(point, y)
            slope = input_gradient(self.kind, said.source, point, said.slope)
        margin = None if said.margin is None else said.margin.detach()
        return Answer(said.loss.detach(), slope, margin)

    def references(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The goals from which ``kl``, ``output`` and ``layer`` measure changes.

        Args:
            x: Clean inputs, shape (n, ...).

        Returns:
            ``reference``, ``reference 1``, ...: a tensor's rows, shape (n, elements), detached.
        """
        with torch.no_grad():
            rows = self._rows(x)
        return {_reference(index): tensor for index, tensor in enumerate(rows)}

    def _judged(self, x: torch.Tensor, y: Goal) -> _Judged:
        rows = self._rows(x)
        if self.kind in CLASS_KINDS:
            return self._classes(rows[0], y["target" if self.targeted else "labels"])
        if self.kind == "kl":
            loss = _divergence(self._oriented(y["reference"]), self._oriented(rows[0]))
        else:
            changes = [_change(y[_reference(index)], now) for index, now in enumerate(rows)]
            loss = torch.stack(changes).sum(0)
        return _Judged(loss, None, loss.sum(), None)

    def _classes(self, rows: torch.Tensor, label: torch.Tensor) -> _Judged:
        self._check_classes(rows.shape[1])
        index = label.to(torch.int64).unsqueeze(1)
        away = -1 if self.targeted else 1
        if self.kind == "ce":
            loss, lead, slope = _logit_loss(self._oriented(rows.detach()), index)
            flips = self.targeted != self.lowest_wins
            slope = (-slope if flips else slope).to(rows.dtype)
            return _Judged(away * loss, -away * lead, rows, slope)
        z = self._oriented(rows)
        lead = _lead(z, index)
        loss = lead if self.kind == "margin" else lead / (_width(z, self.targeted) + _TINY)
        return _Judged(away * loss, -away * lead, loss.sum() * away, None)

    def _check_classes(self, count: int) -> None:
        least = (4 if self.targeted else 3) if self.kind == "dlr" else 2
        if count < least:
            instead = "margin" if count > 1 else "output"
            raise ModelError(
                f"objective {self.kind!r} needs {least} classes or more, and the model has {count}; "
                f"use {instead!r}"
            )

    def _rows(self, x: torch.Tensor) -> list[torch.Tensor]:
        given = self.logits(x)
        tensors = [given] if isinstance(given, torch.Tensor) else given
        return [sample_rows(tensor, len(x)) for tensor in tensors]

    def _oriented(self, logits: torch.Tensor) -> torch.Tensor:
        return -wide(logits) if self.lowest_wins else wide(logits)


def input_gradient(
    kind: str, source: torch.Tensor, point: torch.Tensor, slope: torch.Tensor | None = None
) -> torch.Tensor:
    """The gradient by ``point``.

    Args:
        kind: What the objective is called.
        source: The sum of all losses, or what they follow from.
        point: Inputs.
        slope: Its derivative by ``source``, where that is not the sum itself.

    Raises:
        ModelError: ``source`` does not depend on ``point``.
    """
    gradient = None
    if source.requires_grad:
        (gradient,) = torch.autograd.grad(source, point, slope, allow_unused=True)
    if gradient is None:
        raise ModelError(
            f"objective {kind!r} has no gradient: no path leads from the model's answer back "
            "to its input in torch; train with base 'standard', which needs no attack"
        )
    return gradient


def _reference(index: int) -> str:
    return f"reference {index}" if index else "reference"


def _logit_loss(
    z: torch.Tensor, index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """L = log Σ_j exp z_j − z_y over the other classes j, the lead, and dL / dz.

    This is what nearly every training step asks, dozens of times: by hand it takes a third of the time
    that autograd takes for it. With top = max_j z_j, L is the lead top − z_y plus log Σ_j exp(z_j − top).

    Args:
        z: Logits without a graph, shape (n, classes).
        index: The labels y, shape (n, 1).
    """
    lead = _lead(z, index)
    log_q = z.scatter(1, index, -torch.inf).log_softmax(1)
    # Log-softmax of the top is the negative of that sum's logarithm.
    loss = lead - log_q.amax(1)
    return loss, lead, log_q.exp_().scatter_(1, index, -1.0)


def _lead(z: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """max_j z_j − z_y over the other classes j, shape (n,) (Carlini & Wagner 2017)."""
    return z.scatter(1, index, -torch.inf).amax(1) - z.gather(1, index).squeeze(1)


def _width(z: torch.Tensor, targeted: bool) -> torch.Tensor:
    """What DLR divides by, shape (n,): z_(1) − z_(3) (Croce & Hein 2020, Eq. 6).

    Towards a target it is z_(1) − (z_(3) + z_(4)) / 2 (Eq. 7).
    """
    top = z.topk(4 if targeted else 3, dim=1).values
    third = (top[:, 2] + top[:, 3]) * 0.5 if targeted else top[:, 2]
    return top[:, 0] - third


def _divergence(reference: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """KL(softmax reference ‖ softmax z), shape (n,), of logits (n, classes)."""
    log_p, log_q = reference.log_softmax(1), z.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _change(reference: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    """‖φ − r‖² / ‖r‖², shape (n,), of rows (n, elements); ‖φ‖² where r is 0."""
    clean = wide(reference)
    size = clean.square().sum(1)
    unit = torch.where(size > 0, size, 1.0)
    return (wide(now) - clean).square().sum(1) / unit
