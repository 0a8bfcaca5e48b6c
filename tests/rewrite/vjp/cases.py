"""One-node models for the tests of adjoint rules, and what is asked of every rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.graphs import model, node, run, value
from tests.rewrite.gradients import STEP, check, check_on_runtime, pulled_back

if TYPE_CHECKING:
    from onnx import ModelProto

Array = NDArray[Any]

# How much a model says about its inputs: all, the first dimension alone, not even the rank.
KNOWLEDGE = ["fixed", "free", "unknown"]


def one_node(
    kind: str,
    feeds: Mapping[str, Array],
    *,
    inputs: Sequence[str] | None = None,
    weights: Mapping[str, Array] | None = None,
    opset: int = 18,
    knowledge: str = "fixed",
    **attributes: Any,
) -> ModelProto:
    """A node "y" that reads the feeds, then the weights (or what ``inputs`` says)."""
    declared = [value(n, _declared(n, x, knowledge), str(x.dtype)) for n, x in feeds.items()]
    names = list(inputs) if inputs is not None else [*feeds, *(weights or {})]
    kept = str(next(x.dtype for x in feeds.values() if x.dtype.kind == "f"))
    nodes = [node(kind, names, ["y"], **attributes)]
    return model(nodes, declared, [value("y", None, kept)], weights, opset=opset)


def _declared(name: str, array: Array, knowledge: str) -> list[int | str] | None:
    if knowledge == "unknown":
        return None
    if knowledge == "free":
        return [*array.shape[:1], *(f"{name}{axis}" for axis in range(1, array.ndim))]
    return list(array.shape)


def verify(kind: str, feeds: Mapping[str, Array], *, coarse: bool = False, **options: Any) -> None:
    """Hold the adjoints of a node to central differences, and in single precision to those in double.

    Args:
        kind: The operator.
        feeds: Its inputs, in double.
        coarse: Whether it is evaluated to single precision alone, also in double.
        options: See ``one_node``.
    """
    # The runtime takes no numpy scalars.
    feeds = {name: np.asarray(array) for name, array in feeds.items()}
    proto = one_node(kind, feeds, **options)
    check(proto, feeds, step=1e-3 if coarse else STEP, tolerance=1e-3 if coarse else 1e-5)
    if runtime_takes(options.get("opset", 18)):
        check_on_runtime(proto, feeds)


@cache
def runtime_takes(opset: int) -> bool:
    """Whether this ONNX Runtime runs models of that version; the oldest supported one stops at 22."""
    feeds = {"x": np.zeros(1, np.float32)}
    try:
        run(one_node("Identity", feeds, opset=opset), feeds)
    except Exception:  # noqa: BLE001 - the runtime documents no class of error
        return False
    return True


def adjoints(
    proto: ModelProto, feeds: Mapping[str, Array], seed: float | Array = 1.0
) -> dict[str, Array]:
    """The adjoints of all float inputs on ONNX Runtime, where ``seed`` is that of the output."""
    names = [name for name, array in feeds.items() if array.dtype.kind == "f"]
    pulled, gradients, seeds = pulled_back(proto, names)
    values = run(proto, feeds)
    given = {
        seeds[n]: np.broadcast_to(seed, values[n].shape).astype(values[n].dtype) for n in seeds
    }
    found = run(pulled, {**feeds, **given})
    return {name: found[gradient] for name, gradient in gradients.items()}


def adjoint(kind: str, x: Sequence[float] | Array, **options: Any) -> Array:
    """The adjoint of the input "x" of a node in single precision, whose output's adjoint is 1."""
    feeds: dict[str, Array] = {"x": np.asarray(x, options.pop("dtype", np.float32))}
    return adjoints(one_node(kind, feeds, **options), feeds)["x"]


def drawn(seed: int, shape: Sequence[int]) -> Array:
    """Values of either sign that keep away from 0 and from each other."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    numbers = rng.permutation(size) + 1.0
    found: Array = (numbers + rng.random(size) / 4) * rng.choice([-0.1, 0.1], size)
    return found.reshape(shape)


def positive(seed: int, shape: Sequence[int]) -> Array:
    """Values above 0.2 that keep away from each other."""
    return np.abs(drawn(seed, shape)) + 0.2
