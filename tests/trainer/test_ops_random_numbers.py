"""Random numbers: their distribution, and that torch's seed decides them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto

from lsa_trainer.ops import random_numbers as ops
from lsa_trainer.ops.registry import why_not
from tests.graphs import node
from tests.trainer.one_operator import Array, on_torch

MANY = (200, 300)
HALF = np.full(MANY, 0.25, np.float16)
LIKE = np.zeros(MANY, np.float64)

Case = tuple[str, list[Array | None], dict[str, Any], Any]
CASES: list[Case] = [
    ("RandomNormal", [], {"shape": MANY}, np.float32),
    ("RandomNormal", [], {"shape": MANY, "dtype": TensorProto.FLOAT16}, np.float16),
    ("RandomNormalLike", [LIKE], {}, np.float64),
    ("RandomNormalLike", [LIKE], {"dtype": TensorProto.FLOAT}, np.float32),
    ("RandomUniform", [], {"shape": MANY}, np.float32),
    ("RandomUniform", [], {"shape": MANY, "dtype": TensorProto.DOUBLE}, np.float64),
    ("RandomUniformLike", [LIKE], {}, np.float64),
    ("Bernoulli", [HALF], {}, np.float16),
    ("Bernoulli", [HALF], {"dtype": TensorProto.BOOL}, np.bool_),
    ("Multinomial", [np.zeros((200, 4), np.float32)], {"sample_size": 300}, np.int32),
    (
        "Multinomial",
        [np.zeros((200, 4), np.float32)],
        {"sample_size": 300, "dtype": TensorProto.INT64},
        np.int64,
    ),
]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def draw(kind: str, inputs: list[Array | None], **how: Any) -> Array:
    (drawn,) = on_torch(kind, inputs, **how)
    return drawn


@pytest.mark.parametrize(("kind", "inputs", "how", "dtype"), CASES)
def test_shape_and_type(kind: str, inputs: list[Array | None], how: Any, dtype: Any) -> None:
    drawn = draw(kind, inputs, **how)
    assert (drawn.shape, drawn.dtype) == (MANY, dtype)


@pytest.mark.parametrize(("kind", "inputs", "how", "dtype"), CASES)
def test_torch_decides_and_not_the_seed_of_the_node(
    kind: str, inputs: list[Array | None], how: Any, dtype: Any
) -> None:
    first, second = (draw(kind, inputs, **how, seed=1.0) for _ in range(2))
    assert (first != second).any()
    torch.manual_seed(0)
    np.testing.assert_array_equal(draw(kind, inputs, **how), first)


@pytest.mark.parametrize(
    ("kind", "inputs", "how"),
    [("RandomNormal", [], {"shape": MANY}), ("RandomNormalLike", [LIKE], {})],
)
def test_normal_numbers(kind: str, inputs: list[Array | None], how: Any) -> None:
    drawn = draw(kind, inputs, **how, mean=3.0, scale=0.5)
    assert drawn.mean() == pytest.approx(3, abs=0.01)
    assert drawn.std() == pytest.approx(0.5, abs=0.01)
    # A normal number is this close with probability 0.6827.
    assert np.mean(np.abs(drawn - 3) < 0.5) == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "inputs", "how"),
    [("RandomUniform", [], {"shape": MANY}), ("RandomUniformLike", [LIKE], {})],
)
def test_uniform_numbers(kind: str, inputs: list[Array | None], how: Any) -> None:
    drawn = draw(kind, inputs, **how, low=-1.0, high=3.0)
    assert -1 <= drawn.min() < drawn.max() < 3
    quarters = np.histogram(drawn, bins=4, range=(-1, 3))[0] / drawn.size
    np.testing.assert_allclose(quarters, 0.25, atol=0.01)


def test_bernoulli_takes_the_probabilities_of_its_entries() -> None:
    x = np.tile(np.array([0, 0.25, 1], np.float32), (20000, 1))
    np.testing.assert_allclose(draw("Bernoulli", [x]).mean(0), [0, 0.25, 1], atol=0.01)


def test_multinomial_takes_log_probabilities_of_any_sum() -> None:
    logits = np.log(np.array([[1, 2, 5], [6, 1, 1]], np.float32)) + 7
    drawn = draw("Multinomial", [logits], sample_size=40000)
    shares = [np.bincount(row, minlength=3) / 40000 for row in drawn]
    np.testing.assert_allclose(shares, [[1 / 8, 2 / 8, 5 / 8], [6 / 8, 1 / 8, 1 / 8]], atol=0.01)


def test_noise_is_as_large_as_the_batch() -> None:
    for batch in (1, 3):
        x = torch.zeros(batch, 2)
        for drawn in (ops.random_normal_like(x), ops.random_uniform_like(x), ops.bernoulli(x)):
            assert drawn.shape == x.shape


def test_types_that_torch_has_not() -> None:
    odd = node("RandomNormal", [], ["y"], shape=[2], dtype=TensorProto.INT4)
    assert why_not(odd, 21) == "element type INT4 is not supported"
