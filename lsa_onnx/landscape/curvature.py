"""How sharply the loss bends around samples: figures per sample, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.oracle import Goal, Oracle, ask_gradient
from lsa_onnx.landscape.directions import Plane
from lsa_onnx.report.landscape import Curvature
from lsa_onnx.statistics import Summaries, bootstrap_weights

Array = NDArray[Any]

# One level of a pixel: near enough for a derivative, and far above what rounding does to a gradient.
STEP_SHARE = 1 / 255
# A line that is clipped at the end of the range bends there, whatever the model does.
_COMMON = "points are not clipped to the range, samples with a gradient of 0 are left out"
GRADIENT_CHANGE, SECOND_DIFFERENCE = "gradient-change", "second-difference"


class Curvatures:
    """Collects both figures over all samples; one that is not finite counts for neither."""

    def __init__(self, step: float, spacing: float, seed: int) -> None:
        """Start with nothing.

        Args:
            step: How far away the gradient is looked at, in units of the declared range.
            spacing: Of the axis along the gradient's sign, how far away the loss is, likewise.
            seed: Of the bootstrap.
        """
        self._step, self._spacing, self._seed = step, spacing, seed
        self._summaries = Summaries(2)

    def add(self, start: int, plane: Plane, change: Array, losses: Sequence[Array]) -> None:
        """Take in a batch; samples without a first direction are left out.

        Args:
            start: Position of its first sample.
            plane: Its directions.
            change: From ``gradient_change``, shape (n,).
            losses: One spacing before the sample, at it and one behind, each of shape (n,).
        """
        before, here, behind = (np.asarray(loss, np.float64) for loss in losses)
        with np.errstate(invalid="ignore"):
            bend = (behind - 2 * here + before) / self._spacing**2
        values = np.where(plane.flat[:, None], np.nan, np.stack([change, bend], axis=1))
        self._summaries.add(values, bootstrap_weights(self._seed, start, start + len(values)))

    def records(self) -> list[Curvature]:
        """What the document says."""
        texts = {
            GRADIENT_CHANGE: "mean over samples of |grad l(x + s) - grad l(x)|_2 / |s|_2 with s = "
            f"{self._step:.6g} sign grad l(x), a 255th of the range's width in each element "
            "(Moosavi-Dezfooli et al. 2019)",
            SECOND_DIFFERENCE: "mean over samples of (l(x + d s) - 2 l(x) + l(x - d s)) / d^2 with s = "
            f"sign grad l(x) and d = {self._spacing:.6g}, one step of the axis",
        }
        found = self._summaries.distributions()
        return [
            Curvature(
                measure,
                f"{text}; {_COMMON}",
                d.mean,
                d.interval,
                d.n,
            )
            for (measure, text), d in zip(texts.items(), found, strict=True)
        ]


def gradient_change(oracle: Oracle, goal: Goal, plane: Plane, step: float) -> Array:
    """‖∇ℓ(x + s) − ∇ℓ(x)‖₂ / ‖s‖₂ with s = ``step`` · d₁, shape (n,); NaN where d₁ is 0."""
    s = np.asarray(plane.ascent, np.float64) * step
    _, here = ask_gradient(oracle, plane.x, goal)
    _, there = ask_gradient(oracle, plane.along(step), goal)
    change = np.asarray(there, np.float64) - np.asarray(here, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        moved, length = (np.linalg.norm(v.reshape(len(v), -1), axis=1) for v in (change, s))
    found: Array = np.divide(moved, length, out=np.full(len(moved), np.nan), where=length > 0)
    return found
