"""Convolutions against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lsa_trainer.ops.convolution import conv, conv_integer, conv_transpose
from lsa_trainer.ops.deformable import deform_conv
from lsa_trainer.ops.registry import why_not
from tests.graphs import node, samples, weight
from tests.trainer.one_operator import compare, slope_error

SPATIAL = {1: (9,), 2: (8, 5), 3: (5, 4, 6)}
MICROSOFT = "com.microsoft"


def per_axis(data: st.DataObject, axes: int, low: int, high: int) -> list[int]:
    return [data.draw(st.integers(low, high)) for _ in range(axes)]


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_conv_of_every_kind(data: st.DataObject) -> None:
    sizes = SPATIAL[data.draw(st.sampled_from([1, 2, 2, 3]))]
    axes, group = len(sizes), data.draw(st.sampled_from([1, 2, 4]))
    kernel = per_axis(data, axes, 1, 3)
    how: dict[str, Any] = {
        "auto_pad": data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])),
        "strides": per_axis(data, axes, 1, 3),
        "group": group,
    }
    if how["auto_pad"] == "NOTSET":
        how["pads"] = per_axis(data, 2 * axes, 0, 2)
    if not how["auto_pad"].startswith("SAME"):
        # With automatic padding the runtime refuses dilations.
        how["dilations"] = per_axis(data, axes, 1, 2 if min(sizes) > 4 else 1)
    inputs = [samples(0, 2, 4, *sizes), weight(1, 8, 4 // group, *kernel)]
    if data.draw(st.booleans()):
        inputs.append(weight(2, 8))
    compare("Conv", inputs, **how)


def test_automatic_padding_counts_dilation() -> None:
    """As the specification says; the runtime refuses it."""
    x = torch.arange(8.0).reshape(2, 1, 4)
    y = conv(x, torch.ones(1, 1, 2), auto_pad="SAME_LOWER", dilations=[2])
    assert y.tolist() == [[[1, 2, 4, 2]], [[5, 10, 12, 6]]]


EVEN: list[dict[str, Any]] = [
    {},
    {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    {"auto_pad": "SAME_UPPER"},
]


@pytest.mark.parametrize("how", EVEN)
def test_even_padding_copies_nothing(how: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the convolution's own: a copy of x would cost as much as a small layer."""
    monkeypatch.setattr(functional, "pad", None)
    y = conv(torch.ones(2, 3, 8, 5), torch.ones(4, 3, 3, 3), torch.ones(4), **how)
    assert y[0, 0, 1, 1] == 28
    with pytest.raises(TypeError):
        conv(torch.ones(2, 3, 8, 5), torch.ones(4, 3, 3, 3), pads=[0, 0, 1, 1])


