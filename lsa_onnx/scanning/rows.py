"""Outputs of several runs put together, also where their shape depends on the sample's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def join_rows(parts: Sequence[Array]) -> Array:
    """Parts of shape (n, ...) one after the other.

    Where shapes differ beyond the first axis (a detector finds another number of boxes in each
    image), rows are filled up with NaN; what holds no numbers loses its values then.
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    if any(part.dtype.kind not in "fiub" for part in parts):
        return np.zeros((sum(map(len, parts)), 0), "U1")
    if len({part.ndim for part in parts}) > 1:
        parts = [part.reshape(len(part), -1) for part in parts]
    shape = tuple(np.max([part.shape[1:] for part in parts], axis=0).tolist())
    return np.concatenate([_filled(part, shape) for part in parts])


def same_shape(first: Array, second: Array) -> tuple[Array, Array]:
    """Two sets of rows (n, ...), filled up as by ``join_rows`` where their shapes differ."""
    if first.shape[1:] == second.shape[1:]:
        return first, second
    both = join_rows([first, second])
    return both[: len(first)], both[len(first) :]


def _filled(part: Array, shape: tuple[int, ...]) -> Array:
    found = np.full((len(part), *shape), np.nan)
    found[tuple(map(slice, part.shape))] = part
    return found
