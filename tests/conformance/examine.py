"""Examines one case: is the gradient written for it the derivative of the model?"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.differentiate import primitives
from lsa_onnx.rewrite.graph import node_inputs
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import MissingRules, active_tensors
from tests.conformance.cases import Case, runnable
from tests.conformance.running import answer, runtime
from tests.conformance.slopes import Slope, directions, slope
from tests.conformance.subject import (
    HUGE,
    Precision,
    Subject,
    exact_of,
    float_inputs,
    is_float_value,
    sizes,
    subject_of,
    whole_numbers,
    with_constants,
)
from tests.rewrite.gradients import pulled_back

Array = NDArray[Any]

# How often the point is moved to find a smooth one, and from when on it is also moved towards 0.
_ATTEMPTS = 8
_SHRINKING = 4
# Their adjoints are estimates (straight through), and their scales count as constants.
_QUANTISING = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
_NOT_FINITE = "not finite"


class Outcome(str, Enum):
    """What became of a case, or of one input of it."""

    CHECKED = "checked"
    PART = "checked in part"
    ZERO = "zero by definition"
    ESTIMATE = "straight-through estimate"
    RANDOM = "random"
    REFUSED = "refused"
    NOT_RUN = "not run by ONNX Runtime"
    NO_INPUT = "no float input"
    NO_OUTPUT = "no float output"
    NOT_SMOOTH = "not smooth"
    DISAGREES = "disagrees"
    ERROR = "error"


# What one input shows of a case, whatever the others are, worst first.
_FIRST = (
    Outcome.ERROR,
    Outcome.DISAGREES,
    Outcome.NOT_SMOOTH,
    Outcome.NOT_RUN,
    Outcome.ESTIMATE,
)


@dataclass(frozen=True)
class Verdict:
    """An outcome and, where it needs one, its reason."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of a case, and of each of its float inputs."""

    name: str
    group: str
    outcome: Outcome
    reason: str = ""
    inputs: Mapping[str, Verdict] = field(default_factory=dict)


