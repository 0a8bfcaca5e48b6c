"""Blocks of pixels and channels, against ONNX Runtime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from lsa_trainer.ops import blocks as ops
from tests.trainer.one_operator import Array, compare, on_torch, slope_error


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def counted(*shape: int) -> Array:
    return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_depth_to_space(mode: str, k: int) -> None:
    compare("DepthToSpace", [counted(2, 2 * k * k, 3, 4)], blocksize=k, mode=mode)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_space_to_depth(k: int) -> None:
    compare("SpaceToDepth", [counted(2, 3, 2 * k, 4 * k)], blocksize=k)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_to_depth_and_back(mode: str) -> None:
    x = torch.from_numpy(counted(2, 3, 4, 6))
    deep = ops.space_to_depth(x, blocksize=2, mode=mode)
    assert deep.shape == (2, 12, 2, 3)
    assert torch.equal(ops.depth_to_space(deep, blocksize=2, mode=mode), x)


IMAGES = [
    ((5, 7), (2, 3), {}),
    ((5, 7), (2, 3), {"strides": [2, 1], "pads": [1, 0, 0, 2]}),
    ((6, 5), (2, 2), {"dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    ((4, 5, 6), (2, 1, 3), {"strides": [1, 2, 2], "pads": [0, 0, 1, 1, 0, 0]}),
    ((9,), (3,), {"strides": [2]}),
]


def places(image: tuple[int, ...], block: tuple[int, ...], how: dict[str, Any]) -> int:
    rank = len(image)
    pads = how.get("pads", [0] * 2 * rank)
    grown = [n + a + b for n, a, b in zip(image, pads[:rank], pads[rank:], strict=True)]
    wide = [d * (k - 1) + 1 for d, k in zip(how.get("dilations", [1] * rank), block, strict=True)]
    strides = how.get("strides", [1] * rank)
    return math.prod((n - w) // s + 1 for n, w, s in zip(grown, wide, strides, strict=True))


@pytest.mark.parametrize(("image", "block", "how"), IMAGES)
def test_col2im(image: tuple[int, ...], block: tuple[int, ...], how: dict[str, Any]) -> None:
    x = counted(2, 3 * math.prod(block), places(image, block, how))
    compare("Col2Im", [x, ints(*image), ints(*block)], **how)


def test_col2im_with_dilations_in_space() -> None:
    # ONNX Runtime mixes up the dilations of more than two axes: ONNX's own reference is the judge.
    image, block = (4, 5, 6), (2, 2, 2)
    how: dict[str, Any] = {"dilations": [1, 2, 3]}
    feeds = {
        "x": counted(2, 3 * math.prod(block), places(image, block, how)),
        "image": ints(*image),
        "block": ints(*block),
    }
    alone = onnx.helper.make_node("Col2Im", list(feeds), ["y"], **how)
    (expected,) = ReferenceEvaluator(alone).run(None, feeds)
    np.testing.assert_array_equal(on_torch("Col2Im", list(feeds.values()), **how)[0], expected)


def test_columns_of_a_vector_that_meet_are_added() -> None:
    columns = np.array([[[1, 2, 3], [10, 20, 30]]], np.float32)
    (image,) = on_torch("Col2Im", [columns, ints(4), ints(2)])
    assert image.tolist() == [[[1, 12, 23, 30]]]


@pytest.mark.parametrize(("image", "block", "how"), IMAGES[1::3])
def test_slopes_of_col2im(
    image: tuple[int, ...], block: tuple[int, ...], how: dict[str, Any]
) -> None:
    shape = (1, math.prod(block), places(image, block, how))
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    slope_error(lambda t: ops.col2im(t, list(image), list(block), **how), x)
