"""Holds what a scan observes to plain runs of the model, and what it scores to numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from tests.conformance.agreement import disagreement
from tests.conformance.scored_subject import Bench, Loaded, Values, noisy

Array = NDArray[Any]

# A model that may be random is run this often.
_RUNS = 4
# Sums in the graph are single precision.
_TOLERANCE = 1e-3
# How far, of their norm, rounding in other places moves tensors.
_ROUNDING = 1e-5
_HALF_ROUNDING = 2**-10
_SINGLE_MAX = float(np.finfo(np.float32).max)


class Changed(Exception):
    """Observing a model changed what it returns, or a score is not numpy's."""


def is_steady(loaded: Loaded) -> bool:
    """Whether the outputs are the same in every run."""
    session = loaded.plain("none")
    first = session.run(loaded.case.feeds)
    repeated = [session.run(loaded.case.feeds) for _ in range(_RUNS - 1)]
    return all(same_bits(first[name], again[name]) for again in repeated for name in first)


def stands_noise(loaded: Loaded, perturb: str) -> bool:
    """Whether the model runs with noise on the input ``perturb``."""
    feeds = loaded.case.feeds
    try:
        loaded.plain("none").run({**feeds, perturb: noisy(feeds[perturb])})
    except ModelError:
        return False
    return True


def require_same_outputs(loaded: Loaded, *, steady: bool) -> bool:
    """Hold the outputs with every layer exposed to those without.

    Args:
        loaded: The case.
        steady: Whether the numbers are to be compared, or types and shapes only.

    Returns:
        Whether the optimised graph keeps every bit of them too.

    Raises:
        Changed: It does not return the same; optimised, more than rounding sets them apart.
    """
    feeds = loaded.case.feeds
    plain, seen = loaded.plain("none").run(feeds), loaded.exposing("none").run(feeds)
    fast, seen_fast = loaded.plain("all").run(feeds), loaded.exposing("all").run(feeds)
    for name, value in plain.items():
        if steady:
            _require_same(loaded, seen[name], value, f"exposed, output {name!r}")
        apart = disagreement(seen_fast[name], fast[name], numbers=steady)
        if apart:
            raise Changed(f"exposed and optimised, output {name!r} is {apart}")
    return all(same_bits(seen_fast[name], value) for name, value in fast.items())


def require_right_twin(loaded: Loaded, perturb: str) -> None:
    """Hold the twin's outputs to those of two runs of the model, and its sums to numpy's.

    Args:
        loaded: The case.
        perturb: The input that noise is added to.

    Raises:
        Changed: They differ.
    """
    feeds = loaded.case.feeds
    moved = noisy(feeds[perturb])
    session = loaded.exposing("none")
    clean, perturbed = session.run(feeds), session.run({**feeds, perturb: moved})
    alike = {name: clean[name] for name in loaded.reads if _alike(loaded, name, clean, perturbed)}
    twin = loaded.twin(alike, perturb)
    second = twin.perturbed_inputs[perturb]
    found = loaded.session(twin.model, "none").run({**feeds, second: moved})
    for name, other in twin.perturbed_outputs.items():
        _require_same(loaded, found[name], clean[name], f"in the twin, output {name!r}")
        _require_same(
            loaded, found[other], perturbed[name], f"in the twin, perturbed output {name!r}"
        )
    for tensor, names in twin.sums.items():
        parts = (names.difference, names.clean, names.perturbed)
        expected = _sums(clean[tensor], perturbed[tensor], loaded.reads[tensor].executions)
        _require_sums(loaded, tensor, [found[part] for part in parts], expected)


