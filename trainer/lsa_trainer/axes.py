"""Which axis of a layer counts samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from lsa_onnx.errors import ModelError
from lsa_trainer.trainee import Trainee
from lsa_trainer.training.data import TrainingSet


def batch_axes(
    trainee: Trainee, data: TrainingSet, layers: Sequence[str], remedy: str
) -> dict[str, int]:
    """The axis of each layer that counts samples: the one that grows with them.

    Args:
        trainee: Returns the layers; it is left in evaluation mode.
        data: Samples to run it on, one at least.
        layers: Names of tensors.
        remedy: What to do about a layer without such an axis, for the message.

    Raises:
        ModelError: A layer has none, or several.
    """
    two, three = (shapes_of(trainee, data, layers, count) for count in (2, 3))
    axes = {}
    for name in layers:
        pairs = zip(two[name], three[name], strict=False)
        grown = [axis for axis, (a, b) in enumerate(pairs) if a != b]
        if len(grown) != 1 or len(two[name]) != len(three[name]):
            raise ModelError(
                f"layer {name!r} has shape {two[name]} for two samples and {three[name]} for three: no axis "
                f"counts samples, so it cannot be regularised; {remedy}"
            )
        axes[name] = grown[0]
    return axes


def shapes_of(
    trainee: Trainee, data: TrainingSet, tensors: Sequence[str], count: int
) -> Mapping[str, tuple[int, ...]]:
    """The shapes that tensors have in a run on ``count`` of the samples, repeated if need be."""
    part = data.rows(torch.arange(count) % len(data))
    trainee.eval()
    with torch.no_grad():
        values = trainee(part.x, *part.extra.values())
    return {name: tuple(values[name].shape) for name in tensors}
