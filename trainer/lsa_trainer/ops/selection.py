"""Operators that keep as many entries as the data says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lsa_trainer.ops.registry import Floats, Ints, operator
from lsa_trainer.ops.unsigned import signed, through_int64


@operator("NonZero")
def non_zero(x: Tensor) -> Tensor:
    """Indices (rank, n) of the entries that are not 0, in order."""
    return torch.atleast_1d(signed(x)).nonzero().t()


@operator("Compress")
@through_int64
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """The entries along the axis, or of x as a list, where ``condition`` (up to its length) holds."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    return x.index_select(axis, condition.to(x.device).nonzero().squeeze(1))


@operator("Unique")
def unique(
    x: Tensor,
    *,
    axis: int | None = None,
    sorted: int = 1,  # noqa: A002 - ONNX's name
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The different entries (or slices along the axis), where each comes first, which is where, how often."""
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True, dim=axis)
    inverse, along = inverse.reshape(-1), axis or 0
    places = torch.arange(inverse.numel(), device=x.device)
    first = torch.full_like(counts, inverse.numel()).scatter_reduce(0, inverse, places, "amin")
    if sorted:
        return values, first, inverse, counts
    order = first.argsort()
    rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=x.device))
    return values.index_select(along, order), first[order], rank[inverse], counts[order]


@operator("NonMaxSuppression")
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Ints | None = None,
    iou_threshold: Floats | None = None,
    score_threshold: Floats | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """Rows (sample, class, box) of the best boxes that do not overlap a better one too much.

    Args:
        boxes: (n, boxes, 4).
        scores: (n, classes, boxes).
        max_output_boxes_per_class: For each sample and class; none without it.
        iou_threshold: Intersection over union above which the lesser box goes.
        score_threshold: Only boxes with a higher score are looked at.
        center_point_box: Boxes are (x, y, width, height) around the centre instead of two corners
            (y, x, y, x).
    """
    limit = max_output_boxes_per_class[0] if max_output_boxes_per_class else 0
    overlap = iou_threshold[0] if iou_threshold else 0.0
    floor = score_threshold[0] if score_threshold else -math.inf
    order, alive = _candidates(scores, floor)
    boxes = boxes.unsqueeze(1).expand(-1, scores.shape[1], -1, -1)
    corners = _corners(_at(boxes, order), center_point_box)
    # One round finds the next box of every sample and class.
    picked = []
    for _ in range(min(limit, order.shape[2])):
        index = alive.to(torch.uint8).argmax(2, keepdim=True)
        found = alive.gather(2, index)
        if not found.any():
            break
        picked.append(torch.where(found, order.gather(2, index), -1))
        gone = _overlap(corners, index) > overlap
        alive = alive & ~gone.scatter(2, index, True)
    return _rows(picked, scores)


def _candidates(scores: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Boxes (n, classes, k) by falling score, and which of them have more than ``floor``."""
    ranked, order = scores.sort(dim=2, descending=True, stable=True)
    alive = ranked > floor
    count = int(alive.flatten(0, 1).any(0).sum())
    return order[..., :count], alive[..., :count]


def _at(boxes: Tensor, index: Tensor) -> Tensor:
    """The entries (n, classes, k, ...) of boxes (n, classes, b, ...) at index (n, classes, k)."""
    return boxes.gather(2, index.unsqueeze(-1).expand(*index.shape, boxes.shape[-1]))


def _rows(picked: list[Tensor], scores: Tensor) -> Tensor:
    if not picked:
        return torch.zeros(0, 3, dtype=torch.int64, device=scores.device)
    chosen = torch.cat(picked, 2)
    where = (chosen >= 0).nonzero()
    return torch.cat([where[:, :2], chosen[tuple(where.t())].unsqueeze(1)], 1)


def _corners(boxes: Tensor, center_point_box: int) -> tuple[Tensor, Tensor]:
    """The lower and the upper corners (..., 2) of boxes (..., 4)."""
    a, b = boxes.split(2, -1)
    if center_point_box:
        return a - b / 2, a + b / 2
    return torch.minimum(a, b), torch.maximum(a, b)


def _overlap(corners: tuple[Tensor, Tensor], index: Tensor) -> Tensor:
    """Intersection over union (n, classes, k) of each box with the one at ``index`` (n, classes, 1)."""
    low, high = corners
    low_best, high_best = _at(low, index), _at(high, index)
    sides = (torch.minimum(high, high_best) - torch.maximum(low, low_best)).clamp(min=0)
    shared = sides.prod(-1)
    union = (high - low).prod(-1) + (high_best - low_best).prod(-1) - shared
    return torch.where(shared > 0, shared / union, 0.0)
