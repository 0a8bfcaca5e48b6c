"""A plane through the weights of a model, spanned by two filter-normalised random directions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lsa_onnx.errors import ModelError
from lsa_trainer.landscape.filters import OUTSIDE, Ids, filters_of
from lsa_trainer.module import OnnxModule
from lsa_trainer.trainee import Job
from lsa_trainer.training.randomness import counter_normal
from lsa_trainer.translation import in_dialect

if TYPE_CHECKING:
    import onnx

_STREAM = 48

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Plane:
    """θ + a · d₁ + b · d₂, for the weights of a model that have filters.

    Directions are not made orthogonal, as in Li et al. 2018, whose code this follows: of as many dimensions
    as a network has weights, two random ones nearly are.

    Attributes:
        parameters: The weights that move, by name.
        origin: θ: copies of their values.
        directions: d₁ and d₂, by the same names.
    """

    parameters: Mapping[str, torch.nn.Parameter]
    origin: Weights
    directions: tuple[Weights, Weights]

    @property
    def cosine(self) -> float:
        """Of the angle between d₁ and d₂, −1 to 1; 1 where they span no plane."""
        one, other = self.directions
        sizes = _dot(one, one) * _dot(other, other)
        return _dot(one, other) / sizes**0.5 if sizes > 0 else 1.0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No parameter needs a gradient inside the block; after it θ is what it was, bit by bit."""
        try:
            with frozen(self.parameters):
                yield
        finally:
            for name, parameter in self.parameters.items():
                parameter.data.copy_(self.origin[name])

    def move(self, a: float, b: float) -> None:
        """Give the model the weights of a point; to be called while the plane is ``held``."""
        for name, parameter in self.parameters.items():
            along = a * self.directions[0][name] + b * self.directions[1][name]
            parameter.data.copy_(self.origin[name] + along)


def plane_of(module: OnnxModule, job: Job, proto: onnx.ModelProto, seed: int) -> Plane:
    """Draw the plane of a model.

    Raw directions follow from ``seed``, from the place of a weight among those that have filters, and from its
    shape alone: models of one architecture get the same.

    Args:
        module: The model.
        job: What of it trains.
        proto: The graph that the module was made of.
        seed: Any integer.

    Raises:
        ModelError: No weight has filters.
    """
    weights = [w for w in module.constants.weights if w.name in job.parameters]
    filters = filters_of(in_dialect(proto), weights)
    if not filters:
        listed = ", ".join(repr(w.name) for w in weights[:4]) or "none at all"
        raise ModelError(
            f"no weight that trains has filters (it is no kernel, matrix or table); they are {listed}, and a "
            "plane in weight space needs some: use --space input"
        )
    parameters = {name: job.parameters[name] for name in filters}
    return Plane(
        parameters=parameters,
        origin={name: p.detach().clone() for name, p in parameters.items()},
        directions=(
            _direction(parameters, filters, seed, 0),
            _direction(parameters, filters, seed, 1),
        ),
    )


def normalised(raw: Tensor, weight: Tensor, filters: Ids) -> Tensor:
    """d_f ← d_f / ‖d_f‖ · ‖θ_f‖ for each filter f; 0 outside of filters (Li et al. 2018, Sec. 4).

    Args:
        raw: A random direction, shape of the weight.
        weight: θ.
        filters: See ``filters_of``.

    Returns:
        The direction, in the type and on the device of the weight.
    """
    ids = torch.from_numpy(filters).to(weight.device).flatten()
    given = torch.where(ids == OUTSIDE, 0.0, raw.to(weight.device).double().flatten())
    places = ids.clamp(min=0)
    sizes = [
        torch.zeros(int(ids.max()) + 1, dtype=torch.float64, device=weight.device)
        .index_add_(0, places, torch.where(ids == OUTSIDE, 0.0, values.double().flatten()).square())
        .sqrt()
        for values in (given, weight.detach())
    ]
    factors = sizes[1] / torch.where(sizes[0] > 0, sizes[0], 1.0)
    return (given * factors[places]).reshape(weight.shape).to(weight.dtype)


@contextlib.contextmanager
def frozen(parameters: Mapping[str, torch.nn.Parameter]) -> Iterator[None]:
    """Parameters need no gradient inside the block."""
    needed = {name: p.requires_grad for name, p in parameters.items()}
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(False)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(needed[name])


def _direction(
    parameters: Mapping[str, torch.nn.Parameter], filters: Mapping[str, Ids], seed: int, number: int
) -> dict[str, Tensor]:
    found = {}
    for place, (name, ids) in enumerate(filters.items()):
        weight = parameters[name]
        raw = counter_normal(seed, _STREAM, torch.tensor([place]), weight.shape, draw=number)[0]
        found[name] = normalised(raw, weight, ids)
    return found


def _dot(one: Weights, other: Weights) -> float:
    return sum(float((one[name].double() * other[name].double()).sum()) for name in one)
