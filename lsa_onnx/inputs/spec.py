"""What the numbers in the data mean: value range, normalisation and layout of the model's input."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError

Layout = Literal["NCHW", "NHWC", "flat"]
Source = Literal["default", "flags", "sidecar"]
SampleShape = tuple["int | None", ...]
FloatArray = NDArray[np.float64]

LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC", "flat")
_SOURCES: tuple[Source, ...] = ("default", "flags", "sidecar")
_CHANNELS = (1, 3, 4)
# float() also takes "inf", "nan", "1_0" and the digits of other scripts, none of which is meant.
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PLAIN = re.compile(rf"\s*({_NUMBER})\s*")
_FRACTION = re.compile(rf"\s*({_NUMBER})\s*/\s*({_NUMBER})\s*")
_PERCENT = re.compile(rf"\s*({_NUMBER})\s*%\s*")


@dataclass(frozen=True)
class InputSpec:
    """The declared value range of the data and what the model expects to be fed.

    Data, eps and noise strengths are in units of ``[low, high]``. ``mean`` and ``std`` are per
    channel on the 0..1 scale, as the field writes them: the model is fed ``((x - low) / (high -
    low) - mean) / std``. A missing ``mean`` counts as 0 and a missing ``std`` as 1; with neither,
    the model is fed ``x`` itself, in ``[low, high]``.

    Attributes:
        low: smallest value that an input may have.
        high: largest value that an input may have.
        mean: one value per channel, or one for all channels.
        std: one value above 0 per channel, or one for all channels.
        layout: order of a sample's axes; ``None`` infers it from the model (see
            ``resolve_layout``).
        source: where the declaration comes from.

    Raises:
        DataError: the range is empty or not finite, a std is not above 0, counts disagree, or the
            layout is unknown.
    """

    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: Layout | None = None
    source: Source = "default"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise DataError(
                f"range {self.low:g},{self.high:g} is not usable; "
                "give two finite numbers LO,HI, LO below HI"
            )
        if not math.isfinite(self.width):
            raise DataError(
                f"range {self.low:g},{self.high:g} is too wide for a float; give a narrower one"
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, _values(name, getattr(self, name)))
        if self.mean and self.std and len({len(self.mean), len(self.std), 1}) > 2:
            text = (
                f"mean has {len(self.mean)} values and std {len(self.std)}; "
                "give one per channel in both"
            )
            raise DataError(text)
        if self.layout is not None and self.layout not in LAYOUTS:
            raise DataError(f"layout {self.layout!r} is unknown; give one of {', '.join(LAYOUTS)}")
        if self.source not in _SOURCES:
            raise DataError(f"source {self.source!r} is unknown; give one of {', '.join(_SOURCES)}")

    @property
    def width(self) -> float:
        """``high - low``."""
        return self.high - self.low

    @property
    def is_identity(self) -> bool:
        """Whether the model is fed the data as they are."""
        scale, offset = self.affine(max(len(self.mean or ()), len(self.std or ()), 1))
        return bool(np.all(scale == 1.0) and np.all(offset == 0.0))

    def affine(self, channels: int) -> tuple[FloatArray, FloatArray]:
        """Scale and offset, each ``(channels,)``: ``model_input = x * scale + offset``.

        Raises:
            DataError: ``mean`` or ``std`` has another number of values than ``channels`` (one value
                serves all).
        """
        mean, std = self._per_channel("mean", channels), self._per_channel("std", channels)
        if self.mean is None and self.std is None:
            return np.ones(channels), np.zeros(channels)
        return 1.0 / (self.width * std), (-self.low / self.width - mean) / std

    def eps_per_channel(self, eps: float, channels: int) -> FloatArray:
        """``eps`` (declared range) in the space that the model sees, ``(channels,)``.

        Raises:
            DataError: as ``affine``.
        """
        scale, _ = self.affine(channels)
        return np.asarray(eps * scale, dtype=np.float64)

    def parse_eps(self, value: str | float) -> float:
        """``value`` in units of the declared range.

        A number (``0.03``) and a fraction (``8/255``) are in those units already; ``30%`` is of the
        range's width.

        Raises:
            DataError: not one of these forms, negative, not finite, or above the range's width.
        """
        eps = _eps_number(value, self.width)
        if eps is None or not math.isfinite(eps) or eps < 0:
            raise DataError(
                f"eps {value!r} is not usable; give a number of at least 0, a fraction as 8/255, "
                "or 30%"
            )
        if eps > self.width * (1 + 1e-12):
            text = (
                f"eps {value!r} is above the width {self.width:g} of the declared range "
                f"{self.low:g},{self.high:g}"
            )
            raise DataError(
                f"{text}; eps is in units of that range, give a smaller one or declare --range"
            )
        return min(eps, self.width)

    def _per_channel(self, name: Literal["mean", "std"], channels: int) -> FloatArray:
        values: tuple[float, ...] | None = self.mean if name == "mean" else self.std
        if values is None:
            return np.full(channels, 0.0 if name == "mean" else 1.0)
        if len(values) not in (1, channels):
            text = f"{name} has {len(values)} values, the model's input has {channels} channel(s)"
            raise DataError(f"{text}; give one value, or {channels}, with --{name}")
        return np.broadcast_to(np.asarray(values, dtype=np.float64), (channels,)).copy()


def resolve_layout(layout: Layout | None, sample_shape: SampleShape) -> Layout:
    """The layout of samples ``sample_shape`` (no batch axis; ``None`` for a free dimension).

    Without a declared ``layout``: three axes with 1, 3 or 4 first are NCHW, with 1, 3 or 4 last
    NHWC, all else is flat.

    Raises:
        DataError: an image layout is declared for a model whose samples have not three axes.
    """
    if layout is None:
        if len(sample_shape) == 3 and sample_shape[0] in _CHANNELS:
            return "NCHW"
        return "NHWC" if len(sample_shape) == 3 and sample_shape[2] in _CHANNELS else "flat"
    if layout != "flat" and len(sample_shape) != 3:
        text = (
            f"layout {layout} needs samples of 3 axes, "
            f"the model's have shape {shape_text(sample_shape)}"
        )
        raise DataError(f"{text}; use --layout flat")
    return layout


def channel_count(layout: Layout | None, sample_shape: SampleShape) -> int | None:
    """Channels of a sample: its channel axis, 1 for flat data, ``None`` where that axis is free.

    Raises:
        DataError: as ``resolve_layout``.
    """
    resolved = resolve_layout(layout, sample_shape)
    return 1 if resolved == "flat" else sample_shape[0 if resolved == "NCHW" else 2]


def shape_text(shape: SampleShape) -> str:
    """``(1, 28, None)`` as ``1x28x?``; a scalar as ``()``."""
    return "x".join("?" if size is None else str(size) for size in shape) or "()"


def parse_range(text: str) -> tuple[float, float]:
    """``"0,255"`` as ``(0.0, 255.0)``.

    Raises:
        DataError: not two finite numbers, or the first is not below the second.
    """
    values = parse_floats(text, "--range")
    if len(values) != 2 or values[0] >= values[1]:
        raise DataError(
            f"--range {text!r} is not usable; give two numbers LO,HI with LO below HI, "
            "for example 0,255"
        )
    return values[0], values[1]


def parse_floats(text: str, flag: str = "value") -> tuple[float, ...]:
    """``"0.485,0.456,0.406"`` as a tuple; ``flag`` names the option in the error.

    Raises:
        DataError: a part is not a finite number.
    """
    values = []
    for part in text.split(","):
        value = float(part) if _PLAIN.fullmatch(part) else math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{flag} {text!r}: {part.strip()!r} is not a number; "
                "give numbers separated by commas"
            )
        values.append(value)
    return tuple(values)


def as_layout(text: str) -> Layout:
    """``text`` as a layout name.

    Raises:
        DataError: it is none of ``LAYOUTS``.
    """
    for layout in LAYOUTS:
        if text == layout:
            return layout
    raise DataError(f"layout {text!r} is unknown; give one of {', '.join(LAYOUTS)}")


def _values(name: str, values: Iterable[float] | None) -> tuple[float, ...] | None:
    if values is None:
        return None
    numbers = tuple(float(value) for value in values)
    least = 0.0 if name == "std" else -math.inf
    if not numbers or not all(math.isfinite(value) and value > least for value in numbers):
        accepted = "finite numbers above 0" if name == "std" else "finite numbers"
        raise DataError(
            f"{name} {','.join(f'{value:g}' for value in numbers)!r} is not usable; give {accepted}"
        )
    return numbers


def _eps_number(value: str | float, width: float) -> float | None:
    if isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return float(value)
    if plain := _PLAIN.fullmatch(value):
        return float(plain[1])
    if percent := _PERCENT.fullmatch(value):
        return float(percent[1]) / 100 * width
    if fraction := _FRACTION.fullmatch(value):
        return float(fraction[1]) / float(fraction[2]) if float(fraction[2]) else None
    return None
