"""A case made ready: in a type that can be run, and with something to take differences of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from lsa_onnx.rewrite.graph import copy_model, true_inputs
from tests.conformance.cases import Case
from tests.conformance.retyped import FLOATS, is_float, retyped, retyped_feeds
from tests.conformance.running import Run, answer, reference, runtime

Array = NDArray[Any]

# Outputs beyond this are masks ("minus infinity"), not numbers.
HUGE = 1e30
# The reference evaluator takes minutes for convolutions of larger tensors.
_MOST_ELEMENTS = 5000
# Float inputs that set the size of the result: (operator, place).
_SIZES = {("OneHot", 1), ("Resize", 2), ("Upsample", 1)}


@dataclass(frozen=True)
class Precision:
    """How derivatives are taken, and how far they may be off.

    Attributes:
        steps: Of the differences, tried in this order.
        tolerance: Largest error, relative to the length of the gradient.
    """

    steps: tuple[float, ...]
    tolerance: float


# Of a model that may be random, after the first.
_RUNS = 8
_DOUBLE = Precision((1e-5, 1e-4, 1e-3), 1e-3)
_SINGLE = Precision((1e-2, 3e-2, 1e-1, 1e-3, 1e-4), 2e-2)
# Differences in double precision, of a gradient in half.
_HALF = Precision((1e-5, 1e-4, 1e-3), 2e-2)


@dataclass(frozen=True)
class Subject:
    """A case in a type in which it runs.

    Attributes:
        model: The model.
        feeds: The point.
        forward: Runs the model.
        on_runtime: Whether that is ONNX Runtime.
    """

    model: onnx.ModelProto
    feeds: dict[str, Any]
    forward: Run
    on_runtime: bool

    def is_random(self) -> bool:
        """Whether runs differ. A few coins may well fall alike twice, but not every time."""
        first = self.forward(self.feeds)
        return any(
            is_float(value) and not np.array_equal(first[name], value, equal_nan=True)
            for _ in range(_RUNS)
            for name, value in self.forward(self.feeds).items()
        )


@dataclass(frozen=True)
class Exact:
    """What differences are taken of.

    Attributes:
        run: Runs it.
        element: The float type of its inputs, ``None`` for that of the subject.
        precision: That of the comparison.
    """

    run: Run
    element: int | None
    precision: Precision

    def feeds(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs in its type."""
        return dict(feeds) if self.element is None else retyped_feeds(feeds, self.element)

    def weighing(self, weights: Mapping[str, Array]) -> Callable[[Mapping[str, Any]], float]:
        """The weighted sum of its outputs; NaN where they cannot be had or change their shape."""

        def weigh(feeds: Mapping[str, Any]) -> float:
            values = answer(self.run, feeds)
            if values is None or any(np.shape(values[n]) != w.shape for n, w in weights.items()):
                return float("nan")
            parts = (
                np.asarray(values[n], np.float64)[w != 0] @ w[w != 0] for n, w in weights.items()
            )
            return float(sum(parts))

        return weigh


def float_inputs(case: Case) -> list[str]:
    """The inputs by which to differentiate."""
    names = [value.name for value in true_inputs(case.model.graph) if is_float_value(value)]
    return [name for name in names if is_float(case.feeds.get(name))]


def is_float_value(value: onnx.ValueInfoProto) -> bool:
    """Whether an input or output is declared to be a tensor of floats."""
    return value.type.tensor_type.elem_type in FLOATS


def with_constants(case: Case, names: Sequence[str]) -> Case:
    """The case with these inputs (arrays) as initializers, as most models have them."""
    model = copy_model(case.model)
    for name in names:
        model.graph.initializer.append(numpy_helper.from_array(case.feeds[name], name))
    kept = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    feeds = {name: value for name, value in case.feeds.items() if name not in names}
    return Case(case.name, case.group, model, feeds)


