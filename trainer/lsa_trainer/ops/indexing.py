"""Operators that read and write at indices. A negative index counts from the end."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Ints, operator
from lsa_trainer.ops.unsigned import through_int64

# ONNX's reduction → torch's.
_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Gather")
@through_int64
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """The entries of x at ``indices`` (any shape), which take the place of the axis."""
    places = _from_start(indices, x, axis)
    if axis == 0 and x.dim() == 2 and x.is_floating_point():
        return F.embedding(places, x)
    axis %= x.dim()
    picked = x.index_select(axis, places.reshape(-1))
    return picked.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


@operator("GatherElements")
@through_int64
def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """For each index the entry of x there, at the index's own place along the other axes."""
    return x.gather(axis, _from_start(indices, x, axis).long())


@operator("GatherND")
@through_int64
def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """The slices of x at the rows of ``indices`` (batch..., ..., k), within each batch."""
    batch, depth = x.shape[:batch_dims], indices.shape[-1]
    addressed, rest = x.shape[batch_dims : batch_dims + depth], x.shape[batch_dims + depth :]
    count, size = math.prod(batch), math.prod(addressed)
    within = _flat(indices, addressed, x.device).reshape(count, -1)
    first = torch.arange(count, device=x.device).unsqueeze(1) * size
    rows = x.reshape(count * size, math.prod(rest))
    return rows.index_select(0, (within + first).reshape(-1)).reshape(indices.shape[:-1] + rest)


@operator("ScatterElements")
@through_int64
def scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """``x`` with the updates written, or combined with what stands there, at the indices."""
    return _scatter(x, axis, _from_start(indices, x, axis).long(), updates, reduction)


@operator("ScatterND")
@through_int64
def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """``x`` with slices written, or combined with what stands there, at the rows of ``indices``."""
    depth = indices.shape[-1]
    addressed, rest = x.shape[:depth], x.shape[depth:]
    places = _flat(indices, addressed, x.device).reshape(-1)
    width = math.prod(rest)
    rows, new = x.reshape(math.prod(addressed), width), updates.reshape(places.numel(), width)
    if reduction == "none":
        return rows.index_copy(0, places, new).reshape(x.shape)
    if reduction == "add":
        return rows.index_add(0, places, new).reshape(x.shape)
    everywhere = places.unsqueeze(1).expand(new.shape)
    return _scatter(rows, 0, everywhere, new, reduction).reshape(x.shape)


@operator("TensorScatter")
def tensor_scatter(
    cache: Tensor,
    update: Tensor,
    write_indices: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Tensor:
    """The cache (b, ..., length, ...) with the update written from each sample's index on."""
    axis %= cache.dim()
    steps = torch.arange(update.shape[axis], device=cache.device)
    places = steps.expand(cache.shape[0], -1)
    if write_indices is not None:
        places = places + write_indices.to(cache.device).unsqueeze(1)
    if mode == "circular":
        places = places % cache.shape[axis]
    aligned = [places.shape[i == axis] if i in (0, axis) else 1 for i in range(cache.dim())]
    return cache.scatter(axis, places.reshape(aligned).expand(update.shape), update)


@operator("OneHot")
def one_hot(indices: Tensor, depth: Ints, values: Tensor, *, axis: int = -1) -> Tensor:
    """values[1] at each index along a new axis of length ``depth``, values[0] elsewhere."""
    length = int(depth[0])
    axis %= indices.dim() + 1
    places = indices.long().unsqueeze(axis)
    classes = torch.arange(length, device=indices.device)
    classes = classes.reshape([-1 if i == axis else 1 for i in range(places.dim())])
    hit = (places == classes) | (places == classes - length)
    off, on = values.to(indices.device).unbind()
    return torch.where(hit, on, off)


def _from_start(indices: Tensor, x: Tensor, axis: int) -> Tensor:
    """The same places, on x's device, counted from the start of its axis."""
    places = indices.to(x.device)
    return torch.where(places < 0, places + x.shape[axis], places)


def _flat(indices: Tensor, shape: torch.Size, device: torch.device) -> Tensor:
    """Rows (..., k) of indices into the k axes of ``shape`` → indices (...) into those axes, flat."""
    flat = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=device)
    for index, length in zip(indices.to(device).unbind(-1), shape, strict=True):
        flat = flat * length + torch.where(index < 0, index + length, index)
    return flat


def _scatter(x: Tensor, axis: int, places: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return x.scatter(axis, places, updates)
    if reduction == "add":
        return x.scatter_add(axis, places, updates)
    return x.scatter_reduce(axis, places, updates, _REDUCTIONS[reduction])
