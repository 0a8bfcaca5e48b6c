"""Crops and flips against a loop that does them image by image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_trainer.training.augmentation import Augmentation


def numbered(count: int, height: int = 5, width: int = 7, channels: int = 3) -> Tensor:
    """Images all of whose values differ, from 1 on; (n, channels, height, width)."""
    shape = (count, channels, height, width)
    return torch.arange(1, 1 + int(np.prod(shape)), dtype=torch.float32).reshape(shape)


def possible(image: Tensor, padding: int, fill: float) -> dict[tuple[int, int, bool], Tensor]:
    """Every crop of one image, (channels, height, width), mirrored or not."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image, [padding] * 4, value=fill)
    crops = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            crops[top, left, False], crops[top, left, True] = crop, crop.flip(2)
    return crops


def choices(augmentation: Augmentation, x: Tensor, epoch: int) -> list[tuple[int, int, bool]]:
    """Which crop each image became; fails where it is none."""
    found = augmentation(x, torch.arange(len(x)), epoch)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    chosen = []
    for image, result in zip(x, found, strict=True):
        every = possible(image, augmentation.padding, augmentation.fill)
        chosen.append(next(key for key, crop in every.items() if torch.equal(crop, result)))
    return chosen


def test_each_image_becomes_one_of_its_crops_and_all_of_them_happen() -> None:
    chosen = choices(Augmentation(3, padding=1, flip=True, fill=-2.0), numbered(600), epoch=0)
    seen, counts = np.unique(np.array(chosen), axis=0, return_counts=True)
    assert len(seen) == 3 * 3 * 2
    # 33 of each are expected, with a standard deviation of 5.6.
    assert np.abs(counts - 600 / 18).max() < 4.5 * 5.6


@pytest.mark.parametrize(
    ("padding", "flip", "kinds"), [(0, True, 2), (2, False, 25), (0, False, 1)]
)
def test_does_only_what_was_asked_for(padding: int, flip: bool, kinds: int) -> None:
    augmentation = Augmentation(1, padding=padding, flip=flip)
    assert len(set(choices(augmentation, numbered(300), epoch=0))) == kinds


def test_layouts_agree() -> None:
    x, samples = numbered(20), torch.arange(20)
    first = Augmentation(4, padding=2, flip=True, channel_axis=1)(x, samples, 6)
    last = Augmentation(4, padding=2, flip=True, channel_axis=3)(
        x.permute(0, 2, 3, 1).contiguous(), samples, 6
    )
    assert torch.equal(last.permute(0, 3, 1, 2), first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.uint8])
def test_keeps_the_type(dtype: torch.dtype) -> None:
    x = numbered(2).remainder(200).to(dtype)
    found = Augmentation(0, padding=2, flip=True)(x, torch.arange(2), 0)
    expected = Augmentation(0, padding=2, flip=True)(x.float(), torch.arange(2), 0)
    assert found.dtype == dtype
    assert torch.equal(found.float(), expected)


def test_follows_from_seed_epoch_and_sample_not_from_the_batch() -> None:
    x, samples = numbered(40), torch.arange(100, 140)
    augmentation = Augmentation(7, padding=2, flip=True)
    whole = augmentation(x, samples, 3)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augmentation(x[order], samples[order], 3), whole[order])
    assert torch.equal(augmentation(x[5:6], samples[5:6], 3), whole[5:6])
    for other in (
        augmentation(x, samples, 4),
        augmentation(x, samples + 1, 3),
        Augmentation(8, padding=2, flip=True)(x, samples, 3),
    ):
        assert not torch.equal(other, whole)


def test_leaves_its_input_alone() -> None:
    x = numbered(4)
    Augmentation(0, padding=1, flip=True)(x, torch.arange(4), 0)
    assert torch.equal(x, numbered(4))
    assert Augmentation(0)(x, torch.arange(4), 0) is x
    assert Augmentation(0, padding=1)(x[:0], torch.arange(0), 0).shape == (0, 3, 5, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": -1}, "padding of -1 is not usable"),
        ({"flip": True, "channel_axis": None}, "need images, and the channel axis is None"),
        ({"padding": 2, "channel_axis": 2}, "need images, and the channel axis is 2"),
    ],
)
def test_refuses_what_cannot_be_done(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Augmentation(0, **arguments)


def test_refuses_batches_that_are_no_images_or_too_small() -> None:
    with pytest.raises(DataError, match=r"need images, and a batch has shape \(2, 784\)"):
        Augmentation(0, flip=True)(torch.zeros(2, 784), torch.arange(2), 0)
    with pytest.raises(DataError, match="padding of 5 is not usable for images of 5×7 pixels"):
        Augmentation(0, padding=5)(numbered(2), torch.arange(2), 0)


def test_samples_without_channels_need_no_layout_when_there_is_nothing_to_do() -> None:
    x = torch.zeros(2, 784)
    assert Augmentation(0, channel_axis=None)(x, torch.arange(2), 0) is x
