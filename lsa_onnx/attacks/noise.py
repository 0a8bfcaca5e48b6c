"""The four noises whose per-layer effect the paper plots: Gaussian, salt, pepper and speckle.

Strengths are shares: of the declared range's width for Gaussian noise, of the value for speckle, of
the elements for salt and pepper. Each sample has its own random numbers, which follow from the
seed, the noise and the sample's position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lsa_onnx.attacks.base import Array, Batch, Perturbation
from lsa_onnx.attacks.randomness import generators
from lsa_onnx.errors import DataError

# (x of one sample, random numbers of its shape, strength, low, high) → noisy x. The numbers are
# normal for the noises that add, uniform in [0, 1) for those that replace.
NoiseFunction = Callable[[Array, Array, float, float, float], Array]


def gaussian(x: Array, normal: Array, strength: float, low: float, high: float) -> Array:
    """Gaussian: x + N(0, σ²) with σ = strength · (high − low)."""
    noisy: Array = x + normal * (strength * (high - low))
    return noisy


def speckle(x: Array, normal: Array, strength: float, low: float, _high: float) -> Array:
    """Speckle: x + (x − low) · N(0, strength²), in proportion to the value above the floor."""
    noisy: Array = x + (x - low) * (normal * strength)
    return noisy


def salt(x: Array, uniform: Array, strength: float, _low: float, high: float) -> Array:
    """Salt: each element becomes ``high`` with probability ``strength``."""
    return np.where(uniform < strength, x.dtype.type(high), x)


def pepper(x: Array, uniform: Array, strength: float, low: float, _high: float) -> Array:
    """Pepper: each element becomes ``low`` with probability ``strength``."""
    return np.where(uniform < strength, x.dtype.type(low), x)


@dataclass(frozen=True)
class Kind:
    """A noise: how it is made, how strong by default, what its strength is a share of."""

    function: NoiseFunction
    default: float
    unit: str
    additive: bool


NOISES = {
    "gaussian": Kind(gaussian, 0.1, "standard deviation, of the range's width", additive=True),
    "salt": Kind(salt, 0.05, "of the elements", additive=False),
    "pepper": Kind(pepper, 0.05, "of the elements", additive=False),
    "speckle": Kind(speckle, 0.2, "standard deviation, of the value", additive=True),
}


@dataclass(frozen=True)
class Noise(Perturbation):
    """One of ``NOISES`` at a strength in [0, 1].

    Attributes:
        noise: Which.
        strength: A share, see ``Kind.unit``.
        seed: Of the random numbers, 0 to 2³² − 1.
        name: What the report calls it; ``noise`` by default.
    """

    noise: str
    strength: float
    seed: int = 0
    name: str = ""

    kind = "noise"

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise DataError(f"unknown noise {self.noise!r}; accepted are {', '.join(NOISES)}")
        if not 0 <= self.strength <= 1:
            raise DataError(
                f"strength {self.strength:g} of {self.noise!r} is not within 0..1; "
                "give a share such as 0.1 or 10%"
            )
        object.__setattr__(self, "name", self.name or self.noise)

    def run(self, batch: Batch) -> Array:
        """See ``Perturbation.run``; clipped already."""
        kind = NOISES[self.noise]
        noisy = np.empty_like(batch.x)
        # One sample at a time, so that temporaries stay small beside the batch.
        dtype = np.promote_types(batch.x.dtype, np.float32)
        rngs = generators(self.seed, list(NOISES).index(self.noise), batch.positions.tolist())
        for index, (sample, rng) in enumerate(zip(batch.x, rngs, strict=True)):
            draw = rng.standard_normal if kind.additive else rng.random
            numbers = np.asarray(draw(sample.shape, dtype=dtype))
            values = sample.astype(dtype, copy=False)
            values = kind.function(values, numbers, self.strength, batch.low, batch.high)
            noisy[index] = np.clip(values, batch.low, batch.high)
        return noisy

    def parameters(self) -> dict[str, Any]:
        """See ``Perturbation.parameters``."""
        return {"strength": self.strength, "unit": NOISES[self.noise].unit, "seed": self.seed}


def parse_strength(strength: str, text: str) -> float:
    """The share that ``strength``, 0.1 or 10%, stands for; ``text`` is what it is part of.

    Raises:
        DataError: It is not a number.
    """
    percent = strength.endswith("%")
    try:
        value = float(strength.removesuffix("%"))
    except ValueError:
        raise DataError(
            f"strength {strength!r} in {text!r} is not a number; give a share such as 0.1 or 10%"
        ) from None
    # 12 digits: 33.3% is 0.333, not 0.33299999999999996.
    return float(f"{value / 100 if percent else value:.12g}")
