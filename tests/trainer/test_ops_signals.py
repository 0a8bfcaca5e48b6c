"""Windows and Fourier transforms, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto

from lsa_trainer.ops import signals as ops
from lsa_trainer.ops.registry import why_not
from tests.graphs import node
from tests.trainer.one_operator import Array, compare, on_torch, slope_error

WINDOWS = ["HannWindow", "HammingWindow", "BlackmanWindow"]
DTYPES = ["float32", "float64", "float16"]


def signal(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def number(value: float) -> Array:
    return np.array(value, np.int64 if isinstance(value, int) else np.float32)


@pytest.mark.parametrize("kind", WINDOWS)
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [2, 7, 10])
@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_windows(kind: str, periodic: int, size: int, element: int) -> None:
    compare(kind, [number(size)], periodic=periodic, output_datatype=element)


@pytest.mark.parametrize("kind", WINDOWS)
def test_windows_of_one_step(kind: str) -> None:
    compare(kind, [number(1)])


@pytest.mark.parametrize("kind", [*WINDOWS, "MelWeightMatrix"])
def test_windows_of_types_that_torch_has_not(kind: str) -> None:
    odd = node(kind, ["n"], ["y"], output_datatype=TensorProto.STRING)
    assert why_not(odd, 21) == "element type STRING is not supported"


@pytest.mark.parametrize(
    ("bins", "length", "rate", "low", "high"),
    [(8, 16, 8192, 0.0, 4096.0), (3, 64, 16000, 20.0, 7600.0), (40, 32, 16000, 20.0, 7600.0)],
)
def test_mel_weight_matrix(bins: int, length: int, rate: int, low: float, high: float) -> None:
    compare("MelWeightMatrix", [number(n) for n in (bins, length, rate, low, high)])


# x has two samples of 3×6 numbers; the transform is along one of the last two.
AXES = [1, 2, -2, -3]
WAYS = [  # (parts of a number, attributes)
    (1, {}),
    (2, {}),
    (1, {"onesided": 1}),
    (1, {"inverse": 1}),
    (2, {"inverse": 1}),
]


@pytest.mark.parametrize(("parts", "how"), WAYS)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("length", [None, 4, 9])
@pytest.mark.parametrize("opset", [18, 20])
def test_dft(parts: int, how: dict[str, int], axis: int, length: int | None, opset: int) -> None:
    inputs: list[Array | None] = [
        signal(2, 3, 6, parts),
        None if length is None else number(length),
    ]
    if opset >= 20:
        compare("DFT", [*inputs, number(axis)], opset=opset, **how)
    else:
        compare("DFT", inputs, opset=opset, axis=axis, **how)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_type_of_a_transform(dtype: str) -> None:
    compare("DFT", [signal(2, 6, 2, dtype=dtype)], tolerance=1e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize("length", [None, 10, 11])
def test_half_a_spectrum_goes_back_to_real_numbers(length: int | None) -> None:
    inputs: list[Array | None] = [signal(2, 6, 2), None if length is None else number(length)]
    compare("DFT", inputs, inverse=1, onesided=1)
    (y,) = on_torch("DFT", inputs, inverse=1, onesided=1)
    assert y.shape == (2, length or 10, 1)


def test_the_default_axes() -> None:
    x = signal(2, 3, 6, 1)
    compare("DFT", [x], opset=20)
    compare("DFT", [x], opset=18)


@pytest.mark.parametrize(("parts", "onesided"), [(1, 0), (1, 1), (2, 0), (2, 1)])
@pytest.mark.parametrize(("window", "length"), [(5, None), (None, 6), (5, 5)])
def test_stft(parts: int, onesided: int, window: int | None, length: int | None) -> None:
    weights = None if window is None else np.hanning(window + 2)[1:-1].astype(np.float32)
    size = None if length is None else number(length)
    compare("STFT", [signal(2, 16, parts), number(3), weights, size], onesided=onesided)


def test_a_frame_is_the_whole_signal_where_nothing_says_otherwise() -> None:
    x = signal(2, 8, 1)
    (y,) = on_torch("STFT", [x, number(3)])
    expected = np.fft.rfft(x[..., 0])[:, None]
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], expected, atol=1e-5)


@pytest.mark.parametrize(("parts", "how"), [*WAYS, (2, {"inverse": 1, "onesided": 1})])
def test_slopes_of_dft(parts: int, how: dict[str, Any]) -> None:
    x = torch.rand(2, 5, parts, dtype=torch.float64, requires_grad=True)
    slope_error(lambda t: ops.dft(t, [6], **how), x)


def test_slopes_of_stft() -> None:
    x = torch.rand(2, 9, 1, dtype=torch.float64, requires_grad=True)
    window = torch.rand(4, dtype=torch.float64, requires_grad=True)
    slope_error(lambda t, w: ops.stft(t, [2], w), x, window)
