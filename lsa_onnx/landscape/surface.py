"""The surface of one model over the plane through its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Fgsm
from lsa_onnx.attacks.base import Batch
from lsa_onnx.attacks.oracle import Oracle
from lsa_onnx.landscape.curvature import STEP_SHARE, Curvatures, gradient_change
from lsa_onnx.landscape.directions import open_plane
from lsa_onnx.landscape.opening import Opened
from lsa_onnx.report.landscape import Surface
from lsa_onnx.scanning.adversary import Adversary
from lsa_onnx.scanning.listener import Listener

Array = NDArray[Any]
Grid = list[list["float | None"]]


@dataclass(frozen=True)
class Sheet:
    """All that one surface is drawn from.

    Attributes:
        index: Which of the models it is.
        opened: The model.
        adversary: Its objective, and gradients of that.
        attack: The single step along the first axis.
        values: Coordinates along each axis, in units of the declared range.
    """

    index: int
    opened: Opened
    adversary: Adversary
    attack: Fgsm
    values: Sequence[float]


@dataclass(frozen=True)
class Drawn:
    """A surface, and what is to be doubted about it.

    Attributes:
        surface: It.
        saturated: Share of samples whose cross-entropy rounds to 0, ``None`` without classes.
        flat: Share of samples whose gradient is 0.
    """

    surface: Surface
    saturated: float | None
    flat: float


class _Sums:
    """Over samples, at each point of the plane."""

    def __init__(self, points: int, *, classes: bool) -> None:
        self.loss = np.zeros((points, points))
        self.right = np.zeros((points, points), np.int64)
        self.classes = classes
        self.saturated: list[Array] = []
        self.flat: list[Array] = []


def draw_surface(sheet: Sheet, listener: Listener) -> Drawn:
    """The objective and the accuracy over the plane, each the mean over all samples."""
    opened, total = sheet.opened, len(sheet.opened.subject.dataset)
    points = len(sheet.values)
    sums = _Sums(points, classes=opened.labels is not None)
    curvatures = Curvatures(_step(sheet), _spacing(sheet), sheet.attack.seed)
    listener.begin(f"landscape of {opened.name}", total * points**2)
    for start in range(0, total, opened.running.batch):
        feeds, _ = opened.subject.feeds(start, min(start + opened.running.batch, total))
        _add(sheet, start, feeds, sums, curvatures, listener)
    surface = Surface(
        model=sheet.index,
        proposal="none",
        gammas={},
        loss=_finite(sums.loss / total),
        accuracy=cast("Grid", (sums.right / total).tolist()) if sums.classes else None,
        curvatures=curvatures.records(),
    )
    saturated = float(np.concatenate(sums.saturated).mean()) if sums.saturated else None
    return Drawn(surface, saturated, float(np.concatenate(sums.flat).mean()))


def _add(
    sheet: Sheet,
    start: int,
    feeds: dict[str, Array],
    sums: _Sums,
    curvatures: Curvatures,
    listener: Listener,
) -> None:
    """One batch of samples, at every point."""
    batch = sheet.adversary.batch(sheet.attack, start, feeds)
    oracle = sheet.attack.oracle(batch)
    plane = open_plane(sheet.attack, oracle, batch)
    diagnosis = sheet.adversary.diagnose(sheet.attack, batch)
    sums.flat.append(plane.flat)
    if diagnosis.saturated is not None:
        sums.saturated.append(diagnosis.saturated)
    for i, a in enumerate(sheet.values):
        for j, b in enumerate(sheet.values):
            x = plane.point(a, b)
            sums.loss[i, j] += _loss(oracle, batch, x).sum()
            sums.right[i, j] += _right(sheet.opened, start, {**feeds, _input(sheet): x}, sums)
            listener.advance(len(x))
    change = gradient_change(oracle, batch.goal, plane, _step(sheet))
    near = [_loss(oracle, batch, plane.along(t * _spacing(sheet))) for t in (-1, 0, 1)]
    curvatures.add(start, plane, change, near)


def _loss(oracle: Oracle, batch: Batch, x: Array) -> Array:
    """Of each sample, shape (n,), in double precision."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(oracle(x, batch.goal, gradient=False).loss).astype(np.float64)


def _right(opened: Opened, start: int, feeds: dict[str, Array], sums: _Sums) -> int:
    """How many samples the untouched model gets right there."""
    if opened.labels is None or not sums.classes:
        return 0
    predicted = opened.deployed.classes(feeds)
    if predicted is None:
        sums.classes = False
        return 0
    return int((predicted == opened.labels[start : start + len(predicted)]).sum())


def _input(sheet: Sheet) -> str:
    return sheet.opened.subject.input.name


def _spacing(sheet: Sheet) -> float:
    middle = len(sheet.values) // 2
    return sheet.values[middle + 1] - sheet.values[middle]


def _step(sheet: Sheet) -> float:
    return STEP_SHARE * sheet.opened.subject.spec.width


def _finite(values: Array) -> Grid:
    """As a document holds them: ``None`` where a mean is not finite."""
    rows = values.tolist()
    return [[value if np.isfinite(value) else None for value in row] for row in rows]
