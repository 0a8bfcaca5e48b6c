"""The Hessian of J by the weights, as something to multiply vectors with; x̂ is fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lsa_trainer.landscape.points import Observer
from lsa_trainer.training.randomness import counter_normal

_STREAM = 50
# Of the norm of all weights, for differences of gradients: about the cube root of what float32 rounds.
_SHARE = 5e-3


@dataclass(frozen=True)
class Hessian:
    """H v, by differentiating twice or by central differences of gradients.

    Vectors hold all weights that train, in the order of the job's parameters, shape (m,), float64.

    Attributes:
        observer: Of the model, whose parameters need gradients.
        x_adv: x̂ of each of its pieces.
    """

    observer: Observer
    x_adv: Sequence[Tensor]

    def start(self) -> Tensor:
        """A random vector."""
        size = sum(p.numel() for p in self._parameters)
        place = torch.zeros(1, dtype=torch.int64, device=self._parameters[0].device)
        seed = self.observer.seed
        found: Tensor = counter_normal(seed, _STREAM, place, (size,), dtype=torch.float64)[0]
        return found

    @cached_property
    def differentiable(self) -> bool:
        """Whether torch can differentiate J twice."""
        try:
            self._twice(self.start())
        except RuntimeError:  # "not implemented" is one, for operators without a second derivative
            return False
        return True

    def product(self, v: Tensor) -> Tensor:
        """H v."""
        return self._twice(v) if self.differentiable else self._differences(v)

    @cached_property
    def _parameters(self) -> list[torch.nn.Parameter]:
        return list(self.observer.job.parameters.values())

    def _twice(self, v: Tensor) -> Tensor:
        parts = self._parts(v)

        def product(loss: Tensor) -> Sequence[Tensor | None]:
            slopes = self._slopes(loss, create_graph=True)
            pairs = [(g, p) for g, p in zip(slopes, parts, strict=True) if g is not None]
            along = torch.stack([(g * p).sum().double() for g, p in pairs]).sum()
            # Of a loss that is linear in the weights, nothing is left to differentiate.
            return self._slopes(along) if along.requires_grad else [None] * len(parts)

        return self._mean(product)

    def _differences(self, v: Tensor) -> Tensor:
        origin = [p.detach().clone() for p in self._parameters]
        size = torch.cat([p.double().flatten() for p in origin]).norm()
        step = float(_SHARE * size / v.norm()) or _SHARE
        try:
            ahead, behind = (self._gradient_at(origin, v, way * step) for way in (1, -1))
        finally:
            self._set(origin)
        return (ahead - behind) / (2 * step)

    def _gradient_at(self, origin: Sequence[Tensor], v: Tensor, step: float) -> Tensor:
        self._set([p + step * part for p, part in zip(origin, self._parts(v), strict=True)])
        return self._mean(self._slopes)

    def _set(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.data.copy_(value)

    def _slopes(self, of: Tensor, *, create_graph: bool = False) -> Sequence[Tensor | None]:
        found: Sequence[Tensor | None] = torch.autograd.grad(
            of, self._parameters, create_graph=create_graph, allow_unused=True
        )
        return found

    def _mean(self, of: Callable[[Tensor], Sequence[Tensor | None]]) -> Tensor:
        """The mean over samples of what is derived from J of each piece."""
        observer, total = self.observer, torch.zeros((), dtype=torch.float64)
        for piece, x_adv in zip(observer.pieces, self.x_adv, strict=True):
            share = len(piece.part) / observer.samples
            with torch.enable_grad():
                found = of(observer.base(piece, x_adv))
            total = total + share * self._vector(found)
        return total

    def _vector(self, parts: Sequence[Tensor | None]) -> Tensor:
        filled = [
            torch.zeros_like(p) if part is None else part
            for p, part in zip(self._parameters, parts, strict=True)
        ]
        return torch.cat([part.detach().double().flatten() for part in filled])

    def _parts(self, v: Tensor) -> list[Tensor]:
        """A vector in the shapes and types of the parameters."""
        sizes = [p.numel() for p in self._parameters]
        pieces = zip(self._parameters, v.split(sizes), strict=True)
        return [piece.reshape(p.shape).to(p.dtype) for p, piece in pieces]