def require_right_scores(loaded: Loaded, bench: Bench, *, steady: bool) -> None:
    """Hold the scanner's own session to runs of the model, and its sums over all samples to numpy's.

    Args:
        loaded: The case.
        bench: A scan of it that is ready.
        steady: Whether outputs are the same in every run.

    Raises:
        Changed: They differ.
    """
    name = bench.subject.input.name
    feeds, _ = bench.subject.feeds(0, len(bench.subject.dataset))
    moved = {**feeds, name: noisy(feeds[name], seed=1)}
    scored = bench.instrument.session.run(feeds, moved[name])
    clean, perturbed = bench.runs(feeds), bench.runs(moved)
    sums = (scored.sums.difference, scored.sums.clean, scored.sums.perturbed)
    for index, item in enumerate(bench.scored):
        pairs = [(a[item.tensor], b[item.tensor]) for a, b in zip(clean, perturbed, strict=True)]
        expected = np.sum([_common_sums(a, b, item.executions) for a, b in pairs], axis=0)
        _require_sums(loaded, item.tensor, [part[:, index].sum() for part in sums], expected)
    for branch, runs in ((scored.clean, clean), (scored.perturbed, perturbed)):
        for output, rows in branch.items() if steady else ():
            apart = disagreement(_flat([rows]), _flat([run[output] for run in runs]))
            if apart:
                raise Changed(f"in the scan, output {output!r} is {apart}")


def same_bits(a: Any, b: Any) -> bool:
    """Whether two outputs, arrays or lists of them or ``None``, are alike in every bit."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_bits, a, b))
    if a is None or b is None:
        return a is b
    first, second = np.asarray(a), np.asarray(b)
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    if first.dtype.kind == "O":
        return bool(np.array_equal(first, second))
    return first.tobytes() == second.tobytes()


def _require_same(loaded: Loaded, found: Any, wanted: Any, what: str) -> None:
    """Hold an output to its other self: every bit of it, where the same kernels run."""
    if same_bits(found, wanted):
        return
    # Where kernels have no half precision, only what leaves the graph is rounded to it.
    if loaded.is_half and not disagreement(found, wanted):
        return
    raise Changed(f"{what} is {disagreement(found, wanted) or 'off by rounding'}")


def _alike(loaded: Loaded, name: str, clean: Values, perturbed: Values) -> bool:
    """Whether a tensor has one shape in both branches; the number of executions may differ."""
    first = 1 if loaded.reads[name].executions else 0
    return np.shape(clean[name])[first:] == np.shape(perturbed[name])[first:]


def _require_sums(
    loaded: Loaded, tensor: str, got: Sequence[Array], expected: Sequence[Array]
) -> None:
    """Hold the sums ‖a − b‖², ‖a‖² and ‖b‖², each per execution or of all, to numpy's."""
    largest = [float(np.nan_to_num(part).max(initial=0.0)) for part in expected[1:]]
    share = _HALF_ROUNDING if loaded.is_half else _ROUNDING
    moved = share * sum(map(math.sqrt, largest))
    for found, wanted in zip(got, expected, strict=True):
        overflown = ~np.isfinite(found) & ~(wanted <= _SINGLE_MAX)
        allowed = _TOLERANCE * wanted + 2 * np.sqrt(wanted) * moved + moved**2
        close = np.abs(found - wanted) <= allowed
        if np.shape(found) != np.shape(wanted) or not np.all(overflown | close):
            raise Changed(f"the sums of squares of {tensor!r} are {got}, numpy's {expected}")


def _sums(a: Array, b: Array, executions: bool) -> list[Array]:
    """‖a − b‖², ‖a‖² and ‖b‖² of each execution (of all where they are not counted), shape (t,)."""
    rows = [_by_execution(value) if executions else value.reshape(1, -1) for value in (a, b)]
    common = min(map(len, rows))
    first, second = (part.astype(np.float64) for part in rows)
    difference = first[:common] - second[:common]
    return [(part**2).sum(axis=1) for part in (difference, first, second)]


def _by_execution(value: Array) -> Array:
    """A tensor of executions as one row for each, also where there are none."""
    return value.reshape(len(value), math.prod(value.shape[1:]))


def _common_sums(a: Array, b: Array, executions: bool) -> list[float]:
    """The same over all executions that both have."""
    parts = _sums(a, b, executions)
    return [float(part[: len(parts[0])].sum()) for part in parts]


def _flat(values: Sequence[Array]) -> Array:
    """All elements, in order; of samples that differ in shape, too."""
    parts = [
        _flat(list(v))
        if v.dtype == object and v.size and isinstance(v.flat[0], np.ndarray)
        else v.reshape(-1)
        for v in values
    ]
    return np.concatenate(parts)
