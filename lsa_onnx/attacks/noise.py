"""The four noises whose per-layer effect the paper plots: Gaussian, salt, pepper and speckle.

Strengths are shares: of the declared range's width for the additive noises, of the elements for salt and pepper. Each
sample has its own generator, derived from the seed, the noise and the sample's position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.base import Array, Batch, Perturbation
from lsa_onnx.errors import DataError

Sample = NDArray[np.float64]
# (x of one sample, generator, strength, low, high) → noisy x
NoiseFunction = Callable[[Sample, np.random.Generator, float, float, float], Sample]


def gaussian(
    x: Sample, rng: np.random.Generator, strength: float, low: float, high: float
) -> Sample:
    """x + N(0, σ²) with σ = strength · (high − low)."""
    return x + rng.normal(0.0, strength * (high - low), x.shape)


def speckle(
    x: Sample, rng: np.random.Generator, strength: float, low: float, high: float
) -> Sample:
    """x + (x − low) · N(0, strength²): noise in proportion to the value above the range's floor."""
    return x + (x - low) * rng.normal(0.0, strength, x.shape)


def salt(x: Sample, rng: np.random.Generator, strength: float, low: float, high: float) -> Sample:
    """Each element becomes ``high`` with probability ``strength``."""
    return np.where(rng.random(x.shape) < strength, high, x)


def pepper(x: Sample, rng: np.random.Generator, strength: float, low: float, high: float) -> Sample:
    """Each element becomes ``low`` with probability ``strength``."""
    return np.where(rng.random(x.shape) < strength, low, x)


# Name → (function, default strength, what the strength is, and of what).
NOISES: dict[str, tuple[NoiseFunction, float, str]] = {
    "gaussian": (gaussian, 0.1, "standard deviation, of the range's width"),
    "salt": (salt, 0.05, "of the elements"),
    "pepper": (pepper, 0.05, "of the elements"),
    "speckle": (speckle, 0.2, "standard deviation, of the value"),
}


@dataclass(frozen=True)
class Noise(Perturbation):
    """One of ``NOISES`` at a strength in [0, 1]."""

    name: str
    strength: float
    seed: int = 0

    kind = "noise"

    def __post_init__(self) -> None:
        if self.name not in NOISES:
            raise DataError(_unknown(self.name))
        if not 0 <= self.strength <= 1:
            raise DataError(
                f"strength {self.strength:g} of {self.name!r} is not within 0..1; give a share such as 0.1 or 10%"
            )

    def run(self, batch: Batch) -> Array:
        """See ``Perturbation.run``."""
        function = NOISES[self.name][0]
        kind = list(NOISES).index(self.name)
        noisy = [
            function(
                sample.astype(np.float64),
                np.random.Generator(np.random.Philox(key=[self.seed, (kind << 48) + position])),
                self.strength,
                batch.low,
                batch.high,
            )
            for position, sample in enumerate(batch.x, batch.start)
        ]
        # Stored at the model's precision as soon as made: float64 noise would double the batch's memory.
        return np.stack([sample.astype(batch.x.dtype) for sample in noisy])

    def parameters(self) -> dict[str, Any]:
        """See ``Perturbation.parameters``."""
        return {"strength": self.strength, "unit": NOISES[self.name][2], "seed": self.seed}


def parse_perturbation(text: str, seed: int) -> Noise:
    """The noise that ``NAME`` or ``NAME=STRENGTH`` stands for; a strength is 0.1 or 10%.

    Raises:
        DataError: An unknown name, or a strength that is not a share.
    """
    name, _, strength = text.partition("=")
    if name not in NOISES:
        raise DataError(_unknown(name))
    return Noise(name, _share(strength, text) if strength else NOISES[name][1], seed)


def _share(strength: str, text: str) -> float:
    percent = strength.endswith("%")
    try:
        value = float(strength.removesuffix("%"))
    except ValueError:
        raise DataError(
            f"strength {strength!r} in {text!r} is not a number; give a share such as 0.1 or 10%"
        ) from None
    return value / 100 if percent else value


def _unknown(name: str) -> str:
    return f"unknown perturbation {name!r}; accepted are {', '.join(NOISES)}, each also as NAME=STRENGTH"
