"""Operators that move entries without computing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lsa_trainer.ops.registry import Ints, operator
from lsa_trainer.ops.unsigned import through_int64

# "To the end" may be any large number; torch warns of those that do not fit its own integers.
_FAR = 1 << 61


@operator("Identity")
def identity(x: Any) -> Any:
    """x, also where it is a sequence or an optional."""
    return x


@operator("Reshape")
def reshape(x: Tensor, shape: Ints, *, allowzero: int = 0) -> Tensor:
    """``x`` with another shape: -1 is what remains, 0 the length that x has there."""
    if not allowzero:
        shape = [n or x.shape[i] for i, n in enumerate(shape)]
    return x.reshape(shape)


@operator("Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """``x`` as a matrix: the axes before ``axis`` are its rows."""
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def transpose(x: Tensor, *, perm: Ints | None = None) -> Tensor:
    """``x`` with its axes in the order ``perm``, reversed without it."""
    return x.permute(list(reversed(range(x.dim()))) if perm is None else perm)


@operator("Squeeze")
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """``x`` without these axes of length 1, without all such axes where none are named."""
    return x.squeeze(axes) if axes else x.squeeze()


@operator("Unsqueeze")
def unsqueeze(x: Tensor, axes: Ints) -> Tensor:
    """``x`` with axes of length 1 at these places of the result."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def concat(*tensors: Tensor, axis: int) -> Tensor:
    """The tensors one after the other."""
    return torch.cat(tensors, axis)


@operator("Split")
def split(
    x: Tensor,
    sizes: Ints | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int = 1,
) -> tuple[Tensor, ...]:
    """``x`` in pieces of these sizes; of one size, the last one smaller, where none are given."""
    if sizes is None:
        length, count = x.shape[axis], num_outputs or outputs
        size = -(-length // count)
        sizes = [max(min(size, length - i * size), 0) for i in range(count)]
    return tuple(x.split(sizes, axis))


@operator("Slice")
def slice_(
    x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Tensor:
    """x[starts:ends:steps] along each of the axes, read as Python reads it."""
    steps = steps or [1] * len(starts)
    axes = list(range(len(starts))) if axes is None else axes
    cuts = [slice(None)] * x.dim()
    backward = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cuts[axis] = slice(max(start, -_FAR), min(max(end, -_FAR), _FAR), step)
        if step < 0:
            cuts[axis] = _forward(cuts[axis], x.shape[axis])
            backward.append(axis)
    cut = x[tuple(cuts)]
    return cut.flip(backward) if backward else cut


@operator("Expand")
def expand(x: Tensor, shape: Ints) -> Tensor:
    """x, broadcast with ``shape``; its own axes may be the longer ones."""
    rank = max(x.dim(), len(shape))
    own = [1] * (rank - x.dim()) + list(x.shape)
    wanted = [1] * (rank - len(shape)) + shape
    return x.expand([b if a == 1 else a for a, b in zip(own, wanted, strict=True)])


@operator("Tile")
def tile(x: Tensor, repeats: Ints) -> Tensor:
    """x, that many times along each axis."""
    return x.repeat(repeats)


@operator("Trilu")
@through_int64
def trilu(x: Tensor, k: Ints | None = None, *, upper: int = 1) -> Tensor:
    """What lies on and above (or below) the k-th diagonal, 0 elsewhere."""
    diagonal = k[0] if k else 0
    return x.triu(diagonal) if upper else x.tril(diagonal)


@operator("ReverseSequence")
def reverse_sequence(
    x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    """``x`` with the first ``lengths[b]`` (b,) steps of sample b in reversed order."""
    sequences = x.movedim((batch_axis, time_axis), (0, 1))
    batch, steps = sequences.shape[:2]
    step = torch.arange(steps, device=x.device)
    length = lengths.to(x.device).unsqueeze(1)
    source = torch.where(step < length, length - 1 - step, step)
    sample = torch.arange(batch, device=x.device).unsqueeze(1)
    return sequences[sample, source].movedim((0, 1), (batch_axis, time_axis))


def _forward(backward: slice, length: int) -> slice:
    """The same entries from the first to the last: torch has no negative steps."""
    entries = range(length)[backward]
    return slice(entries[-1], entries[0] + 1, -entries.step) if entries else slice(0, 0)
