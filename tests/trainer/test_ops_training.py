"""BatchNormalization and Dropout: with given statistics as ONNX Runtime, else by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lsa_trainer.ops.training import BatchNormalization, Dropout
from tests.graphs import samples, weight
from tests.trainer.one_operator import Array, compare, slope_error

SHAPES = [(5, 4), (2, 4, 9), (2, 4, 5, 7), (3, 4, 2, 3, 5)]


def statistics(seed: int) -> list[Array]:
    """Scale, bias, mean and variance of four channels."""
    return [weight(seed, 4), weight(seed + 1, 4), weight(seed + 2, 4), samples(seed + 3, 4) + 0.1]


def tensors(*arrays: Array) -> list[torch.Tensor]:
    return [torch.from_numpy(a.copy()) for a in arrays]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_given_statistics(shape: tuple[int, ...], epsilon: float) -> None:
    compare("BatchNormalization", [samples(0, *shape), *statistics(1)], epsilon=epsilon)


@pytest.mark.parametrize("wide", [False, True])
def test_given_statistics_of_halves(wide: bool) -> None:
    parameters = [a if wide else a.astype("float16") for a in statistics(1)]
    x = samples(0, 2, 4, 5, 7, dtype="float16")
    compare("BatchNormalization", [x, *parameters], tolerance=3e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_node_in_training_mode(shape: tuple[int, ...]) -> None:
    inputs = [3 * samples(0, *shape) + 1, *statistics(1)]
    how: dict[str, Any] = {"training_mode": 1, "momentum": 0.7}
    compare("BatchNormalization", inputs, outputs=3, **how)


@pytest.mark.parametrize("training", [False, True])
def test_given_statistics_stay(training: bool) -> None:
    """Also in a module that trains, unless it is told otherwise."""
    x, *given = tensors(samples(0, 2, 4, 5, 7), *statistics(1))
    kept = [t.clone() for t in given]
    module = BatchNormalization().train(training)
    module.use_batch_statistics = not training
    expected = torch.nn.functional.batch_norm(x, given[2], given[3], given[0], given[1])
    torch.testing.assert_close(module(x, *given), expected)
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


@pytest.mark.parametrize("shape", [*SHAPES, (1, 4), (1, 4, 1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_of_the_batch(shape: tuple[int, ...], dtype: str) -> None:
    x, *given = tensors(3 * samples(0, *shape, dtype=dtype), *statistics(1))
    given = [t.to(x.dtype) for t in given]
    scale, bias, mean, variance = (t.clone() for t in given)
    module = BatchNormalization(momentum=0.7, epsilon=0.01)
    module.use_batch_statistics = True
    y = module(x, *given)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    per_channel = [-1, *[1] * (x.dim() - 2)]
    of_batch = x.mean(axes), x.var(axes, correction=0)
    inverse = scale / (of_batch[1] + 0.01).sqrt()
    centred = x - of_batch[0].reshape(per_channel)
    expected = centred * inverse.reshape(per_channel) + bias.reshape(per_channel)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(given[2], 0.7 * mean + 0.3 * of_batch[0])
    torch.testing.assert_close(given[3], 0.7 * variance + 0.3 * of_batch[1])
    assert torch.equal(given[0], scale)


def test_statistics_move_in_their_own_type() -> None:
    x, *given = tensors(samples(0, 2, 4, 5, 7, dtype="float16"), *statistics(1))
    given[2:] = [t.half() for t in given[2:]]
    module = BatchNormalization()
    module.use_batch_statistics = True
    before = given[2].clone()
    assert module(x, *given).dtype == torch.float16
    assert given[2].dtype == torch.float16
    assert not torch.equal(given[2], before)


def test_a_clean_pass_and_a_perturbed_one() -> None:
    """Statistics of the first, moved once; the second uses them as given. Both have gradients."""
    x, *given = tensors(samples(0, 2, 4, 5, 7), *statistics(1))
    given[0].requires_grad_()
    module = BatchNormalization()
    module.use_batch_statistics = True
    clean = module(x, *given)
    module.use_batch_statistics = False
    moved = given[2].clone()
    perturbed = module(x + 0.1, *given)
    (clean - perturbed).square().sum().backward()
    assert torch.equal(given[2], moved)
    assert given[0].grad.abs().min() > 0


def test_slopes_by_given_statistics() -> None:
    """As where one sample is normalised by another."""
    given = [t.double().requires_grad_() for t in tensors(samples(0, 2, 4, 2), *statistics(1))]
    slope_error(BatchNormalization(), *given)


def test_slopes_through_statistics_of_the_batch() -> None:
    x, scale, bias, *given = (t.double() for t in tensors(samples(0, 2, 4, 2), *statistics(1)))
    module = BatchNormalization()
    module.use_batch_statistics = True
    inputs = [t.requires_grad_() for t in (x, scale, bias)]
    slope_error(lambda *some: module(*some, *given), *inputs)


def test_slopes_of_a_node_in_training_mode() -> None:
    given = [t.double().requires_grad_() for t in tensors(samples(0, 2, 4, 2), *statistics(1))]
    slope_error(BatchNormalization(training_mode=1), *given)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("ratio", [None, np.asarray(0.25, np.float32)])
def test_dropout_at_inference(ratio: Array | None, outputs: int) -> None:
    compare("Dropout", [samples(0, 2, 3, 5), ratio], outputs=outputs)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("ratio", "share"), [(None, 0.5), ([0.2], 0.2), ([0.0], 0.0)])
def test_dropout_of_a_module_that_trains(
    ratio: list[float] | None, share: float, outputs: int
) -> None:
    torch.manual_seed(0)
    x = torch.ones(100, 200)
    result = Dropout(outputs=outputs)(x, ratio)
    y = result[0] if outputs == 2 else result
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - share, abs=0.02)
    torch.testing.assert_close(y[kept], x[kept] / (1 - share))
    if outputs == 2:
        assert torch.equal(result[1], kept)


def test_dropout_of_everything() -> None:
    x = torch.ones(2, 3)
    y, kept = Dropout(outputs=2)(x, [1.0])
    assert not y.any()
    assert not kept.any()
