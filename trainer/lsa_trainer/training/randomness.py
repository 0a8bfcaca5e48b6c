"""Random numbers in torch without hidden state: each is a pure function of what it is drawn for.

A number follows from the seed, the stream, the draw, the sample's position and the element alone. So it
does not depend on the batch that the sample is in, on the device, or on what was drawn before, and a
run that goes on from a checkpoint draws what it would have drawn.

The generator is SplitMix64 (Steele, Lea and Flood 2014): every sample has a sequence of its own, whose
start is the hash of all of the above but the element. Integers wrap in torch as they do in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

# Users of one seed; attacks of a training run take theirs from lsa_onnx.
SPLIT_STREAM = 32
ORDER_STREAM = 33
AUGMENTATION_STREAM = 34

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
# (shift, factor) of the two first steps of the finaliser, and the shift of the last.
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31


def derived(seed: int, *words: int) -> int:
    """A seed of 64 bits for one purpose: a hash of ``seed`` and, in their order, ``words``."""
    state = _mixed(seed + _GAMMA)
    for word in words:
        state = _mixed((state ^ word) + _GAMMA)
    return state


def counter_bits(key: int, positions: Tensor, words: int) -> Tensor:
    """Random words of 64 bits, shape (n, words), int64.

    Args:
        key: What they are for, see ``derived``.
        positions: Of the samples, shape (n,), int64; the result is on their device.
        words: For each sample.
    """
    starts = _mix_((positions ^ _signed(key & _MASK)).add_(_signed(_GAMMA)))
    steps = torch.arange(1, words + 1, device=positions.device).mul_(_signed(_GAMMA))
    return _mix_(starts[:, None] + steps)


def counter_uniform(
    seed: int,
    stream: int,
    positions: Tensor,
    shape: Sequence[int],
    *,
    draw: int = 0,
    dtype: Any = torch.float32,
    device: Any = None,
) -> Tensor:
    """Uniform numbers in [0, 1), shape (n, *shape): the same ones on every device, in any batch.

    Args:
        seed: Any integer.
        stream: Tells users of one seed apart.
        positions: Of the samples, shape (n,), int64.
        shape: Of what one sample gets.
        draw: Number of the draw.
        dtype: float32 (multiples of 2⁻²⁴) or float64 (of 2⁻⁵³).
        device: Of the result; ``None`` for that of ``positions``.
    """
    positions = positions.to(device) if device is not None else positions
    key, count = derived(seed, stream, draw), math.prod(shape)
    numbers = _doubles if dtype == torch.float64 else _floats
    return numbers(key, positions, count).reshape(len(positions), *shape)


def counter_normal(
    seed: int,
    stream: int,
    positions: Tensor,
    shape: Sequence[int],
    *,
    draw: int = 0,
    dtype: Any = torch.float32,
    device: Any = None,
) -> Tensor:
    """Standard normal numbers by Box and Muller, otherwise as ``counter_uniform``.

    Logarithm and sine differ between devices in the last place of float64, hence so may float64
    numbers. For float32 both are rounded first, which hides it but for one number in some 10⁸.
    """
    positions = positions.to(device) if device is not None else positions
    key, count = derived(seed, stream, draw), math.prod(shape)
    pairs = (count + 1) // 2
    uniform = _doubles(key, positions, 2 * pairs)
    # 1 − u is exact and never zero.
    radius = (1 - uniform[:, :pairs]).log_().mul_(-2).to(dtype).sqrt_()
    angle = uniform[:, pairs:].mul_(2 * math.pi)
    both = torch.stack([torch.cos(angle).to(dtype), angle.sin_().to(dtype)], dim=1)
    return both.mul_(radius[:, None]).flatten(1)[:, :count].reshape(len(positions), *shape)


@dataclass(frozen=True, eq=False)
class TorchRandomness:
    """``lsa_onnx.attacks.randomness.Randomness`` for torch, drawn on the device.

    Attributes:
        seed: See ``derived``; of one step of training, say.
        stream: Tells users of one seed apart.
        positions: Of the samples, shape (n,), int64; best on the device of the batch.
    """

    seed: int
    stream: int
    positions: Tensor

    def uniform(self, shape: tuple[int, ...], draw: int, like: Tensor) -> Tensor:
        """See ``Randomness.uniform``."""
        return counter_uniform(
            self.seed, self.stream, self.positions, shape, draw=draw, **_as(like)
        )

    def normal(self, shape: tuple[int, ...], draw: int, like: Tensor) -> Tensor:
        """See ``Randomness.normal``."""
        return counter_normal(self.seed, self.stream, self.positions, shape, draw=draw, **_as(like))

    def rows(self, mask: Tensor) -> TorchRandomness:
        """See ``Randomness.rows``."""
        return replace(self, positions=self.positions[mask.to(self.positions.device)])


def _as(like: Tensor) -> dict[str, Any]:
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return {"dtype": dtype, "device": like.device}


def _floats(key: int, positions: Tensor, count: int) -> Tensor:
    """Uniform float32, shape (n, count); each word serves twice."""
    halves = counter_bits(key, positions, (count + 1) // 2).view(torch.int32)[:, :count]
    return (halves >> 8).bitwise_and_(0xFFFFFF).to(torch.float32).mul_(2.0**-24)


def _doubles(key: int, positions: Tensor, count: int) -> Tensor:
    """Uniform float64, shape (n, count)."""
    return _shifted(counter_bits(key, positions, count), 11).to(torch.float64).mul_(2.0**-53)


def _mix_(words: Tensor) -> Tensor:
    """SplitMix64's finaliser, in place."""
    for shift, factor in _STEPS:
        words.bitwise_xor_(_shifted(words, shift)).mul_(_signed(factor))
    return words.bitwise_xor_(_shifted(words, _LAST_SHIFT))


def _shifted(words: Tensor, by: int) -> Tensor:
    """Shifted to the right, zeros moving in; torch itself moves the sign in."""
    return (words >> by).bitwise_and_((1 << (64 - by)) - 1)


def _mixed(word: int) -> int:
    """``_mix_`` for one word, given and returned without sign."""
    word &= _MASK
    for shift, factor in _STEPS:
        word = (word ^ (word >> shift)) * factor & _MASK
    return word ^ (word >> _LAST_SHIFT)


def _signed(word: int) -> int:
    """The int64 of the same 64 bits."""
    return word - (1 << 64) if word >> 63 else word
