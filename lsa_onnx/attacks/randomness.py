"""Random numbers that depend on the seed and the sample, and on nothing else.

The same sample gets the same numbers whatever the batch size, and whichever other samples are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.arrays import Array, namespace, wide

# Noises have the streams below.
ATTACK_STREAM = 16


class Randomness(Protocol):
    """Random numbers for n samples; ``draw`` numbers the draws of one sample, from 0 on."""

    def uniform(self, shape: tuple[int, ...], draw: int, like: Array) -> Array:
        """Uniform in [0, 1), shape ``(n, *shape)`` with one axis or more, as an array like ``like``.

        Of its type too, save that half precision, too coarse to draw positions with, gives float32.
        """

    def normal(self, shape: tuple[int, ...], draw: int, like: Array) -> Array:
        """Standard normal, otherwise as ``uniform``."""

    def rows(self, mask: Array) -> Randomness:
        """The numbers of the samples under ``mask``, shape (n,)."""


@dataclass(frozen=True, eq=False)
class SampleRandomness:
    """``Randomness`` that follows from seed, stream, the samples' positions and the draw alone.

    Attributes:
        seed: 0 to 2³² − 1.
        stream: Tells users of one seed apart.
        positions: Of the samples in the selection, shape (n,).
    """

    seed: int
    stream: int
    positions: NDArray[np.int64]

    @classmethod
    def of_batch(cls, seed: int, start: int, count: int) -> SampleRandomness:
        """For an attack on ``count`` samples from position ``start`` on."""
        return cls(seed, ATTACK_STREAM, np.arange(start, start + count))

    def uniform(self, shape: tuple[int, ...], draw: int, like: Array) -> Array:
        """See ``Randomness.uniform``."""
        numbers = self._empty(shape, like)
        for row, rng in zip(numbers, self._generators(draw), strict=True):
            row[...] = rng.random(shape, numbers.dtype)
        return _as(numbers, like)

    def normal(self, shape: tuple[int, ...], draw: int, like: Array) -> Array:
        """See ``Randomness.normal``."""
        numbers = self._empty(shape, like)
        for row, rng in zip(numbers, self._generators(draw), strict=True):
            row[...] = rng.standard_normal(shape, numbers.dtype)
        return _as(numbers, like)

    def rows(self, mask: Array) -> SampleRandomness:
        """See ``Randomness.rows``."""
        kept = np.asarray(mask.cpu() if array_api_compat.is_torch_array(mask) else mask, dtype=bool)
        return replace(self, positions=self.positions[kept])

    def _generators(self, draw: int) -> Iterator[np.random.Generator]:
        return generators(self.seed, self.stream, self.positions.tolist(), draw)

    def _empty(self, shape: tuple[int, ...], like: Array) -> NDArray[Any]:
        double = like.dtype == namespace(like).float64
        return np.empty((len(self.positions), *shape), np.float64 if double else np.float32)


def generators(
    seed: int, stream: int, positions: Iterable[int], draw: int = 0
) -> Iterator[np.random.Generator]:
    """A generator for each position; each is valid until the next is taken.

    Position and draw are the upper words of the counter of one Philox generator: setting them is far
    cheaper than making a generator per sample.
    """
    bits = np.random.Philox(key=[seed, stream])
    state: Any = bits.state
    generator = np.random.Generator(bits)
    for position in positions:
        state["state"]["counter"][:] = (0, draw, position, 0)
        bits.state = state
        yield generator


def signs(uniform: Array) -> Array:
    """−1 or 1 with equal chance, from uniform numbers in [0, 1)."""
    xp = namespace(uniform)
    one = xp.ones_like(uniform)
    return xp.where(uniform < 0.5, -one, one)


def _as(numbers: NDArray[Any], like: Array) -> Array:
    xp = namespace(like)
    return xp.asarray(numbers, dtype=wide(like).dtype, device=array_api_compat.device(like))
