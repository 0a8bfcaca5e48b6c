"""Examines one case: is the gradient written for it the derivative of the model?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.differentiate import primitives
from lsa_onnx.rewrite.graph import node_inputs, true_inputs
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import MissingRules, active_tensors
from tests.conformance.cases import Case
from tests.conformance.retyped import FLOATS, is_float, retyped, retyped_feeds
from tests.conformance.slopes import Slope, directions, slope
from tests.rewrite.gradients import pulled_back

Array = NDArray[Any]
Run = Callable[[Mapping[str, Any]], dict[str, Any]]


class Outcome(str, Enum):
    """What became of a case, or of one input of it."""

    CHECKED = "checked"
    PART = "checked in part"
    ZERO = "zero by definition"
    REFUSED = "refused"
    RANDOM = "random"
    NO_INPUT = "no float input"
    NO_OUTPUT = "no float output"
    NOT_RUN = "not run by ONNX Runtime"
    NOT_SMOOTH = "not smooth"
    DISAGREES = "disagrees"
    ERROR = "error"


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
    inputs: dict[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True)
class Precision:
    """How derivatives are taken, and how far they may be off.

    Attributes:
        steps: Of the differences, tried in this order.
        tolerance: Largest error, relative to the length of the gradient.
    """

    steps: tuple[float, ...]
    tolerance: float


DOUBLE = Precision((1e-5, 1e-4, 1e-3), 1e-3)
SINGLE = Precision((1e-2, 3e-2, 1e-1, 1e-3), 2e-2)


# How often the point is moved to find a smooth one.
_ATTEMPTS = 6
# Outputs beyond this are masks ("minus infinity"), not numbers.
_HUGE = 1e30
# The reference evaluator takes minutes for larger convolutions.
_MOST_ELEMENTS = 5000


@dataclass
class _Subject:
    """A case in the precision in which its gradient is written."""

    model: onnx.ModelProto
    feeds: dict[str, Any]
    forward: Run
    on_runtime: bool


def examine(case: Case, seed: int = 0) -> Finding:
    """Hold the gradients written for ``case`` to differences, at its inputs or near them.

    What goes wrong is an outcome too, so that one table can tell all of it.
    """

    def finding(outcome: Outcome, reason: str = "", **inputs: Verdict) -> Finding:
        return Finding(case.name, case.group, outcome, reason, inputs)

    wrt = [v.name for v in true_inputs(case.model.graph) if _is_float(v) and is_float(case.feeds.get(v.name))]
    if not wrt:
        return finding(Outcome.NO_INPUT)
    if not any(_is_float(value) for value in case.model.graph.output):
        return finding(Outcome.NO_OUTPUT)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        subject = _subject(case)
        if subject is None:
            return finding(Outcome.NOT_RUN)
        if _is_random(subject):
            return finding(Outcome.RANDOM)
        try:
            ruled = primitives(subject.model)
            verdicts = _verdicts(subject, ruled, wrt, seed)
        except ModelError as error:
            return finding(Outcome.REFUSED, str(error))
        except Exception as error:  # a defect: the table and its test report it
            return finding(Outcome.ERROR, f"{type(error).__name__}: {error}"[:300])
    return finding(_overall([v.outcome for v in verdicts.values()]), **verdicts)


def _overall(outcomes: Sequence[Outcome]) -> Outcome:
    found = set(outcomes)
    for bad in (Outcome.ERROR, Outcome.DISAGREES, Outcome.NOT_SMOOTH, Outcome.NOT_RUN):
        if bad in found:
            return bad
    if Outcome.REFUSED in found:
        return Outcome.PART if Outcome.CHECKED in found else Outcome.REFUSED
    return Outcome.CHECKED if Outcome.CHECKED in found else Outcome.ZERO


def _verdicts(
    subject: _Subject, ruled: onnx.ModelProto, wrt: Sequence[str], seed: int
) -> dict[str, Verdict]:
    """The verdict on every input: all at once, or one by one where some are refused."""
    try:
        return _judged(subject, ruled, wrt, seed)
    except MissingRules as missing:
        if len(wrt) == 1:
            return {wrt[0]: Verdict(Outcome.REFUSED, _reasons(missing))}
    found: dict[str, Verdict] = {}
    for name in wrt:
        found |= _verdicts(subject, ruled, [name], seed)
    return found


def _reasons(missing: MissingRules) -> str:
    return "; ".join(sorted({f"{m.node.op_type}: {m.reason}" for m in missing.nodes}))


def _judged(
    subject: _Subject, ruled: onnx.ModelProto, wrt: Sequence[str], seed: int
) -> dict[str, Verdict]:
    pulled, gradients, seeds = pulled_back(ruled, wrt)
    backward = runtime(pulled)
    if backward is None:
        bad = Outcome.ERROR if subject.on_runtime else Outcome.NOT_RUN
        return dict.fromkeys(wrt, Verdict(bad, "the adjoint does not load"))
    exact, element, precision = _exact(subject, wrt)
    rng = np.random.default_rng(seed)
    verdicts: dict[str, Verdict] = {}
    for attempt in range(_ATTEMPTS):
        feeds = _near(subject.feeds, wrt, rng) if attempt else subject.feeds
        values = subject.forward(feeds)
        weights = {name: _weights(values[name], rng) for name in seeds}
        given = {seeds[name]: weight for name, weight in weights.items()}
        written = backward({**feeds, **given}) if gradients else {}
        wide = retyped_feeds(feeds, element) if element else dict(feeds)
        weigh = _weighing(exact, weights)
        for name in wrt:
            if verdicts.get(name, Verdict(Outcome.NOT_SMOOTH)).outcome != Outcome.NOT_SMOOTH:
                continue
            gradient = written[gradients[name]] if name in gradients else None
            verdicts[name] = _compared(weigh, wide, name, gradient, precision, rng)
            if gradient is None and verdicts[name].outcome is Outcome.ZERO:
                verdicts[name] = Verdict(Outcome.ZERO, _ends(ruled, name))
        if all(v.outcome != Outcome.NOT_SMOOTH for v in verdicts.values()):
            break
    return verdicts


def _compared(
    weigh: Callable[[Mapping[str, Any]], float],
    feeds: Mapping[str, Any],
    name: str,
    gradient: Array | None,
    precision: Precision,
    rng: np.random.Generator,
) -> Verdict:
    point = feeds[name]
    if gradient is not None:
        if gradient.shape != point.shape:
            return Verdict(Outcome.DISAGREES, f"shape {gradient.shape}, not {point.shape}")
        if not np.isfinite(gradient).all():
            return Verdict(Outcome.DISAGREES, "not finite")
    flat = np.zeros(point.shape) if gradient is None else gradient.astype(np.float64)

    def along(moved: Array) -> float:
        return weigh({**feeds, name: moved})

    for drawn in directions(point.shape, rng):
        direction = np.where(np.isfinite(point), drawn, 0)
        expected = float((flat * direction).sum())
        length = float(np.linalg.norm(flat)) if gradient is not None else 1.0
        found = _trusted(along, point, direction, precision, length)
        if found is None:
            return Verdict(Outcome.NOT_SMOOTH)
        scale = max(length, abs(found.value), 1e-2)
        if abs(found.value - expected) > precision.tolerance * scale:
            return Verdict(Outcome.DISAGREES, f"{expected:.6g}, not {found.value:.6g} (d {found.doubt:.1g})")
    return Verdict(Outcome.ZERO if gradient is None else Outcome.CHECKED)


def _trusted(
    function: Callable[[Array], float], point: Array, direction: Array, precision: Precision, length: float
) -> Slope | None:
    """The derivative by the first step whose result can be told from noise and kinks."""
    reach = max(1.0, float(np.abs(point).max(initial=0.0, where=np.isfinite(point))))
    for step in precision.steps:
        found = slope(function, point, direction, step * reach / max(1.0, float(np.abs(direction).max())))
        if found.doubt <= precision.tolerance / 2 * max(length, abs(found.value), 1e-2):
            return found
    return None


def _ends(ruled: onnx.ModelProto, name: str) -> str:
    """The operators at which the paths from an input end."""
    known = KnownShapes(ruled)
    active = active_tensors(ruled.graph.node, [name], known, straight_through=False)
    ends = {
        node.op_type
        for node in ruled.graph.node
        if any(n in active for n in node_inputs(node)) and not any(n in active for n in node.output)
    }
    return ", ".join(sorted(ends))


def _weighing(exact: Run, weights: Mapping[str, Array]) -> Callable[[Mapping[str, Any]], float]:
    def weigh(feeds: Mapping[str, Any]) -> float:
        values = exact(feeds)
        return float(
            sum(
                np.where(weight == 0, 0, np.asarray(values[n], np.float64) * weight.astype(np.float64)).sum()
                for n, weight in weights.items()
            )
        )

    return weigh


def _weights(value: Any, rng: np.random.Generator) -> Array:
    array = np.asarray(value)
    drawn = np.asarray(rng.standard_normal(array.shape))
    usable = np.isfinite(array) & (np.abs(array.astype(np.float64)) < _HUGE)
    return np.where(usable, drawn, 0).astype(array.dtype)


def _near(feeds: Mapping[str, Any], names: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    """A point nearby: at those of the cases, many have zeros, equal elements or whole numbers."""
    moved = dict(feeds)
    for name in names:
        array = feeds[name]
        factor = 1 + 0.05 * rng.uniform(-1, 1, array.shape)
        shift = 0.02 * rng.uniform(-1, 1, array.shape)
        moved[name] = (array.astype(np.float64) * factor + shift).astype(array.dtype)
    return moved


def _subject(case: Case) -> _Subject | None:
    """The case as it is if ONNX Runtime runs it, else in single precision, else on the reference."""
    single = retyped(case.model, TensorProto.FLOAT)
    feeds = retyped_feeds(case.feeds, TensorProto.FLOAT)
    for model, given, load in (
        (case.model, case.feeds, runtime),
        (single, feeds, runtime),
        (single, feeds, reference),
    ):
        forward = load(model)
        if forward is not None and _answers(forward, given) is not None:
            return _Subject(model, given, forward, load is runtime)
    return None


def _exact(subject: _Subject, wrt: Sequence[str]) -> tuple[Run, int | None, Precision]:
    """What to take differences of: the model in double precision, if anything runs that."""
    double = retyped(subject.model, TensorProto.DOUBLE)
    wide = retyped_feeds(subject.feeds, TensorProto.DOUBLE)
    wanted = subject.forward(subject.feeds)
    small = sum(value.size for value in wide.values() if is_float(value)) <= _MOST_ELEMENTS
    for load in (runtime, reference) if small else (runtime,):
        forward = load(double)
        found = _answers(forward, wide) if forward is not None else None
        if forward is None or found is None or not _same(found, wanted):
            continue
        if _is_precise(forward, wide, wrt):
            return forward, int(TensorProto.DOUBLE), DOUBLE
    return subject.forward, None, SINGLE


def _is_precise(forward: Run, feeds: Mapping[str, Any], wrt: Sequence[str]) -> bool:
    """Whether the model computes in double precision, and not only returns it."""
    rng = np.random.default_rng(0)
    odd = {name: feeds[name] * (1 + 1e-9 * rng.random(feeds[name].shape)) for name in wrt}
    values = [value for value in forward({**feeds, **odd}).values() if is_float(value)]
    return any((value != value.astype(np.float32)).any() for value in values)


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if not is_float(value):
            continue
        got, rough = np.asarray(found[name], np.float64), value.astype(np.float64)
        tolerance = 1e-4 if value.dtype in (np.float32, np.float64) else 2e-2
        if got.shape != rough.shape or not np.allclose(
            np.clip(got, -_HUGE, _HUGE), np.clip(rough, -_HUGE, _HUGE), tolerance, tolerance, equal_nan=True
        ):
            return False
    return True


def _is_random(subject: _Subject) -> bool:
    first, second = subject.forward(subject.feeds), subject.forward(subject.feeds)
    return any(
        is_float(value) and not np.array_equal(value, second[name], equal_nan=True)
        for name, value in first.items()
    )


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type in FLOATS


def _answers(run: Run, feeds: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return run(feeds)
    except Exception:  # noqa: BLE001 - neither the runtime nor the evaluator documents its errors
        return None


def runtime(model: onnx.ModelProto) -> Run | None:
    """Runs ``model`` on ONNX Runtime, ``None`` where that does not load it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # noqa: BLE001 - the runtime documents no class of error
        return None
    return _named(session, [value.name for value in model.graph.output])


def reference(model: onnx.ModelProto) -> Run | None:
    """Runs ``model`` on ONNX's reference evaluator, ``None`` where that does not load it."""
    try:
        return _named(ReferenceEvaluator(model), [value.name for value in model.graph.output])
    except Exception:  # noqa: BLE001 - likewise
        return None


def _named(session: Any, names: list[str]) -> Run:
    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run