def sizes(case: Case) -> list[str]:
    """The float inputs that set sizes."""
    nodes = case.model.graph.node
    set_sizes = {name for n in nodes for i, name in enumerate(n.input) if (n.op_type, i) in _SIZES}
    return [name for name in float_inputs(case) if name in set_sizes]


def whole_numbers(case: Case) -> list[str]:
    """The inputs of integers and booleans."""
    return [
        value.name
        for value in true_inputs(case.model.graph)
        if isinstance(case.feeds.get(value.name), np.ndarray)
        and case.feeds[value.name].dtype.kind in "iub"
    ]


def subject_of(case: Case) -> Subject | None:
    """The case as it is if ONNX Runtime runs it, else in single precision, else on the evaluator."""
    single = retyped(case.model, TensorProto.FLOAT)
    feeds = retyped_feeds(case.feeds, TensorProto.FLOAT)
    for model, given, load in (
        (case.model, case.feeds, runtime),
        (single, feeds, runtime),
        (single, feeds, reference),
    ):
        forward = load(model)
        if forward is not None and answer(forward, given) is not None:
            return Subject(model, given, forward, load is runtime)
    return None


def exact_of(subject: Subject, wrt: Sequence[str]) -> Exact:
    """The subject in double precision, if anything runs that and gives the same; else itself.

    One in half precision is taken in single.
    """
    half = any(subject.feeds[name].dtype.itemsize == 2 for name in wrt)
    double = _in_type(subject, TensorProto.DOUBLE, _HALF if half else _DOUBLE, wrt)
    single = _in_type(subject, TensorProto.FLOAT, _SINGLE, wrt) if half and not double else None
    return double or single or Exact(subject.forward, None, _SINGLE)


def _in_type(
    subject: Subject, element: int, precision: Precision, wrt: Sequence[str]
) -> Exact | None:
    """The subject in another type, ``None`` where nothing computes that."""
    model, feeds = retyped(subject.model, element), retyped_feeds(subject.feeds, element)
    wanted = subject.forward(subject.feeds)
    small = sum(value.size for value in feeds.values() if is_float(value)) <= _MOST_ELEMENTS
    for load in (runtime, reference) if small else (runtime,):
        run = load(model)
        found = answer(run, feeds) if run is not None else None
        if run is None or found is None or not _same(found, wanted):
            continue
        if element != TensorProto.DOUBLE or _is_precise(run, feeds, wrt):
            return Exact(run, element, precision)
    return None


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if not is_float(value):
            continue
        got, rough = np.asarray(found[name], np.float64), value.astype(np.float64)
        near = 2e-2 if value.dtype.itemsize == 2 else 1e-4
        if got.shape != rough.shape:
            return False
        a, b = (np.clip(array, -HUGE, HUGE) for array in (got, rough))
        if not np.allclose(a, b, rtol=near, atol=near, equal_nan=True):
            return False
    return True


def _is_precise(run: Run, feeds: Mapping[str, Any], wrt: Sequence[str]) -> bool:
    """Whether a model computes in double precision, and does not only return it.

    In single precision the second difference over a tiny step is all rounding.
    """
    rng = np.random.default_rng(0)
    drawn = {name: rng.random(feeds[name].shape) for name in wrt}
    points = [
        {name: feeds[name] * (1 + 1e-3 * drawn[name]) + step * drawn[name] for name in wrt}
        for step in (0, 1e-7, 2e-7)
    ]
    values = [answer(run, {**feeds, **point}) for point in points]
    names = [name for name, value in (values[0] or {}).items() if is_float(value)]
    for name in names:
        a, b, c = (np.asarray(found[name] if found else np.nan, np.float64) for found in values)
        usable = np.isfinite(a) & np.isfinite(b) & np.isfinite(c) & (np.abs(a) < HUGE)
        rounding = np.abs(a - 2 * b + c)[usable]
        if rounding.max(initial=0.0) > 1e-9 * max(1.0, np.abs(a[usable]).max(initial=0.0)):
            return False
    return bool(names)
