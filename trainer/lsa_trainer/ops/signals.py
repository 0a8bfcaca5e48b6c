"""Operators of signal processing. Complex numbers are pairs along the last axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lsa_trainer.ops.element_types import TORCH_TYPES, type_refusal
from lsa_trainer.ops.registry import Floats, Ints, Op, operator

_FLOAT = 1
# What torch's Fourier transforms know on every device.
_PRECISE = (torch.float32, torch.float64)


def _output_refusal(op: Op) -> str | None:
    return type_refusal(op.attributes.get("output_datatype"))


@operator("HannWindow", refuse=_output_refusal)
def hann_window(size: Ints, *, periodic: int = 1, output_datatype: int = _FLOAT) -> Tensor:
    """½ − ½ cos over one period (size,)."""
    return _window(size[0], periodic, (0.5, -0.5)).to(TORCH_TYPES[output_datatype])


@operator("HammingWindow", refuse=_output_refusal)
def hamming_window(size: Ints, *, periodic: int = 1, output_datatype: int = _FLOAT) -> Tensor:
    """25/46 − 21/46 cos over one period (size,)."""
    return _window(size[0], periodic, (25 / 46, -21 / 46)).to(TORCH_TYPES[output_datatype])


@operator("BlackmanWindow", refuse=_output_refusal)
def blackman_window(size: Ints, *, periodic: int = 1, output_datatype: int = _FLOAT) -> Tensor:
    """0.42 − ½ cos + 0.08 cos of twice the angle, over one period (size,)."""
    return _window(size[0], periodic, (0.42, -0.5, 0.08)).to(TORCH_TYPES[output_datatype])


@operator("MelWeightMatrix", refuse=_output_refusal)
def mel_weight_matrix(
    num_mel_bins: Ints,
    dft_length: Ints,
    sample_rate: Ints,
    lower_edge_hertz: Floats,
    upper_edge_hertz: Floats,
    *,
    output_datatype: int = _FLOAT,
) -> Tensor:
    """Triangles (frequencies, mel bins) of height 1, at equal distances on the mel scale."""
    count = num_mel_bins[0] + 2
    low, high = (2595 * math.log10(1 + f[0] / 700) for f in (lower_edge_hertz, upper_edge_hertz))
    mel = low + torch.arange(count, dtype=torch.float64) * (high - low) / count
    hertz = 700 * (10 ** (mel / 2595) - 1)
    edges = ((dft_length[0] + 1) * hertz / sample_rate[0]).floor()
    lower, center, higher = edges[:-2], edges[1:-1], edges[2:]
    bins = torch.arange(dft_length[0] // 2 + 1, dtype=torch.float64).unsqueeze(1)
    # Edges that fall together leave the peak alone.
    rise = (bins - lower) / (center - lower).clamp(min=1)
    fall = (higher - bins) / (higher - center).clamp(min=1)
    weights = torch.minimum(rise, fall).clamp(min=0)
    return torch.where(bins == center, 1.0, weights).to(TORCH_TYPES[output_datatype])


@operator("DFT", since=20)
def dft(
    x: Tensor,
    dft_length: Ints | None = None,
    axis: Ints | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """The Fourier transform of x (..., 1 or 2) along an axis, its length first made ``dft_length``.

    Onesided, only the first half of the spectrum of a real x is given, or taken to go back to one.
    """
    along = (axis[0] if axis else -2) % x.dim()
    length = dft_length[0] if dft_length else None
    signal = _complex(x)
    if inverse and onesided:
        real = torch.fft.irfft(signal, length, along)
        return real.unsqueeze(-1).to(x.dtype)
    transform = torch.fft.ifft if inverse else torch.fft.fft
    if onesided:
        transform = torch.fft.rfft
    return _pairs(transform(signal, length, along), x.dtype)


@operator("DFT", until=19)
def dft_with_attribute(
    x: Tensor,
    dft_length: Ints | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """``dft``, when its axis was an attribute."""
    return dft(x, dft_length, [axis], inverse=inverse, onesided=onesided)


@operator("STFT")
def stft(
    signal: Tensor,
    frame_step: Ints,
    window: Tensor | None = None,
    frame_length: Ints | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """Fourier transforms (n, frames, frequencies, 2) of the frames of a signal (n, length, 1 or 2)."""
    lengths = [*(frame_length or []), *([] if window is None else [len(window)]), signal.shape[1]]
    frames = _complex(signal).unfold(1, lengths[0], frame_step[0])
    if window is not None:
        frames = frames * window
    spectrum = torch.fft.fft(frames)[..., : lengths[0] // 2 + 1 if onesided else None]
    return _pairs(spectrum, signal.dtype)


def _window(size: int, periodic: int, weights: tuple[float, ...]) -> Tensor:
    """The sum of weights[i] · cos(i · angle), over a period of ``size`` or one that ends in it."""
    steps = torch.arange(size, dtype=torch.float64)
    angle = 2 * math.pi * steps / (size if periodic else size - 1)
    terms = [weight * (i * angle).cos() for i, weight in enumerate(weights)]
    return torch.stack(terms).sum(0)


def _complex(x: Tensor) -> Tensor:
    """Pairs (..., 2) as complex numbers, (..., 1) as real ones."""
    precise = x if x.dtype in _PRECISE else x.to(torch.float32)
    if x.shape[-1] == 1:
        return precise.squeeze(-1)
    return torch.view_as_complex(precise.contiguous())


def _pairs(x: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.view_as_real(x.resolve_conj()).to(dtype)
