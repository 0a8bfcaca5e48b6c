"""Random crops and flips of a batch of images, on its device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lsa_onnx.errors import DataError
from lsa_trainer.training.randomness import AUGMENTATION_STREAM, counter_uniform, derived

_IMAGE_AXES = 4


@dataclass(frozen=True)
class Augmentation:
    """What happens to a sample follows from the seed, the epoch and its index alone.

    Attributes:
        seed: Of the run.
        padding: Pixels by which a crop may be off the image, on each side; 0 for no crops.
        flip: Whether every other image, at random, is mirrored left to right.
        channel_axis: 1 for (n, channels, height, width), 3 for (n, height, width, channels); ``None``
            for samples that are no images, which allow neither.
        fill: Value beyond the edges: the lower end of the declared range.

    Raises:
        DataError: The padding is negative, or there is something to do and nothing to do it on.
    """

    seed: int
    padding: int = 0
    flip: bool = False
    channel_axis: int | None = 1
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"a padding of {self.padding} is not usable; give 0 or more pixels")
        if self and self.channel_axis not in (1, _IMAGE_AXES - 1):
            raise DataError(
                f"random crops and flips need images, and the channel axis is {self.channel_axis}; "
                "accepted are 1 and 3: declare the layout, or train without them"
            )

    def __bool__(self) -> bool:
        return self.padding > 0 or self.flip

    def __call__(self, x: Tensor, samples: Tensor, epoch: int) -> Tensor:
        """The batch as this epoch sees it, shape and type of ``x``.

        Args:
            x: Images, shape (n, ...); not changed.
            samples: Their indices in the dataset, shape (n,), int64.
            epoch: From 0.

        Raises:
            DataError: They have no four axes, or the padding covers them.
        """
        if not self:
            return x
        height, width = self._size(x)
        index = self._sources(samples.to(x.device), epoch, height, width)
        edges = [self.padding] * 4
        if self.channel_axis == 1:
            flat = functional.pad(x, edges, value=self.fill).flatten(2)
            return flat.gather(2, index[:, None].expand(-1, x.shape[1], -1)).reshape(x.shape)
        flat = functional.pad(x, [0, 0, *edges], value=self.fill).flatten(1, 2)
        return flat.gather(1, index[:, :, None].expand(-1, -1, x.shape[3])).reshape(x.shape)

    def _size(self, x: Tensor) -> tuple[int, int]:
        if x.ndim != _IMAGE_AXES:
            raise DataError(
                f"random crops and flips need images, and a batch has shape {tuple(x.shape)}; "
                "train without them"
            )
        height, width = x.shape[2:] if self.channel_axis == 1 else x.shape[1:3]
        if self.padding >= min(height, width):
            raise DataError(
                f"a padding of {self.padding} is not usable for images of {height}×{width} pixels; "
                f"give 0 to {min(height, width) - 1}"
            )
        return height, width

    def _sources(self, samples: Tensor, epoch: int, height: int, width: int) -> Tensor:
        """Where in the padded plane each pixel comes from, shape (n, height · width)."""
        seed = derived(self.seed, epoch)
        top, left, mirror = counter_uniform(seed, AUGMENTATION_STREAM, samples, (3,)).unbind(1)
        places = 2 * self.padding + 1
        rows = _starts(top, places) + torch.arange(height, device=samples.device)
        columns = _starts(left, places) + torch.arange(width, device=samples.device)
        if self.flip:
            columns = torch.where(mirror[:, None] < 0.5, columns.flip(1), columns)
        stride = width + 2 * self.padding
        return (rows[:, :, None] * stride + columns[:, None, :]).flatten(1)


def _starts(uniform: Tensor, places: int) -> Tensor:
    """One of ``places`` starts for each sample, shape (n, 1)."""
    return (uniform * places).to(torch.int64)[:, None]
