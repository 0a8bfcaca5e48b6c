"""What the numbers of a constant say of it, wherever it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# What is added to attention scores to rule a place out: from Swin's -100 to -infinity.
_RULED_OUT = -100.0


@dataclass(frozen=True)
class Patterns:
    """Constants that stand out by their numbers.

    Attributes:
        filled: Those whose values are all alike, as zero biases and unit scales are.
        masks: Those that let some values through and rule others out, which nobody has learnt.
    """

    filled: frozenset[str]
    masks: frozenset[str]

    @classmethod
    def of(cls, values: Mapping[str, torch.Tensor]) -> Patterns:
        """What stands out among ``values``, floats of any shape by name."""
        return cls(
            filled=frozenset(name for name, value in values.items() if is_filled(value)),
            masks=frozenset(name for name, value in values.items() if is_mask(value)),
        )


def is_filled(value: torch.Tensor) -> bool:
    """Whether all values, more than one, are alike."""
    return value.numel() > 1 and bool((value == value.reshape(-1)[0]).all())


def is_mask(value: torch.Tensor) -> bool:
    """Whether there is nothing but 0 and another value: 1 in a table, or one of -100 or less.

    A list of zeros and ones, on the other hand, could be the bias or the scale of a small model.
    """
    low, high = (value.min(), value.max()) if value.numel() else (value, value)
    if not value.numel() or low == high or not bool(((value == low) | (value == high)).all()):
        return False
    is_table = sum(size > 1 for size in value.shape) > 1
    return bool(high == 0 and low <= _RULED_OUT) or bool(low == 0 and high == 1 and is_table)
