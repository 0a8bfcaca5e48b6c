"""Pooling against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lsa_trainer.ops.pooling import average_pool, global_max_pool, lp_pool, max_pool, max_unpool
from lsa_trainer.ops.registry import why_not
from tests.graphs import node, samples, weight
from tests.trainer.one_operator import Array, compare, on_runtime, slope_error

SPATIAL = {1: (9,), 2: (8, 5), 3: (5, 4, 6)}
PADS = ("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def spread(seed: int, *shape: int, dtype: str = "float32") -> Array:
    """Whole numbers in random order, no two of them equal."""
    size = int(np.prod(shape))
    return np.random.default_rng(seed).permutation(size).reshape(shape).astype(dtype)


def windows(data: st.DataObject, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Attributes that the runtime takes."""
    kernel = [data.draw(st.integers(1, 3)) for _ in sizes]
    auto = data.draw(st.sampled_from(PADS))
    # Automatic padding is refused where windows leave gaps.
    largest = kernel if auto.startswith("SAME") else [3] * len(sizes)
    how: dict[str, Any] = {
        "kernel_shape": kernel,
        "auto_pad": auto,
        "strides": [data.draw(st.integers(1, most)) for most in largest],
        "dilations": [data.draw(st.sampled_from([1, 1, 2])) for _ in sizes],
        "ceil_mode": data.draw(st.sampled_from([0, 1])),
    }
    if auto == "NOTSET":
        how["pads"] = [data.draw(st.integers(0, k - 1)) for k in kernel * 2]
    reaches = [d * (k - 1) for d, k in zip(how["dilations"], kernel, strict=True)]
    assume(all(reach < size for reach, size in zip(reaches, sizes, strict=True)))
    return how


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_maxima_of_every_kind(data: st.DataObject) -> None:
    sizes = SPATIAL[data.draw(st.sampled_from([1, 2, 2, 3]))]
    how = windows(data, sizes) | {"storage_order": data.draw(st.sampled_from([0, 1]))}
    x = spread(data.draw(st.integers(0, 9)), 2, 3, *sizes)
    outputs = data.draw(st.sampled_from([1, 2]))
    # A window of padding alone has no largest element.
    assume((on_runtime("MaxPool", [x], 22, **how)[0] >= 0).all())
    compare("MaxPool", [x], opset=22, outputs=outputs, **how)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_means_of_every_kind(data: st.DataObject) -> None:
    sizes = SPATIAL[data.draw(st.sampled_from([1, 2, 2, 3]))]
    how = windows(data, sizes) | {"count_include_pad": data.draw(st.sampled_from([0, 1]))}
    compare("AveragePool", [spread(0, 2, 3, *sizes)], opset=22, **how)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_norms_of_every_kind(data: st.DataObject) -> None:
    sizes = SPATIAL[data.draw(st.sampled_from([1, 2, 2, 3]))]
    p = data.draw(st.sampled_from([1, 2, 3]))
    compare("LpPool", [samples(0, 2, 3, *sizes) - 0.5], opset=22, p=p, **windows(data, sizes))


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float64", "float16"])
def test_maxima_of_other_types(dtype: str, ceil: int) -> None:
    x = (spread(0, 2, 1, 8, 7) + 100 * (dtype == "uint8")).astype(dtype)
    for pads in ([1, 1, 1, 1], [0, 1, 1, 0], [2, 2, 2, 2]):
        how: dict[str, Any] = {
            "kernel_shape": [3, 3],
            "strides": [2, 2],
            "ceil_mode": ceil,
            "pads": pads,
        }
        compare("MaxPool", [x], outputs=2, **how)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_usual_padding_copies_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "pad", None)
    pool: Any = {"MaxPool": max_pool, "AveragePool": average_pool}[kind]
    x, window = torch.ones(2, 3, 9, 7), {"kernel_shape": [3, 3], "strides": [2, 2]}
    assert pool(x, pads=[1, 1, 1, 1], **window).shape == (2, 3, 5, 4)
    with pytest.raises(TypeError):
        pool(x, pads=[0, 0, 1, 1], **window)


def test_means_by_hand() -> None:
    """Padding counts where it is said to, what a last window covers beyond it never does."""
    x = torch.tensor([[[6.0, 12.0, 18.0]]])
    how: dict[str, Any] = {"kernel_shape": [3], "strides": [3], "pads": [1, 0], "ceil_mode": 1}
    assert average_pool(x, **how).tolist() == [[[9, 18]]]
    assert average_pool(x, count_include_pad=1, **how).tolist() == [[[6, 18]]]


@pytest.mark.parametrize("sizes", SPATIAL.values())
@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_whole_images(kind: str, sizes: tuple[int, ...]) -> None:
    x = weight(0, 2, 3, *sizes)
    compare(kind, [x])
    if kind == "GlobalLpPool":
        for p in (1, 3):
            compare(kind, [x], p=p)


def test_equal_maxima_of_an_image_share_the_gradient() -> None:
    x = torch.ones(2, 1, 2, 4, requires_grad=True)
    global_max_pool(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 1 / 8))


@pytest.mark.parametrize(
    "how", [{"dilations": [2, 1]}, {"pads": [0, 1, 1, 0]}, {"ceil_mode": 1, "pads": [1, 0, 1, 1]}]
)
def test_slopes(how: dict[str, Any]) -> None:
    x = torch.from_numpy(weight(0, 2, 1, 5, 4)).double().requires_grad_()
    window: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2], **how}
    slope_error(lambda x: max_pool(x, **window), x)
    slope_error(lambda x: average_pool(x, **window), x)
    for p in (1, 2, 3):
        slope_error(lambda x, p=p: lp_pool(x, p=p, **window), x)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_norm_of_nothing_has_no_slope(p: int) -> None:
    """The root has an infinite one at 0, which would spoil every weight before."""
    x = torch.zeros(2, 1, 4, requires_grad=True)
    lp_pool(x, kernel_shape=[2], p=p).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("sizes", [(8,), (8, 6), (4, 4, 6)])
@pytest.mark.parametrize("pads", [0, 1])
def test_maxima_go_back_where_they_were(sizes: tuple[int, ...], pads: int) -> None:
    window: dict[str, Any] = {
        "kernel_shape": [2] * len(sizes),
        "strides": [2] * len(sizes),
        "pads": [pads] * 2 * len(sizes),
    }
    y, indices = on_runtime("MaxPool", [spread(0, 2, 3, *sizes)], outputs=2, **window)
    compare("MaxUnpool", [y, indices], **window)
    compare("MaxUnpool", [y, indices, np.asarray([2, 3, *sizes])], **window)


def test_a_given_shape_holds_for_any_batch() -> None:
    """Exporters write the batch that they saw."""
    x, indices = torch.ones(2, 1, 1), torch.tensor([[[1]], [[3]]])
    y = max_unpool(x, indices, [1, 1, 3], kernel_shape=[2])
    assert y.tolist() == [[[0, 1, 0]], [[1, 0, 0]]]


def test_slopes_of_unpooled() -> None:
    x = torch.from_numpy(weight(0, 2, 1, 2, 2)).double().requires_grad_()
    indices = torch.tensor([0, 3, 9, 14, 17, 18, 25, 31]).reshape(2, 1, 2, 2)
    slope_error(lambda x: max_unpool(x, indices, kernel_shape=[2, 2], strides=[2, 2]), x)


def test_refusal() -> None:
    proto = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2, 2])
    assert why_not(proto, 21) == "4 spatial axes are more than 3"
