"""Models of one operator on doubles, and the checks that movement, indexing and sampling share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tests.graphs import model, node, value
from tests.rewrite.gradients import check, check_on_runtime

Array = NDArray[Any]


def normal(seed: int, *shape: int) -> Array:
    """Normal doubles."""
    return np.random.default_rng(seed).standard_normal(shape)


def one_node(
    kind: str,
    feeds: dict[str, Array],
    constants: dict[str, Array] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] = ("y",),
    inner: Sequence[str] = (),
    element: str = "float64",
    free: bool = False,
    opset: int = 18,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node.

    Args:
        kind: The operator.
        feeds: Its inputs that a run is given.
        constants: Those that are initializers.
        inputs: The order of all inputs, "" for one that is left out; feeds, then constants by default.
        outputs: All outputs of the node, "" for one that is left out.
        inner: Those that the model does not return; the rest it does.
        element: The type of these outputs.
        free: Leave every dimension open, instead of the first alone.
        opset: Of the model.
        attributes: Of the node.
    """
    constants = constants or {}
    names = list(inputs) if inputs is not None else [*feeds, *constants]
    declared = [_declared(name, array, free) for name, array in feeds.items()]
    results = [value(name, None, element) for name in outputs if name and name not in inner]
    graph = [node(kind, names, list(outputs), name="n", **attributes)]
    return model(graph, declared, results, constants, opset=opset)


def _declared(name: str, array: Array, free: bool) -> onnx.ValueInfoProto:
    named = array.ndim if free else 1
    shape = [f"{name}{axis}" if axis < named else size for axis, size in enumerate(array.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)


def check_both(proto: onnx.ModelProto, feeds: dict[str, Array], **options: Any) -> None:
    """In double against central differences, and in single precision on the optimised runtime."""
    check(proto, feeds, **options)
    check_on_runtime(proto, feeds)


def check_node(
    kind: str, feeds: dict[str, Array], constants: dict[str, Array] | None = None, **how: Any
) -> None:
    """``check_both`` of a model as ``one_node`` makes it. These operators are linear: any step will do."""
    check_both(one_node(kind, feeds, constants, **how), feeds, step=0.5)
