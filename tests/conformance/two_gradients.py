"""Gradients by inputs from two sources that share no code: torch's autograd, and written adjoints."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.differentiate import primitives
from lsa_onnx.rewrite.vjp import MissingRules
from lsa_trainer.module import OnnxModule
from tests.conformance.agreement import disagreement
from tests.conformance.cases import Case, runnable
from tests.conformance.retyped import is_float
from tests.conformance.running import answer, runtime
from tests.conformance.subject import HUGE, float_inputs, sizes, whole_numbers, with_constants
from tests.rewrite.gradients import pulled_back
from tests.trainer.on_torch import loaded, pulled_back_by_torch, run_torch

Array = NDArray[Any]

# How often the point is moved away from kinks, at which the two may take different sides.
_ATTEMPTS = 6
_SHRINKING = 3
_TOLERANCE = 1e-3
# What single gives where the model computes in half precision.
_HALF_TOLERANCE = 2e-2
# Images of networks: rounding puts a few of a million activations on the other side of their kink.
_LARGE = 50_000
_CROSSED = 10
_SCALED = frozenset({"DequantizeLinear", "QuantizeLinear"})


def apart(case: Case, seed: int = 0) -> dict[str, str] | None:
    """How the gradients of a case differ, by input: wrong ones do so at every point.

    Returns:
        Nothing where they agree; ``None`` where there are no two gradients to compare.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        case = with_constants(case, sizes(case))
        found = _apart(case, seed)
        if found is None and whole_numbers(case):
            found = _apart(with_constants(case, whole_numbers(case)), seed)
    return found


def _apart(case: Case, seed: int) -> dict[str, str] | None:
    wrt, rng = _differentiable(case), np.random.default_rng(seed)
    if not wrt:
        return None
    try:
        adjoint = _Adjoint(case, wrt)
        with tempfile.TemporaryDirectory() as folder:
            module = loaded(case.model, Path(folder))
    except (ModelError, MissingRules):
        return None
    if _hides_nan(module, case):
        return None
    found: dict[str, str] | None = None
    for attempt in range(_ATTEMPTS):
        feeds = _point(case.feeds, wrt, attempt, rng)
        weights = adjoint.weights(feeds, rng)
        written = adjoint.at(feeds, weights) if weights else None
        if written is None or not all(np.isfinite(g).all() for g in written.values()):
            continue
        ours = pulled_back_by_torch(module, feeds, wrt, weights)
        found = {n: t for n in wrt if (t := _disagreement(ours[n], written[n]))}
        if not found:
            return found
    return found


def _differentiable(case: Case) -> list[str]:
    """The float inputs; scales of quantised numbers are constants to written adjoints, by design."""
    scales = {name for n in case.model.graph.node if n.op_type in _SCALED for name in n.input[1:]}
    return [name for name in float_inputs(case) if name not in scales]


def _hides_nan(module: OnnxModule, case: Case) -> bool:
    """Whether a node chooses something in place of NaN: to torch, the derivative there is NaN too."""
    values = run_torch(module, case.feeds, module.tensor_names)
    return any(is_float(value) and np.isnan(value).any() for value in values.values())


class _Adjoint:
    """The written adjoints of a model, on ONNX Runtime."""

    def __init__(self, case: Case, wrt: Sequence[str]) -> None:
        ruled = runnable(primitives(case.model))
        pulled, self._gradients, self._seeds = pulled_back(ruled, wrt)
        self._wrt = wrt
        self._forward = runtime(case.model)
        self._backward = runtime(pulled)

    def weights(self, feeds: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Array]:
        """For each output random numbers, 0 for what is no number; nothing where it does not run."""
        values = answer(self._forward, feeds) if self._forward else None
        return {name: _weights((values or {})[name], rng) for name in self._seeds if values}

    def at(self, feeds: Mapping[str, Any], weights: Mapping[str, Array]) -> dict[str, Array] | None:
        """The gradients, 0 where no path leads; ``None`` where they cannot be had."""
        zeros = {name: np.zeros_like(feeds[name]) for name in self._wrt}
        if not self._gradients:
            return zeros
        given = {self._seeds[name]: weight for name, weight in weights.items()}
        found = answer(self._backward, {**feeds, **given}) if self._backward else None
        return found and zeros | {name: found[made] for name, made in self._gradients.items()}


def _weights(value: Any, rng: np.random.Generator) -> Array:
    array = np.asarray(value)
    usable = np.isfinite(array) & (np.abs(array.astype(np.float64)) < HUGE)
    return np.where(usable, rng.standard_normal(array.shape), 0).astype(array.dtype)


def _point(
    feeds: Mapping[str, Any], names: Sequence[str], attempt: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The case's own point, then ones nearby, then smaller ones: see ``examine``."""
    moved = dict(feeds)
    for name in names if attempt else ():
        array = feeds[name].astype(np.float64)
        near = array * (1 + 0.05 * rng.uniform(-1, 1, array.shape))
        near += 0.02 * rng.uniform(-1, 1, array.shape)
        shrunk = np.abs(near) / 2 ** (attempt - _SHRINKING)
        moved[name] = np.asarray(near if attempt < _SHRINKING else shrunk, feeds[name].dtype)
    return moved


def _disagreement(ours: Array, theirs: Array) -> str:
    if theirs.size > _LARGE:
        a, b = (array.astype(np.float64) for array in (ours, theirs))
        distance = float(np.linalg.norm(a - b) / np.linalg.norm(b))
        return "" if distance <= _TOLERANCE * _CROSSED else f"apart by {distance:.2g} of the norm"
    if theirs.dtype.itemsize > 2:
        return disagreement(ours, theirs, tolerance=_TOLERANCE)
    wide = [array.astype(np.float32) for array in (ours, theirs)]
    return disagreement(*wide, tolerance=_HALF_TOLERANCE)
