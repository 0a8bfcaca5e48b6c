"""The plane of two features: where it lies, and what a model says all over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.landscape.opening import Opened
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.report.boundary import Region
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]

FEATURES = 2
# Of what the samples span, on either side of them.
_MARGIN = 0.1
_READ = 4096


@dataclass(frozen=True)
class Grid:
    """The points at which models are asked: ``xs`` of the first feature times ``ys`` of the second."""

    xs: NDArray[np.float64]
    ys: NDArray[np.float64]

    def points(self, start: int, stop: int) -> Array:
        """Points ``start`` to ``stop``, shape (n, 2), the first feature changing fastest."""
        rows, columns = np.divmod(np.arange(start, stop), len(self.xs))
        return np.stack([self.xs[columns], self.ys[rows]], axis=1)


def require_two_features(subject: Subject) -> None:
    """That a sample is two numbers.

    Raises:
        DataError: It is not.
    """
    shape = subject.dataset.sample_shape
    if int(np.prod(shape)) != FEATURES:
        raise DataError(
            f"a decision boundary is drawn over two features, and a sample of {subject.input.name!r} of "
            f"{str(subject.model.path)!r} has the shape {shape}; give a model whose input is (n, 2), or use "
            "`lsa-onnx landscape`, which any model can have"
        )


def all_points(subject: Subject) -> Array:
    """The samples, shape (samples, 2), in units of the declared range."""
    total = len(subject.dataset)
    parts = [subject.dataset.batch(i, min(i + _READ, total))[0] for i in range(0, total, _READ)]
    return np.concatenate(parts).reshape(total, FEATURES).astype(np.float64)


def lay_grid(
    points: Array, subject: Subject, count: int, extent: tuple[float, float] | None
) -> Grid:
    """``count`` points along each feature, over ``extent`` or what the samples span and a margin.

    It never leaves the declared range.

    Raises:
        DataError: ``extent`` does.
    """
    low, high = subject.spec.low, subject.spec.high
    if extent is not None and not low <= extent[0] < extent[1] <= high:
        raise DataError(
            f"--extent {extent[0]:g},{extent[1]:g} leaves the declared range {low:g} to {high:g}; give "
            "numbers within it, or declare the range that the data have with --range"
        )
    if extent is not None:
        axis = np.linspace(*extent, count)
        return Grid(axis, axis)
    least, most = points.min(axis=0), points.max(axis=0)
    # Samples on one line still need a plane around them.
    margin = _MARGIN * np.where(most > least, most - least, subject.spec.width)
    ends = zip(np.maximum(least - margin, low), np.minimum(most + margin, high), strict=True)
    return Grid(*(np.linspace(*each, count) for each in ends))


def region(index: int, opened: Opened, head: Head, grid: Grid, listener: Listener) -> Region:
    """What one model says over the grid.

    Raises:
        ModelError: It gives no class to each point.
    """
    classes, margins = [], []
    listener.begin(f"boundary of {opened.name}", len(grid.xs) * len(grid.ys))
    for outputs, count in _answers(opened, grid):
        found = predicted_classes(head, outputs)
        if found is None:
            raise ModelError(
                f"output {head.output!r} of {str(opened.subject.model.path)!r} does not hold one class per "
                "sample, so there is no boundary to draw; give a classifier"
            )
        classes.append(found)
        margins.append(margin_of(head, outputs[head.output]))
        listener.advance(count)
    shape = (len(grid.ys), len(grid.xs))
    known = [each for each in margins if each is not None]
    margin = np.concatenate(known).reshape(shape) if len(known) == len(margins) else None
    return Region(
        model=index,
        classes=np.concatenate(classes).reshape(shape).tolist(),
        margin=margin.tolist() if margin is not None and np.isfinite(margin).all() else None,
        accuracy=opened.clean.accuracy,
    )


def _answers(opened: Opened, grid: Grid) -> Iterator[tuple[dict[str, Array], int]]:
    """The untouched model's outputs all over the grid, batch by batch, and how many points that is."""
    subject, total = opened.subject, len(grid.xs) * len(grid.ys)
    held, _ = subject.feeds(0, 1)
    for start in range(0, total, opened.running.batch):
        points = grid.points(start, min(start + opened.running.batch, total))
        x = points.reshape(len(points), *subject.dataset.sample_shape).astype(subject.dtype)
        others = {name: np.repeat(value, len(x), axis=0) for name, value in held.items()}
        yield opened.deployed.run({**others, subject.input.name: x}), len(x)


def margin_of(head: Head, values: Array) -> NDArray[np.float64] | None:
    """The distance between the two best scores, shape (n,); ``None`` where there are no scores.

    Of one score for two classes: of the logits 0 and z, or of the probabilities 1 − p and p.
    """
    rows = values.reshape(len(values), -1).astype(np.float64)
    if head.kind == "score":
        z = rows[:, 0]
        return np.abs(z if head.threshold == 0 else 2 * z - 1)
    if head.kind != "scores":
        return None
    ordered = np.sort(-rows if head.lowest_wins else rows, axis=1)
    found: NDArray[np.float64] = ordered[:, -1] - ordered[:, -2]
    return found
