"""Padding and cropping."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor

from lsa_trainer.ops.registry import Ints, Scalar, operator
from lsa_trainer.ops.unsigned import through_int64

# ONNX's mode → torch's.
_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Pad")
@through_int64
def pad(
    x: Tensor,
    pads: Ints,
    constant_value: Scalar | None = None,
    axes: Ints | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """``x`` with entries added, or taken away where a pad is negative, at both ends of the axes."""
    axes = list(range(x.dim())) if axes is None else axes
    ends: list[tuple[int, int]] = [(0, 0)] * x.dim()
    for i, axis in enumerate(axes):
        ends[axis] = (pads[i], pads[i + len(axes)])
    if mode == "constant":
        return _with_constant(x, _as_torch_lists(ends), constant_value)
    cropped = torch.constant_pad_nd(x, _as_torch_lists([(min(a, 0), min(b, 0)) for a, b in ends]))
    return _with_own_entries(cropped, [(max(a, 0), max(b, 0)) for a, b in ends], mode)


@operator("CenterCropPad")
def center_crop_pad(x: Tensor, shape: Ints, *, axes: Ints | None = None) -> Tensor:
    """The middle of x, or x in the middle of zeros, along each of the axes."""
    axes = list(range(x.dim())) if axes is None else axes
    ends: list[tuple[int, int]] = [(0, 0)] * x.dim()
    for axis, target in zip(axes, shape, strict=True):
        missing = target - x.shape[axis]
        # The odd entry is added, or taken away, at the end.
        before = missing // 2 if missing > 0 else -(-missing // 2)
        ends[axis] = (before, missing - before)
    return torch.constant_pad_nd(x, _as_torch_lists(ends))


def _with_constant(x: Tensor, pads: Ints, value: Scalar | None) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.constant_pad_nd(x, pads, value or 0)
    # A value that the graph computes: its gradient is wanted, and reading it would wait for the device.
    inside = torch.constant_pad_nd(torch.ones_like(x, dtype=torch.bool), pads)
    return torch.where(inside, torch.constant_pad_nd(x, pads), value.reshape(()))


def _with_own_entries(x: Tensor, ends: list[tuple[int, int]], mode: str) -> Tensor:
    if _is_known_to_torch(x, ends):
        spatial = x.dim() - 2
        return F.pad(x, _as_torch_lists(ends)[: 2 * spatial], _MODES[mode])
    for axis, (before, after) in enumerate(ends):
        if before or after:
            length = x.shape[axis]
            places = torch.arange(-before, length + after, device=x.device)
            x = x.index_select(axis, _source(places, length, mode))
    return x


def _is_known_to_torch(x: Tensor, ends: list[tuple[int, int]]) -> bool:
    """Whether only the spatial axes of a batch of images grow, by less than their length."""
    if not (x.is_floating_point() and 3 <= x.dim() <= 5 and ends[:2] == [(0, 0), (0, 0)]):
        return False
    return all(max(pair) < n for pair, n in zip(ends, x.shape, strict=True))


def _source(places: Tensor, length: int, mode: str) -> Tensor:
    """The entry that stands at each place, 0 being the place of the first."""
    if mode == "edge":
        return places.clamp(0, length - 1)
    if mode == "wrap":
        return places % length
    period = max(2 * (length - 1), 1)
    return length - 1 - (places % period - (length - 1)).abs()


def _as_torch_lists(ends: list[tuple[int, int]]) -> Ints:
    """Torch begins with the last axis."""
    return [n for pair in reversed(ends) for n in pair]
