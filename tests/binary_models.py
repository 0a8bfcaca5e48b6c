"""Models with one score per sample, for two classes, on data whose classes are known."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from tests import graphs
from tests.graphs import Array

if TYPE_CHECKING:
    import onnx

# How the score leaves the model: a logit or a probability, with or without an axis of its own.
Form = Literal["logit", "flat logit", "probability", "flat probability"]
FORMS: tuple[Form, ...] = ("logit", "flat logit", "probability", "flat probability")
_SIZES = (2, 16, 16, 1)


def scorer(form: Form = "logit", batch: int | str = "N", *, scale: float = 1.0) -> onnx.ModelProto:
    """An MLP 2-16-16-1 on inputs in 0 to 1 with the logit "z", ``scale`` times ``logits``; its output is "y"."""
    nodes, weights, current = [], mlp_weights(scale), "x"
    for index in range(3):
        name = "z" if index == 2 else f"fc{index}"
        nodes.append(graphs.node("Gemm", [current, f"w{index}", f"b{index}"], [name]))
        current = name
        if index < 2:
            nodes.append(graphs.node("Relu", [name], [f"relu{index}"]))
            current = f"relu{index}"
    if "probability" in form:
        nodes.append(graphs.node("Sigmoid", [current], ["p"]))
        current = "p"
    if "flat" in form:
        weights["last"] = np.array([1], np.int64)
        nodes.append(graphs.node("Squeeze", [current, "last"], ["y"]))
    else:
        nodes.append(graphs.node("Identity", [current], ["y"]))
    shape: list[int | str | None] = [batch] if "flat" in form else [batch, 1]
    return graphs.model(nodes, [graphs.value("x", [batch, 2])], [graphs.value("y", shape)], weights)


def mlp_weights(scale: float = 1.0) -> dict[str, Array]:
    """Weights (in, out) and biases, shape (out,), of ``scorer``."""
    found = {}
    for index, (wide, out) in enumerate(pairwise(_SIZES)):
        found[f"w{index}"] = (scale if out == 1 else 3.0) * graphs.weight(index + 1, out, wide).T
        found[f"b{index}"] = np.zeros(out)
    # The middle of the inputs is where classes meet.
    found["b0"] = -0.5 * found["w0"].sum(0)
    found["b2"] = -_logits(np.full((1, 2), 0.5), found)[0]
    return {name: array.astype(np.float32) for name, array in found.items()}


def logits(x: Array, scale: float = 1.0) -> Array:
    """z of ``scorer`` in double precision, shape (n,), for inputs of shape (n, 2)."""
    return _logits(x, mlp_weights(scale))[:, 0]


def _logits(x: Array, weights: dict[str, Array]) -> Array:
    current = x.astype(np.float64)
    for index in range(3):
        current = current @ weights[f"w{index}"] + weights[f"b{index}"]
        current = np.maximum(current, 0) if index < 2 else current
    return current


def points(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Inputs, shape (n, 2), and their classes, which ``scorer`` gets right save every tenth, shape (n,)."""
    x = graphs.samples(seed, count, 2)
    y = (logits(x) > 0).astype(np.int64)
    y[::10] = 1 - y[::10]
    return x, y
