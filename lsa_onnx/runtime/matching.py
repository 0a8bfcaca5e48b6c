"""Where the samples of a batch are in a tensor, found by comparing runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Sums = tuple[Array, Array, Array]

UNVARYING = "it is the same for every sample"


@dataclass(frozen=True)
class Place:
    """Where the samples of a tensor are.

    ``rows`` consecutive entries of ``axis`` belong to a sample; where they are ``interleaved``, the
    first entries of all samples come first, then the second ones. ``error`` is the largest relative
    difference found there.
    """

    axis: int
    rows: int
    error: float
    interleaved: bool = False


def locate(singles: Sequence[Array], batched: Array, tolerance: float) -> Place | str:
    """The axis along which ``batched`` is made of ``singles``, or what is wrong."""
    shape = singles[0].shape
    if any(single.shape != shape for single in singles):
        return "has a shape that depends on the sample's values"
    if batched.shape == shape:
        return UNVARYING if _same(singles, batched, tolerance) else "mixes the samples of a batch"
    same_rank = batched.ndim == len(shape)
    grown = [a for a in range(len(shape)) if same_rank and batched.shape[a] != shape[a]]
    if len(grown) != 1 or batched.shape[grown[0]] != len(singles) * shape[grown[0]]:
        return f"has shape {list(batched.shape)} in a batch, {list(shape)} alone"
    axis, rows, count = grown[0], shape[grown[0]], len(singles)
    error = np.inf
    for interleaved in (False, True)[: 1 if rows == 1 else 2]:
        parts = _parts(batched, count, axis, interleaved=interleaved)
        pairs = zip(parts, singles, strict=True)
        error = max(relative_difference(part, one) for part, one in pairs)
        if error <= tolerance:
            return Place(axis, rows, error, interleaved)
    if rows > 1:
        return f"merges samples with other entries along axis {axis}"
    return f"differs by {error:.2g} (relative) between a batch and single runs"


def _parts(batched: Array, count: int, axis: int, *, interleaved: bool) -> list[Array]:
    if not interleaved:
        return np.split(batched, count, axis=axis)
    length = batched.shape[axis]
    return [np.take(batched, range(i, length, count), axis=axis) for i in range(count)]


def _same(singles: Sequence[Array], batched: Array, tolerance: float) -> bool:
    return all(relative_difference(batched, single) <= tolerance for single in singles)


def relative_difference(a: Array, b: Array) -> float:
    """‖a − b‖ / ‖b‖ of two arrays of one shape; equal NaN and infinities count as no difference."""
    if not np.issubdtype(a.dtype, np.number) or np.issubdtype(a.dtype, np.integer):
        return 0.0 if np.array_equal(a, b) else float("inf")
    first, second = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        equal = (first == second) | (np.isnan(first) & np.isnan(second))
        difference = np.where(equal, 0.0, first - second)
    norm = float(np.linalg.norm(np.where(np.isfinite(second), second, 0.0)))
    distance = float(np.linalg.norm(difference))
    return distance / norm if norm > 0 else (0.0 if distance == 0 else float("inf"))


def own_axis(
    first: Array, rolled: Array, changed: Array, size: int, tolerance: float
) -> int | None:
    """The axis of a tensor that counts the samples of a batch of ``size``, ``None`` without one.

    Args:
        first: The tensor for some samples.
        rolled: The same with the samples rolled by one.
        changed: The same with sample 0 replaced by sample 1.
        size: Samples in the batch.
        tolerance: Largest relative difference of what should be equal.
    """

    def close(a: Array, b: Array) -> bool:
        return relative_difference(a, b) <= tolerance

    if not first.shape == rolled.shape == changed.shape or not first.size:
        return None
    for axis, length in enumerate(first.shape):
        if length != size or not close(rolled, np.roll(first, 1, axis=axis)):
            continue
        as_first = np.take(first, [1, *range(1, size)], axis=axis)
        if close(changed, as_first):
            return axis
    return None


def distinct(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Probe samples of which no two are alike: equal ones would show no mixing of samples.

    A sample that equals an earlier one is scaled and shifted a little, in the first input.

    Args:
        feeds: Input name → samples, shape (k, ...).

    Returns:
        The same arrays, or for the first input a changed copy.
    """
    changed = dict(feeds)
    name = next(iter(feeds))
    values = feeds[name]
    if values.dtype.kind != "f":
        return changed
    seen: set[bytes] = set()
    for index, sample in enumerate(values):
        content = b"".join(np.ascontiguousarray(x[index]).tobytes() for x in feeds.values())
        if content in seen:
            share = index / len(values)
            changed[name] = changed[name].copy() if changed[name] is values else changed[name]
            changed[name][index] = sample * (1 - share / 2) + share / 10
        seen.add(content)
    return changed


def stack_rows(parts: Sequence[Array]) -> Array:
    """Batches, each (n_i, ...), as one array (n, ...).

    Where samples differ in shape the result is an object array, shape (n,), of their arrays: no
    figure can be computed from it, and nothing breaks.
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts, axis=0)
    rows = [row for part in parts for row in part]
    result = np.empty(len(rows), dtype=object)
    result[:] = [np.asarray(row) for row in rows]
    return result


def sums_of_neighbours(values: Sequence[Array]) -> Sums:
    """‖a − b‖², ‖a‖² and ‖b‖² of each value a against the next one b."""
    flat = [value.astype(np.float64).reshape(-1) for value in values]
    following = [*flat[1:], flat[0]]
    with np.errstate(invalid="ignore", over="ignore"):
        difference = [float(((a - b) ** 2).sum()) for a, b in zip(flat, following, strict=True)]
        squares = [float((a**2).sum()) for a in flat]
    return np.asarray(difference), np.asarray(squares), np.asarray([*squares[1:], squares[0]])