def examine(case: Case, seed: int = 0) -> Finding:
    """Hold the gradients written for ``case`` to differences, at its inputs or near them.

    What goes wrong is an outcome too, so that one table can tell all of it.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        case = with_constants(case, sizes(case))
        first = _examined(case, seed)
        if first.outcome not in (Outcome.REFUSED, Outcome.PART) or not whole_numbers(case):
            return first
        second = _examined(with_constants(case, whole_numbers(case)), seed)
    better = second.outcome in (Outcome.CHECKED, Outcome.ZERO, Outcome.PART)
    return replace(second, reason="its integers as constants") if better else first


def _examined(case: Case, seed: int) -> Finding:
    wrt = float_inputs(case)
    try:
        outcome, reason, verdicts = _result(case, wrt, seed)
    except Exception as error:  # noqa: BLE001 - a defect, which the table and its test report
        outcome, reason, verdicts = Outcome.ERROR, f"{type(error).__name__}: {error}", {}
    return Finding(case.name, case.group, outcome, reason, verdicts)


def _result(
    case: Case, wrt: Sequence[str], seed: int
) -> tuple[Outcome, str, Mapping[str, Verdict]]:
    if not wrt:
        return Outcome.NO_INPUT, "", {}
    if not any(is_float_value(value) for value in case.model.graph.output):
        return Outcome.NO_OUTPUT, "", {}
    subject = subject_of(case)
    if subject is None:
        return Outcome.NOT_RUN, "", {}
    if subject.is_random():
        return Outcome.RANDOM, "", {}
    try:
        ruled = runnable(primitives(subject.model))
    except ModelError as error:
        refused = Outcome.REFUSED if subject.on_runtime else Outcome.NOT_RUN
        return refused, str(error), {}
    verdicts = _verdicts(subject, ruled, wrt, seed)
    return _overall({verdict.outcome for verdict in verdicts.values()}), "", verdicts


def _overall(found: set[Outcome]) -> Outcome:
    for first in _FIRST:
        if first in found:
            return first
    if Outcome.REFUSED in found:
        return Outcome.PART if Outcome.CHECKED in found else Outcome.REFUSED
    return Outcome.CHECKED if Outcome.CHECKED in found else Outcome.ZERO


def _verdicts(
    subject: Subject, ruled: onnx.ModelProto, wrt: Sequence[str], seed: int
) -> dict[str, Verdict]:
    """The verdict on every input: all at once, or one by one where some are refused."""
    try:
        return _judged(subject, ruled, wrt, seed)
    except MissingRules as missing:
        if len(wrt) == 1:
            refused = Outcome.REFUSED if subject.on_runtime else Outcome.NOT_RUN
            return {wrt[0]: Verdict(refused, _reasons(missing))}
    found: dict[str, Verdict] = {}
    for name in wrt:
        found |= _verdicts(subject, ruled, [name], seed)
    return found


def _reasons(missing: MissingRules) -> str:
    """Each reason once, without the names of tensors."""
    texts = {f"{m.node.op_type}: {_unnamed(m.reason)}" for m in missing.nodes}
    return "; ".join(sorted(texts))


def _unnamed(text: str) -> str:
    return re.sub("'[^']*'", "a tensor", text)


def _judged(
    subject: Subject, ruled: onnx.ModelProto, wrt: Sequence[str], seed: int
) -> dict[str, Verdict]:
    comparison = _Comparison(subject, ruled, wrt)
    rng = np.random.default_rng(seed)
    verdicts = dict.fromkeys(wrt, Verdict(Outcome.NOT_SMOOTH))
    for attempt in range(_ATTEMPTS):
        open_ = [name for name, v in verdicts.items() if v.outcome is Outcome.NOT_SMOOTH]
        if open_:
            verdicts |= comparison.at(_point(subject.feeds, wrt, attempt, rng), open_, rng)
    quantising = any(node.op_type in _QUANTISING for node in ruled.graph.node)
    for name, verdict in verdicts.items():
        if quantising and verdict.outcome in (Outcome.DISAGREES, Outcome.NOT_SMOOTH):
            verdicts[name] = Verdict(Outcome.ESTIMATE)
    return verdicts


class _Comparison:
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
        allowed = precision.tolerance * slack
        found = _trusted(along, point, direction, precision.steps, lambda d: allowed * _scale(d, length))
        if found is None:
            return Verdict(Outcome.NOT_SMOOTH)
        written = float((flat * direction).sum())
        if abs(found.value - written) > allowed * _scale(found, length):
            return Verdict(Outcome.DISAGREES, f"{written:.6g}, not {found.value:.6g}")
    return Verdict(Outcome.CHECKED)


def _scale(found: Slope, length: float) -> float:
    return max(length, abs(found.value), 1e-2)


def _trusted(
    function: Callable[[Array], float],
    point: Array,
    direction: Array,
    steps: Sequence[float],
    allowed: Callable[[Slope], float],
) -> Slope | None:
    """The derivative by the first step whose result can be told from noise and kinks."""
    reach = max(1.0, float(np.abs(point).max(initial=0.0, where=np.isfinite(point))))
    widest = max(1.0, float(np.abs(direction).max(initial=0.0)))
    for step in steps:
        found = slope(function, point, direction, step * reach / widest)
        if found.doubt <= allowed(found) / 2:
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


def _point(
    feeds: Mapping[str, Any], names: Sequence[str], attempt: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The case's own point, then ones nearby, then ones of smaller, positive numbers.

    The inputs of many cases are whole numbers, equal or 0, which lie on kinks.
    """
    moved = dict(feeds)
    for name in names if attempt else ():
        array = feeds[name].astype(np.float64)
        factor = 1 + 0.05 * rng.uniform(-1, 1, array.shape)
        shift = 0.02 * rng.uniform(-1, 1, array.shape)
        near = array * factor + shift
        if attempt >= _SHRINKING:
            near = np.abs(near) / 2 ** (attempt - _SHRINKING)
        moved[name] = np.asarray(near, feeds[name].dtype)
    return moved