def test_half_precision() -> None:
    inputs = [samples(0, 2, 3, 8, 5, dtype="float16"), weight(1, 4, 3, 3, 3, dtype="float16")]
    compare("Conv", inputs, pads=[1, 0, 1, 2], tolerance=2e-3)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_an_empty_batch(kind: str) -> None:
    compare(kind, [samples(0, 0, 3, 8, 5), weight(1, 3, 3, 2, 2)], pads=[1, 0, 0, 1])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_conv_transpose_of_every_kind(data: st.DataObject) -> None:
    sizes = {1: (5,), 2: (4, 3), 3: (2, 4, 3)}[data.draw(st.sampled_from([1, 2, 2, 3]))]
    axes, group = len(sizes), data.draw(st.sampled_from([1, 2]))
    kernel, strides = per_axis(data, axes, 1, 3), per_axis(data, axes, 1, 3)
    dilations = per_axis(data, axes, 1, 2)
    how: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": group}
    how["output_padding"] = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    form = data.draw(st.sampled_from(["pads", "shape", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if form == "pads":
        how["pads"] = [data.draw(st.integers(0, (span - 1) // 2)) for span in spans * 2]
    elif form == "shape":
        # The runtime takes no output whose convolution would be larger than x.
        limits = [n * s + span - 1 for n, s, span in zip(sizes, strides, spans, strict=True)]
        how["output_shape"] = [data.draw(st.integers(1, most)) for most in limits]
        how["auto_pad"] = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER"]))
    else:
        how["auto_pad"] = form
    inputs = [samples(0, 2, 4, *sizes), weight(1, 4, 6 // group, *kernel)]
    if data.draw(st.booleans()):
        inputs.append(weight(2, 6))
    compare("ConvTranspose", inputs, **how)


def test_transposed_by_hand() -> None:
    """Entry i of the input lands at 2 i and 2 i + 1; the bias also where nothing lands."""
    x, w, b = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, 10.0]]]), torch.tensor([0.5])
    y = conv_transpose(x, w, b, strides=[2], pads=[1, 0], output_padding=[1])
    assert y.tolist() == [[[10.5, 2.5, 20.5, 0.5]]]
    y = conv_transpose(x, w, b, strides=[2], output_shape=[7])
    assert y.tolist() == [[[1.5, 10.5, 2.5, 20.5, 0.5, 0.5, 0.5]]]


def test_usual_transposed_padding_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "pad", None)
    x, w = torch.ones(2, 3, 4, 5), torch.ones(3, 4, 3, 3)
    y = conv_transpose(x, w, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    assert y.shape == (2, 4, 8, 10)
    with pytest.raises(TypeError):
        conv_transpose(x, w, pads=[0, 0, 1, 1])


@pytest.mark.parametrize("how", [{"pads": [0, 2]}, {"output_shape": [12]}, {"pads": [1, 0]}])
def test_slopes_of_transposed(how: dict[str, Any]) -> None:
    inputs = [weight(i, *shape) for i, shape in enumerate([(2, 2, 4), (2, 3, 3), (3,)])]
    doubles = [torch.from_numpy(a).double().requires_grad_() for a in inputs]
    slope_error(lambda x, w, b: conv_transpose(x, w, b, strides=[2], **how), *doubles)


@pytest.mark.parametrize("dtypes", [("uint8", "uint8"), ("uint8", "int8")])
@pytest.mark.parametrize(
    "how", [{}, {"strides": [2, 1], "dilations": [1, 2]}, {"auto_pad": "SAME_UPPER"}, {"group": 3}]
)
def test_conv_of_bytes(dtypes: tuple[str, str], how: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 3, 7, 5)).astype(dtypes[0])
    # Kernels of the runtime for older processors add pairs of products up in 16 bits.
    w = rng.integers(0, 64, (6, 3 // how.get("group", 1), 2, 3)).astype(dtypes[1])
    compare("ConvInteger", [x, w], **how)
    zeros = [np.asarray(9, dtypes[0]), np.asarray(4, dtypes[1])]
    compare("ConvInteger", [x, w, *zeros], **how)


def test_bytes_with_a_zero_point_for_each_output() -> None:
    """By hand: the runtime takes a single one. Padding stands for the zero point of x."""
    x, w = torch.tensor([[[3, 5]]], dtype=torch.uint8), torch.ones(2, 1, 2, dtype=torch.uint8)
    zeros = torch.tensor(2, dtype=torch.uint8), torch.tensor([0, 3], dtype=torch.uint8)
    y = conv_integer(x, w, *zeros, pads=[1, 0])
    assert y.dtype == torch.int32
    assert y.tolist() == [[[1, 4], [-2, -8]]]


ACTIVATIONS: list[tuple[str, list[float]]] = [
    ("", []),
    ("Relu", []),
    ("Tanh", []),
    ("Sigmoid", []),
    ("LeakyRelu", [0.3]),
    ("HardSigmoid", [0.3, 0.4]),
    ("Clip", [-0.2, 0.4]),
]


@pytest.mark.parametrize(("kind", "numbers"), ACTIVATIONS)
@pytest.mark.parametrize("added", [False, True])
def test_fused_conv(kind: str, numbers: list[float], added: bool) -> None:
    inputs = [samples(0, 2, 3, 8, 5) - 0.5, weight(1, 4, 3, 3, 3), weight(2, 4)]
    how: dict[str, Any] = {"activation": kind} if kind else {}
    if numbers:
        how["activation_params"] = numbers
    if added:
        inputs.append(samples(3, 2, 4, 6, 3) - 0.5)
    compare("FusedConv", inputs, domain=MICROSOFT, **how)


def test_refusals() -> None:
    deep = node("Conv", ["x", "w"], ["y"], pads=[0] * 8)
    assert why_not(deep, 21) == "4 spatial axes are more than 3"
    odd = node("FusedConv", ["x", "w"], ["y"], domain=MICROSOFT, activation="Mish")
    assert why_not(odd, 21) == "activation 'Mish' is not supported"


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_deformed_images_of_every_kind(data: st.DataObject) -> None:
    group, offset_group = (data.draw(st.sampled_from([1, 2])) for _ in range(2))
    kernel, strides = per_axis(data, 2, 1, 3), per_axis(data, 2, 1, 2)
    dilations, pads = per_axis(data, 2, 1, 2), per_axis(data, 4, 0, 1)
    x, w = samples(0, 2, 4, 7, 6), weight(1, 6, 4 // group, *kernel)
    like = conv(
        torch.from_numpy(x[:, : w.shape[1]]),
        torch.from_numpy(w),
        strides=strides,
        dilations=dilations,
        pads=pads,
    )
    count, outs = offset_group * kernel[0] * kernel[1], like.shape[2:]
    inputs = [x, w, 3 * (samples(2, 2, 2 * count, *outs) - 0.5), weight(3, 6)]
    if data.draw(st.booleans()):
        inputs.append(samples(4, 2, count, *outs))
    how: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": pads}
    compare("DeformConv", inputs, opset=22, group=group, offset_group=offset_group, **how)


@pytest.mark.parametrize(
    ("sizes", "kernel"), [((9,), (3,)), ((7, 1), (3, 1)), ((5, 4, 6), (2, 2, 3))]
)
def test_whole_offsets_shift(sizes: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    """Reading one further along each axis is the convolution of what lies there, on any rank."""
    x, w = torch.from_numpy(samples(0, 2, 3, *sizes)), torch.from_numpy(weight(1, 4, 3, *kernel))
    outs = [n - k + 1 for n, k in zip(sizes, kernel, strict=True)]
    offset = torch.ones(2, int(np.prod(kernel)) * len(sizes), *outs)
    shifted = functional.pad(x, [0, 1] * len(sizes))[(..., *[slice(1, None)] * len(sizes))]
    torch.testing.assert_close(deform_conv(x, w, offset), conv(shifted, w))
    torch.testing.assert_close(deform_conv(x, w, 0 * offset), conv(x, w))


def test_slopes_of_deformed() -> None:
    shapes = [(2, 2, 4, 3), (2, 1, 2, 2), (2, 16, 3, 2), (2,), (2, 8, 3, 2)]
    inputs = [torch.from_numpy(weight(i, *shape)).double() for i, shape in enumerate(shapes)]
    inputs[2] = inputs[2].clamp(-0.4, 0.4) + 0.45  # Slopes jump where whole pixels are read.
    for tensor in inputs:
        tensor.requires_grad_()
    slope_error(lambda *given: deform_conv(*given, group=2, offset_group=2), *inputs)


def test_deformed_halves_tell_pixels_apart() -> None:
    """Pixel 2049 of a row: half precision has no such number."""
    x = torch.zeros(1, 1, 1, 2500, dtype=torch.float16)
    x[..., 2049] = 1
    offset = torch.zeros(1, 2, 1, 2500, dtype=torch.float16)
    y = deform_conv(x, torch.ones(1, 1, 1, 1, dtype=torch.float16), offset)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y, x, atol=2e-3, rtol=0)
