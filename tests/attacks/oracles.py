"""Oracles whose worst inputs are known, over the array API."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import array_api_compat
import numpy as np

from lsa_onnx.attacks import Answer, Batch, Goal, Oracle

Array = Any


def flat(x: Array) -> Array:
    size = math.prod(x.shape[1:])
    return array_api_compat.array_namespace(x).reshape(x, (x.shape[0], size))


def like(values: Array, x: Array) -> Array:
    return array_api_compat.array_namespace(x).asarray(values, dtype=x.dtype)


@dataclasses.dataclass
class Linear:
    """Loss w · x; a sample is broken where the loss reaches ``limit``. Counts the inputs it is asked."""

    weights: Array
    limit: float = float("inf")
    queries: int = 0

    def __call__(self, x: Array, y: Goal, *, gradient: bool = True) -> Answer:
        xp = array_api_compat.array_namespace(x)
        self.queries += x.shape[0]
        weights = like(self.weights, x)
        loss = xp.sum(flat(x * weights[None, ...]), axis=1)
        slope = xp.broadcast_to(weights[None, ...], x.shape) if gradient else None
        return Answer(loss, slope, self.limit - loss)


def quadratic(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
    """Loss −‖x − target‖², without classes: its maximum is the target."""
    xp = array_api_compat.array_namespace(x)
    away = x - y["target"]
    return Answer(-xp.sum(flat(away * away), axis=1), -2 * away if gradient else None, None)


def distance(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
    """Loss ‖x − reference‖², without classes: zero, with a zero gradient, at the clean input."""
    answer = quadratic(x, {"target": y["reference"]}, gradient=gradient)
    return Answer(-answer.loss, None if answer.gradient is None else -answer.gradient, None)


def masked(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
    """Loss that depends on x, with a gradient that does not show it."""
    xp = array_api_compat.array_namespace(x)
    loss = xp.sum(flat(x), axis=1)
    return Answer(loss, xp.zeros_like(x) if gradient else None, 1.0 - loss)


def undefined(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
    """NaN for an answer, as a model that overflows gives it."""
    xp = array_api_compat.array_namespace(x)
    nothing = xp.full((x.shape[0],), float("nan"), dtype=x.dtype)
    return Answer(nothing, x * float("nan") if gradient else None, nothing)


class Mlp:
    """ReLU network with one hidden layer, its objectives and their gradients written by hand."""

    def __init__(self, features: int, classes: int = 4, hidden: int = 16, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.first = rng.standard_normal((features, hidden)) / np.sqrt(features) * 3
        self.second = rng.standard_normal((hidden, classes)) / np.sqrt(hidden) * 3

    def logits(self, x: Array) -> tuple[Array, Array]:
        """Logits, shape (n, classes), and which hidden units are active, shape (n, hidden)."""
        xp = array_api_compat.array_namespace(x)
        hidden = products(flat(x) - 0.5, like(self.first, x))
        active = xp.astype(hidden > 0, x.dtype)
        return products(hidden * active, like(self.second, x)), active

    def oracle(self, objective: str | None = None) -> Oracle:
        """``ce`` (the default), ``margin`` or ``dlr``; y holds labels."""

        def answer(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
            xp = array_api_compat.array_namespace(x)
            logits, active = self.logits(x)
            classes = xp.arange(logits.shape[1])
            true = xp.astype(classes[None, :] == y["labels"][:, None], x.dtype)
            margin = xp.sum(logits * true, axis=1) - xp.max(logits - true * 1e4, axis=1)
            loss, slope = _OBJECTIVES[objective or "ce"](xp, logits, true)
            if not gradient:
                return Answer(loss, None, margin)
            back = products(slope, like(self.second.T, x)) * active
            back = products(back, like(self.first.T, x))
            return Answer(loss, xp.reshape(back, x.shape), margin)

        return answer


def true_norms(delta: Array, norm: str) -> Array:
    """Of each sample of a numpy array, in double precision, shape (n,)."""
    rows = flat(delta.astype(np.float64))
    return np.linalg.norm(rows, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)


def products(rows: Array, matrix: Array) -> Array:
    """rows @ matrix, such that a row's result does not depend on how many rows there are."""
    xp = array_api_compat.array_namespace(rows)
    return xp.sum(rows[:, :, None] * matrix[None, :, :], axis=1)


def _cross_entropy(xp: Any, logits: Array, true: Array) -> tuple[Array, Array]:
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    total = xp.sum(xp.exp(shifted), axis=1, keepdims=True)
    loss = xp.log(total[:, 0]) - xp.sum(shifted * true, axis=1)
    return loss, xp.exp(shifted) / total - true


def _margin(xp: Any, logits: Array, true: Array) -> tuple[Array, Array]:
    others = logits - true * 1e4
    top = xp.max(others, axis=1)
    best = xp.astype(others == top[:, None], logits.dtype)
    return top - xp.sum(logits * true, axis=1), best - true


def _dlr(xp: Any, logits: Array, true: Array) -> tuple[Array, Array]:
    """Over the gap from the first to the third logit, taken as fixed in the gradient."""
    loss, slope = _margin(xp, logits, true)
    ranked = xp.sort(logits, axis=1)
    gap = ranked[:, -1] - ranked[:, -3] + 1e-9
    return loss / gap, slope / gap[:, None]


_OBJECTIVES = {"ce": _cross_entropy, "margin": _margin, "dlr": _dlr}


def mlp_batch(
    shape: tuple[int, ...], dtype: Any = np.float32, *, low: float = 0.0, high: float = 1.0
) -> Batch:
    """A batch for an ``Mlp`` on inputs of ``shape``, (n, ...), labelled with what it predicts."""
    network = Mlp(math.prod(shape[1:]))
    rng = np.random.default_rng(1)
    x = np.clip(rng.uniform(low, high, shape), low, high).astype(dtype)
    labels = network.logits(x)[0].argmax(axis=1)
    goal = {"labels": labels}
    return Batch(x, labels, 0, low, high, oracles=network.oracle, goal=goal)


def part_of(batch: Batch, rows: slice) -> Batch:
    """Consecutive samples of a batch, at their place in it."""
    return dataclasses.replace(
        batch,
        x=batch.x[rows],
        labels=None if batch.labels is None else batch.labels[rows],
        goal={name: values[rows] for name, values in batch.goal.items()},
        start=batch.start + (rows.start or 0),
    )
