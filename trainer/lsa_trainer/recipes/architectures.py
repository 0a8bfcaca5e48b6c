"""The networks of the published experiments (Khalooei et al. 2023), randomly initialised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from lsa_trainer.recipes.recipe import Recipe

# Shape of one sample, by architecture.
SAMPLE_SHAPES = {"A": (2,), "B": (1, 28, 28), "C": (3, 32, 32), "D": (3, 32, 32)}
_CLASSES = 10
_VGG_WIDTH = 64
# Simonyan & Zisserman 2015, configuration E: convolutions per block, and channels in units of the width.
_VGG_BLOCKS = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))
_WIDE_FACTOR = 10
_WIDE_BLOCKS = 4
_WIDE_FIRST = 16


def build(recipe: Recipe, seed: int) -> nn.Module:
    """The network of a recipe with the weights that ``seed`` draws; the caller's random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[recipe.architecture](recipe.width)


def moon_net(_width: int | None = None) -> nn.Module:
    """A: three hidden layers of 100 with ELU, and one logit: above 0 for the second moon."""
    return nn.Sequential(
        nn.Linear(2, 100), nn.ELU(),
        nn.Linear(100, 100), nn.ELU(),
        nn.Linear(100, 100), nn.ELU(),
        nn.Linear(100, 1),
    )  # fmt: skip


def digit_net(_width: int | None = None) -> nn.Module:
    """B: three convolutions of 5×5 without padding, for images of 28×28."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.ReLU(),
        nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Flatten(), nn.Linear(64 * 3 * 3, 100), nn.ReLU(), nn.Linear(100, _CLASSES),
    )  # fmt: skip


def vgg19(width: int | None = None) -> nn.Module:
    """C: VGG-19 for images of 32×32, with BatchNorm, without which sixteen layers hardly train.

    The five poolings leave 1×1, so that one linear layer takes the place of the three for ImageNet.
    """
    unit = width or _VGG_WIDTH
    return nn.Sequential(
        *_vgg_features(unit), nn.Flatten(), nn.Linear(_VGG_BLOCKS[-1][1] * unit, _CLASSES)
    )


def _vgg_features(unit: int) -> Iterator[nn.Module]:
    taken = 3
    for count, times in _VGG_BLOCKS:
        for _ in range(count):
            yield nn.Conv2d(taken, times * unit, 3, padding=1, bias=False)
            yield nn.BatchNorm2d(times * unit)
            yield nn.ReLU()
            taken = times * unit
        yield nn.MaxPool2d(2, 2)


class _WideBlock(nn.Module):
    """Two convolutions, each behind its BatchNorm and ReLU, around which the input goes.

    Where the size changes, what goes around is the activation and not the input, as published.
    """

    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(taken)
        self.conv1 = nn.Conv2d(taken, given, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(given)
        self.conv2 = nn.Conv2d(given, given, 3, 1, 1, bias=False)
        self.around = nn.Conv2d(taken, given, 1, stride, bias=False) if taken != given else None

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.bn1(x))
        kept = x if self.around is None else self.around(active)
        added: Tensor = kept + self.conv2(torch.relu(self.bn2(self.conv1(active))))
        return added


def wide_resnet(width: int | None = None) -> nn.Module:
    """D: WRN-28-10 (Zagoruyko & Komodakis 2016); ``width`` is its factor.

    Its 28 convolutions are one, three groups of four blocks of two, and three of 1×1 that go around. They are
    read at 25 activations, for one that goes around shares its activation with what it is added to.
    """
    channels = [
        _WIDE_FIRST,
        *(_WIDE_FIRST * times * (width or _WIDE_FACTOR) for times in (1, 2, 4)),
    ]
    blocks = [
        _WideBlock(taken if index == 0 else given, given, 2 if index == 0 and group else 1)
        for group, (taken, given) in enumerate(pairwise(channels))
        for index in range(_WIDE_BLOCKS)
    ]
    return nn.Sequential(
        nn.Conv2d(3, _WIDE_FIRST, 3, padding=1, bias=False),
        *blocks,
        nn.BatchNorm2d(channels[-1]), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], _CLASSES),
    )  # fmt: skip


_BUILDERS: dict[str, Callable[[int | None], nn.Module]] = {
    "A": moon_net,
    "B": digit_net,
    "C": vgg19,
    "D": wide_resnet,
}
