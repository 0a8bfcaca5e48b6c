"""Normalisations against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lsa_trainer.ops import normalisation as ops
from lsa_trainer.ops.registry import why_not
from tests.graphs import node, samples, weight
from tests.trainer.one_operator import Array, compare, slope_error

MICROSOFT = "com.microsoft"
SHAPES = [(2, 4, 9), (2, 4, 5, 7), (3, 4, 2, 3, 5)]
# Half precision holds three digits.
TOLERANCE = {"float16": 3e-3, "float32": 1e-5, "float64": 1e-9}


def doubles(*arrays: Array) -> list[torch.Tensor]:
    return [torch.from_numpy(a).double().requires_grad_() for a in arrays]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_instances(shape: tuple[int, ...], epsilon: float) -> None:
    inputs = [3 * samples(0, *shape) + 1, weight(1, 4), weight(2, 4)]
    compare("InstanceNormalization", inputs, epsilon=epsilon)


def test_an_instance_of_one_pixel() -> None:
    compare("InstanceNormalization", [samples(0, 1, 4, 1, 1), weight(1, 4), weight(2, 4)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups(shape: tuple[int, ...], groups: int) -> None:
    x = 3 * samples(0, *shape) + 1
    how: dict[str, Any] = {"num_groups": groups, "epsilon": 0.01}
    compare("GroupNormalization", [x, weight(1, 4), weight(2, 4)], opset=21, **how)
    compare("GroupNormalization", [x, weight(1, groups), weight(2, groups)], opset=18, **how)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
def test_layers(axis: int, dtype: str) -> None:
    x = (3 * samples(0, 2, 4, 5, 7) + 1).astype(dtype)
    shape = x.shape[axis:]
    inputs = [x, weight(1, *shape, dtype=dtype), weight(2, *shape, dtype=dtype)]
    how: dict[str, Any] = {"axis": axis, "epsilon": 0.01, "tolerance": TOLERANCE[dtype]}
    compare("LayerNormalization", inputs, **how)
    compare("LayerNormalization", inputs[:2], **how)
    # The moments come in single precision, always.
    how["tolerance"] = max(how["tolerance"], 1e-6)
    compare("LayerNormalization", inputs, outputs=3, **how)
    compare("RMSNormalization", inputs[:2], opset=23, **how)
    compare("SimplifiedLayerNormalization", inputs[:2], outputs=2, **how)


@pytest.mark.parametrize("shape", [(1,), (7,), (5, 1), (4, 1, 1), (2, 1, 1, 7)])
def test_layers_with_a_broadcast_scale(shape: tuple[int, ...]) -> None:
    inputs = [samples(0, 2, 4, 5, 7), weight(1, *shape), weight(2, *shape)]
    compare("LayerNormalization", inputs, axis=1)
    compare("LayerNormalization", inputs, axis=1, outputs=3)


def test_a_broadcast_scale_of_the_root_mean_square() -> None:
    """By hand, against what the repeated scale gives."""
    x, scale = torch.from_numpy(samples(0, 2, 4, 5)), torch.tensor([2.0, 3.0, 4.0, 5.0])[:, None]
    wide = ops.rms_normalization(x, scale.expand(4, 5), axis=1)
    torch.testing.assert_close(ops.rms_normalization(x, scale, axis=1), wide)


def test_slopes_by_the_moments_of_a_layer() -> None:
    given = doubles(samples(0, 2, 3, 4), weight(1, 3, 4), weight(2, 3, 4))

    def moments(*inputs: torch.Tensor) -> Any:
        y, mean, inverse = ops.layer_normalization(*inputs, axis=1, outputs=3)
        assert mean.dtype == inverse.dtype == torch.float32
        return y

    slope_error(moments, *given)
    _, mean, inverse = ops.layer_normalization(*given, axis=1, outputs=3)
    (mean.sum() + inverse.sum()).backward()
    assert given[0].grad.abs().min() > 0


@pytest.mark.parametrize("epsilon", [1e-12, 0.1])
@pytest.mark.parametrize("skipped", [(2, 5, 8), (1, 5, 8), (5, 8)])
def test_sums_of_a_residual(skipped: tuple[int, ...], epsilon: float) -> None:
    x, skip, last = samples(0, 2, 5, 8), samples(1, *skipped), [weight(i, 8) for i in (2, 3, 4)]
    how: dict[str, Any] = {"domain": MICROSOFT, "epsilon": epsilon}
    for count in (1, 2, 3):
        compare("SkipLayerNormalization", [x, skip, *last[:count]], **how)
    for count in (1, 2):
        compare("SkipSimplifiedLayerNormalization", [x, skip, *last[:count]], **how)


def test_the_sum_itself_is_an_output() -> None:
    x, skip, bias = (torch.from_numpy(samples(i, 2, 5, 8)) for i in range(3))
    one, shift = torch.ones(8), bias[0, 0]
    *_, total = ops.skip_layer_normalization(x, skip, one, None, shift, outputs=4)
    assert torch.equal(total, x + skip + shift)
    *_, total = ops.skip_simplified_layer_normalization(x, skip, one, shift, outputs=4)
    assert torch.equal(total, x + skip + shift)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_norms(axis: int, p: int) -> None:
    x = weight(0, 2, 3, 4)
    x[0, 1] = x[:, :, 2] = 0
    x[:, 0] = 0
    compare("LpNormalization", [x], axis=axis, p=p)


@pytest.mark.parametrize("p", [1, 2])
def test_the_norm_of_zeros_has_no_slope(p: int) -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    ops.lp_normalization(x, p=p).sum().backward()
    assert torch.isfinite(x.grad).all()
    slope_error(lambda x: ops.lp_normalization(x, p=p), *doubles(weight(0, 2, 3)))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_neighbouring_channels(size: int) -> None:
    how: dict[str, Any] = {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5}
    x = 4 * samples(0, 2, 7, 5, 6) - 2
    compare("LRN", [x], **how)
    # The runtime takes images alone.
    y = ops.local_response_normalization(torch.from_numpy(x), **how)
    for shape in ((2, 7, 30), (2, 7, 5, 3, 2)):
        other = ops.local_response_normalization(torch.from_numpy(x.reshape(shape)), **how)
        torch.testing.assert_close(other, y.reshape(shape))


def test_neighbours_of_an_even_number_come_after() -> None:
    """By hand: the runtime takes odd ones alone."""
    x = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1).expand(2, 3, 1, 2)
    y = ops.local_response_normalization(x, size=2, alpha=2.0, beta=1.0, bias=0.0)
    assert torch.allclose(y[1, :, 0, 1], torch.tensor([1 / 5, 2 / 13, 3 / 9]))


@pytest.mark.parametrize("axes", [[0, 2, 3], [1], [-1, -2]])
def test_mean_and_variance(axes: list[int]) -> None:
    x = 3 * samples(0, 2, 4, 5, 7) + 1
    compare("MeanVarianceNormalization", [x], axes=axes, tolerance=1e-4)
    slope_error(
        lambda x: ops.mean_variance_normalization(x, axes=axes), *doubles(weight(0, 2, 2, 3, 2))
    )


def test_constant_values_have_no_variance() -> None:
    x = torch.full((2, 3, 2, 2), 5.0, requires_grad=True)
    y = ops.mean_variance_normalization(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros_like(y))
    assert torch.isfinite(x.grad).all()


def test_refusals() -> None:
    stashed = node("LayerNormalization", ["x", "s"], ["y"], stash_type=16)
    assert why_not(stashed, 21) == "stash_type 16 is not supported, only 1 (float32)"
    moments = node(
        "SkipLayerNormalization", ["x", "s", "g"], ["y", "", "deviation"], domain=MICROSOFT
    )
    assert why_not(moments, 21) == "its mean and deviation are wanted as outputs"
    moments.output[2] = ""
    assert why_not(moments, 21) is None


def test_answers_by_hand() -> None:
    x = torch.tensor([[1.0, 3.0], [10.0, 30.0]])
    scale = torch.tensor([1.0, 2.0])
    y = ops.layer_normalization(x, scale, torch.tensor([0.0, 1.0]), epsilon=0.0)
    np.testing.assert_allclose(y, [[-1, 3], [-1, 3]], rtol=1e-6)
    y = ops.rms_normalization(x, scale, epsilon=0.0)
    np.testing.assert_allclose(y, [[5**-0.5, 6 * 5**-0.5]] * 2, rtol=1e-6)
