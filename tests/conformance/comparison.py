"""Holds written gradients to the differences of a model at one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.rewrite.graph import node_inputs
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import active_tensors
from tests.conformance.outcomes import Outcome, Verdict
from tests.conformance.running import answer, runtime
from tests.conformance.slopes import Slope, directions, slope
from tests.conformance.subject import HUGE, Precision, Subject, exact_of
from tests.rewrite.gradients import pulled_back

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

_NOT_FINITE = "not finite"


class Comparison:
    """The gradients of a subject by some inputs, and what to hold them to."""

    def __init__(self, subject: Subject, ruled: onnx.ModelProto, wrt: Sequence[str]) -> None:
        self._subject = subject
        self._ruled = ruled
        self._exact = exact_of(subject, wrt)
        pulled, self._gradients, self._seeds = pulled_back(ruled, wrt)
        self._backward = runtime(pulled)

    def at(
        self, feeds: Mapping[str, Any], names: Sequence[str], rng: np.random.Generator
    ) -> dict[str, Verdict]:
        """Compare at one point."""
        values = answer(self._subject.forward, feeds)
        if values is None:
            return {}
        weights = {name: _weights(values[name], rng) for name in self._seeds}
        given = {self._seeds[name]: weight for name, weight in weights.items()}
        written = self._written({**feeds, **given})
        if written is None:
            bad = Outcome.ERROR if self._subject.on_runtime else Outcome.NOT_RUN
            return dict.fromkeys(names, Verdict(bad, "the adjoint does not run"))
        weigh, wide = self._exact.weighing(weights), self._exact.feeds(feeds)
        masked = any((weight == 0).any() for weight in weights.values())
        found = {}
        for name in names:
            gradient = written.get(self._gradients.get(name, ""))
            found[name] = _compared(weigh, wide, name, gradient, self._exact.precision, rng)
            if gradient is None and found[name].outcome is Outcome.CHECKED:
                found[name] = Verdict(Outcome.ZERO, _ends(self._ruled, name))
            if found[name].reason == _NOT_FINITE and masked:
                # Where the model itself overflows there is no derivative: another point is needed.
                found[name] = Verdict(Outcome.NOT_SMOOTH)
        return found

    def _written(self, feeds: Mapping[str, Any]) -> dict[str, Any] | None:
        """The adjoints; ``None`` where they cannot be had."""
        if not self._gradients:
            return {}
        return answer(self._backward, feeds) if self._backward else None


def _compared(
    weigh: Callable[[Mapping[str, Any]], float],
    feeds: Mapping[str, Any],
    name: str,
    gradient: Array | None,
    precision: Precision,
    rng: np.random.Generator,
) -> Verdict:
    """Whether a gradient, 0 for ``None``, is the derivative by an input along some directions."""
    point = feeds[name]
    if gradient is not None and gradient.shape != point.shape:
        return Verdict(Outcome.DISAGREES, f"of shape {gradient.shape}, not {point.shape}")
    if gradient is not None and not np.isfinite(gradient).all():
        return Verdict(Outcome.DISAGREES, _NOT_FINITE)
    flat = np.zeros(point.shape) if gradient is None else gradient.astype(np.float64)
    length = float(np.linalg.norm(flat)) if gradient is not None else 1.0

    def along(moved: Array) -> float:
        return weigh({**feeds, name: moved})

    for drawn, slack in directions(flat, rng):
        direction = np.where(np.isfinite(point), drawn, 0)
        allowed = Precision(precision.steps, precision.tolerance * slack)
        found = _trusted(along, point, direction, allowed, length)
        if found is None:
            return Verdict(Outcome.NOT_SMOOTH)
        written = float((flat * direction).sum())
        if abs(found.value - written) > allowed.tolerance * _scale(found, length):
            return Verdict(Outcome.DISAGREES, f"{written:.6g}, not {found.value:.6g}")
    return Verdict(Outcome.CHECKED)


def _scale(found: Slope, length: float) -> float:
    return max(length, abs(found.value), 1e-2)


def _trusted(
    function: Callable[[Array], float],
    point: Array,
    direction: Array,
    precision: Precision,
    length: float,
) -> Slope | None:
    """The derivative by the first step whose result can be told from noise and kinks."""
    reach = max(1.0, float(np.abs(point).max(initial=0.0, where=np.isfinite(point))))
    widest = max(1.0, float(np.abs(direction).max(initial=0.0)))
    for step in precision.steps:
        found = slope(function, point, direction, step * reach / widest)
        if found.doubt <= precision.tolerance / 2 * _scale(found, length):
            return found
    return None


def _ends(ruled: onnx.ModelProto, name: str) -> str:
    """The operators at which the paths from an input end."""
    known = KnownShapes(ruled)
    active = active_tensors(ruled.graph.node, [name], known, straight_through=False)
    return ", ".join(
        sorted(
            {
                node.op_type
                for node in ruled.graph.node
                if any(n in active for n in node_inputs(node))
                and not any(n in active for n in node.output)
            }
        )
    )


def _weights(value: Any, rng: np.random.Generator) -> Array:
    """Random weights for an output, 0 for what is no number."""
    array = np.asarray(value)
    drawn = np.asarray(rng.standard_normal(array.shape))
    usable = np.isfinite(array) & (np.abs(array.astype(np.float64)) < HUGE)
    return np.where(usable, drawn, 0).astype(array.dtype)
