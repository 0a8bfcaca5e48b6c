"""Examines one case: is the gradient written for it the derivative of the model?"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.differentiate import primitives
from lsa_onnx.rewrite.vjp import MissingRules
from tests.conformance.cases import Case, runnable
from tests.conformance.comparison import Comparison
from tests.conformance.outcomes import Finding, Outcome, Verdict
from tests.conformance.subject import (
    Subject,
    float_inputs,
    is_float_value,
    sizes,
    subject_of,
    whole_numbers,
    with_constants,
)

if TYPE_CHECKING:
    import onnx

# How often the point is moved to find a smooth one, and from when on it is also moved towards 0.
_ATTEMPTS = 8
_SHRINKING = 4
# Their adjoints are estimates (straight through), and their scales count as constants.
_QUANTISING = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
# What one input shows of a case, whatever the others are, worst first.
_FIRST = (
    Outcome.ERROR,
    Outcome.DISAGREES,
    Outcome.NOT_SMOOTH,
    Outcome.NOT_RUN,
    Outcome.ESTIMATE,
)


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
    comparison = Comparison(subject, ruled, wrt)
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
