"""Shape arithmetic, done while a graph is translated.

Exporters compute the shapes that Reshape, Expand and others take from the shapes of tensors, in a
dozen nodes for each. Here a shape is an array of numbers, of which those that follow the batch are
``torch.fx`` proxies: what is left in the module is at most a product of two sizes.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lsa_trainer.ops.registry import Op
from lsa_trainer.translation.runtime import quotient

Numbers = NDArray[Any]
# (inputs, node) → the result.
_Rule = Callable[[Sequence["Numbers | None"], Op], Numbers]


class NotOnHost(Exception):
    """The operation needs a number that only a run can tell."""


def as_numbers(items: Sequence[Any], shape: tuple[int, ...]) -> Numbers:
    """An array of objects; numpy must not look inside proxies, so they are put in one by one."""
    flat = np.empty(len(items), object)
    for index, item in enumerate(items):
        flat[index] = item
    return flat.reshape(shape)


def product(factors: Iterable[Any]) -> Any:
    """The product of numbers, 1 for none."""
    numbers = list(factors)
    return functools.reduce(operator.mul, numbers) if numbers else 1


def evaluate(op: Op, inputs: Sequence[Numbers | None]) -> Numbers:
    """The result of a node whose inputs are all known as numbers.

    Raises:
        NotOnHost: The operator is not one of shape arithmetic, or it asks for a number's value.
    """
    rule = _RULES.get(op.node.op_type)
    if rule is None or op.node.domain not in ("", "ai.onnx"):
        raise NotOnHost(op.node.op_type)
    result: Any = rule(inputs, op)
    # numpy gives an entry itself in place of an array without axes.
    return result if isinstance(result, np.ndarray) else as_numbers([result], ())


def _known(value: Numbers | None) -> NDArray[np.int64]:
    """As integers."""
    if value is None or any(not isinstance(v, int) for v in value.ravel()):
        raise NotOnHost("a number that is known")
    return value.astype(np.int64)


def _elementwise(apply: Callable[[Any, Any], Any]) -> _Rule:
    def rule(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
        a, b = (_given(value) for value in inputs)
        pairs = np.broadcast(a, b)
        return as_numbers([apply(x, y) for x, y in pairs], pairs.shape)

    return rule


def _given(value: Numbers | None) -> Numbers:
    if value is None:
        raise NotOnHost("an input")
    return value


def _divided(a: Any, b: Any) -> Any:
    for number in (a, b):
        if isinstance(number, torch.fx.Proxy):
            return number.tracer.create_proxy("call_function", quotient, (a, b), {})
    if b == 0:
        raise NotOnHost("a divisor other than 0")
    return quotient(a, b)


def _equal(a: Any, b: Any) -> bool:
    symbolic = [isinstance(v, torch.fx.Proxy) for v in (a, b)]
    if not any(symbolic):
        return bool(a == b)
    number = b if symbolic[0] else a
    if not all(symbolic) and number < 0:
        return False  # no size is negative
    raise NotOnHost("whether two sizes are equal")


def _where(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
    condition, yes, no = (_given(value) for value in inputs)
    rows = np.broadcast(condition, yes, no)
    if any(not isinstance(c, (bool, int)) for c in condition.ravel()):
        raise NotOnHost("a condition that is known")
    return as_numbers([y if c else n for c, y, n in rows], rows.shape)


def _gather(inputs: Sequence[Numbers | None], op: Op) -> Numbers:
    data, index = _given(inputs[0]), _known(inputs[1])
    taken: Numbers = data.take(index, axis=op.attributes.get("axis", 0))
    return taken


def _concat(inputs: Sequence[Numbers | None], op: Op) -> Numbers:
    return np.concatenate([_given(value) for value in inputs], axis=op.attributes["axis"])


def _slice(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
    data = _given(inputs[0])
    starts, ends = (_known(value).ravel().tolist() for value in inputs[1:3])
    axes = _optional(inputs, 3, list(range(len(starts))))
    steps = _optional(inputs, 4, [1] * len(starts))
    cut = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # −1 counts from the end for numpy; what ONNX means by "before the first" is None there.
        below = step < 0 and end < -data.shape[axis]
        cut[axis] = slice(start, None if below else end, step)
    return data[tuple(cut)]


def _optional(inputs: Sequence[Numbers | None], index: int, default: list[int]) -> list[int]:
    if index >= len(inputs) or inputs[index] is None:
        return default
    return [int(v) for v in _known(inputs[index]).ravel()]


def _unsqueeze(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
    return np.expand_dims(_given(inputs[0]), tuple(_known(inputs[1]).ravel().tolist()))


def _squeeze(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
    axes = _optional(inputs, 1, [])
    return np.squeeze(_given(inputs[0]), tuple(axes) or None)


def _reshape(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
    return _given(inputs[0]).reshape(tuple(_known(inputs[1]).ravel().tolist()))


def _cast(inputs: Sequence[Numbers | None], op: Op) -> Numbers:
    if op.attributes["to"] not in _WHOLE:
        raise NotOnHost("a cast to another kind of number")
    return _given(inputs[0])


def _product(inputs: Sequence[Numbers | None], op: Op) -> Numbers:
    data = _given(inputs[0])
    axes = _optional(inputs, 1, [])
    if data.ndim != 1 or axes not in ([], [0], [-1]):
        raise NotOnHost("a product along an axis")
    return as_numbers([product(data)], (1,) if op.attributes.get("keepdims", 1) else ())


def _same(inputs: Sequence[Numbers | None], _op: Op) -> Numbers:
    return _given(inputs[0])


# INT32 and INT64 of ONNX.
_WHOLE = (6, 7)

_RULES: Mapping[str, _Rule] = {
    "Add": _elementwise(operator.add),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _elementwise(_divided),
    "Equal": _elementwise(_equal),
    "Gather": _gather,
    "Identity": _same,
    "Mul": _elementwise(operator.mul),
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _elementwise(operator.sub),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
