"""What one sample is, and samples as a run takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """What one sample is, by the model's declared shapes.

    ``leading`` is 1 for a batch that is free or fixed to 1, N for one fixed to N, and ``None`` where
    the input has no batch axis: then the whole input is one sample and runs on its own.
    """

    sample_shape: tuple[int | None, ...] | None
    leading: int | None
    free: bool

    @property
    def told(self) -> str | None:
        """What one sample is, in words, where it is not a row of the input."""
        if self.leading is not None:
            return None
        sizes = " x ".join("?" if size is None else str(size) for size in self.sample_shape or ())
        if not sizes:
            return "one sample is the whole input, a single number: it has no dimensions"
        return f"one sample is the whole input, {sizes}: its leading dimension is not a batch"

    def feed(self, samples: Array) -> Array:
        """Samples, shape (n, ...), as the model takes them."""
        return samples if self.leading is not None else np.asarray(samples[0])


def input_layout(
    shape: Sequence[int | str | None] | None,
    outputs: Sequence[Sequence[int | str | None] | None],
    *,
    ids: bool = False,
) -> Layout:
    """What the leading dimension of an input of this declared shape means.

    A leading number above 1 counts samples only if every output leads with it too.

    Args:
        shape: Of the input.
        outputs: Shapes of the outputs.
        ids: The input holds ids. A list of them is a sample each if outputs lead with a dimension of the
            same name; a list of floats is a signal.
    """
    if shape is None:
        return Layout(None, 1, free=True)
    numbers = tuple(d if isinstance(d, int) else None for d in shape)
    named = ids and len(numbers) == 1 and isinstance(shape[0], str)
    if named and outputs and all(other and other[0] == shape[0] for other in outputs):
        return Layout((), 1, free=True)
    if len(numbers) < 2:
        return Layout(numbers, None, free=False)
    if numbers[0] is None or numbers[0] == 1:
        return Layout(numbers[1:], 1, free=numbers[0] is None)
    # A name in its place contradicts no number: exporters lose track behind control flow.
    if all(o and (o[0] == numbers[0] or not isinstance(o[0], int)) for o in outputs):
        return Layout(numbers[1:], numbers[0], free=False)
    return Layout(numbers, None, free=False)


def padded(x: Array, size: int) -> Array:
    """``x``, shape (n, ...), filled up to ``size`` rows with its last one: a fixed batch takes no fewer."""
    if len(x) == size:
        return x
    return np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)])
