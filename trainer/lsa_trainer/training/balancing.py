"""γ by layer, as it was given, or measured before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from lsa_trainer.objectives import SHARE, Losses, StepSpec, auto_share, balance, losses, parse_gamma
from lsa_trainer.trainee import Job, Trainee
from lsa_trainer.training.minibatches import Minibatches

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Minibatches over which J and the CMs are measured.
_MEASURED = 4


def layer_weights(
    text: str,
    job: Job,
    minibatches: Minibatches,
    specify: Callable[[Mapping[str, float]], StepSpec],
    fabric: Fabric,
) -> dict[str, float]:
    """γ of each layer that has one above 0.

    Args:
        text: See ``objectives.parse_gamma``.
        job: The model and its layers.
        minibatches: Of the run.
        specify: The objective under given weights; γ is measured with all of them 1, also for an attack that
            climbs the term.
        fabric: Averages over processes.

    Raises:
        DataError: ``text`` cannot be read, or no layer moves.
    """
    layers = list(job.layers)
    if not layers:
        return {}
    given = parse_gamma(text, layers)
    if given is None:
        found = _measures(job, minibatches, specify(dict.fromkeys(layers, 1.0)), fabric)
        given = balance(*found, auto_share(text) or SHARE)
    return {name: gamma for name, gamma in given.items() if gamma > 0}


def _measures(
    job: Job, minibatches: Minibatches, spec: StepSpec, fabric: Fabric
) -> tuple[float, dict[str, float]]:
    """J, and what γ weighs of each layer: means over some minibatches."""
    net = job.trainee.reading([*job.outputs, *job.layers])
    net.eval()
    found = [_measured(net, job, minibatches, spec, step) for step in range(_MEASURED)]
    rows = [[each.base, *(each.terms[name] for name in job.layers)] for each in found]
    table = torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
    base, *terms = fabric.all_reduce(table.mean(0)).tolist()
    return base, dict(zip(job.layers, terms, strict=True))


def _measured(
    net: Trainee, job: Job, minibatches: Minibatches, spec: StepSpec, step: int
) -> Losses:
    """The losses of a minibatch under the whole of ε, with the weights as they are."""
    batch = minibatches.at(step, spec, eps_scale=1.0)
    held = tuple(batch.part.extra.values())
    with torch.no_grad():
        return losses(
            lambda x: net(x, *held),
            batch.part.x,
            batch.x_adv,
            wanted(job, batch.targets),
            spec,
        )


def wanted(job: Job, targets: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
    """Targets as the criterion takes them."""
    return targets[0] if job.classes else targets
