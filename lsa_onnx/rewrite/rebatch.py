"""``rebatch``: free a batch of 1 that was baked into a model.

Exporters write the batch they traced with into the inputs, the outputs and the shapes that
``Reshape`` takes. The rewrite makes those positions free again. It is a proposal: whether a batch of
N gives the same answers as N single runs is for the caller to verify on data.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    add_initializer,
    attribute,
    constant_value,
    copy_model,
    dependents,
    dimensions,
    is_standard,
    producers,
    subgraphs,
    true_inputs,
    unused_suffix,
)


def rebatch(model: onnx.ModelProto, batch_name: str = "N") -> onnx.ModelProto:
    """A copy of ``model`` with a free leading dimension on every input and output that has a 1 there.

    Reshape targets with a leading 1 lose it where they reshape something that depends on the input:
    ``[1, 256]`` becomes ``[-1, 256]``, ``[1, -1]`` becomes ``[0, -1]`` (copy the batch). A model
    that needs more than that (recurrent initial states, say) is not equal on batches, which the
    caller finds out on data.

    Args:
        model: A model whose inputs have a leading dimension of 1; it is not changed.
        batch_name: Name of the freed dimension; a number is added where the model uses it already.

    Raises:
        ModelError: An input has no leading dimension of 1.
    """
    for value in true_inputs(model.graph):
        shape = dimensions(value)
        if not shape or shape[0] != 1:
            raise ModelError(
                f"cannot free the batch of input {value.name!r}: its shape is {shape}, "
                "which does not lead with 1"
            )
    freed = copy_model(model)
    graph = freed.graph
    name = _unused_dimension(graph, batch_name)
    for value in (*true_inputs(graph), *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == 1:
            dims[0].dim_param = name
    _forget_shapes(graph)
    _free_shapes(freed)
    return freed


def _unused_dimension(graph: onnx.GraphProto, wanted: str) -> str:
    """A name of its own: dimensions of one name are taken to be equal."""
    values = (*graph.input, *graph.output, *graph.value_info)
    used = {d for value in values for d in dimensions(value) or []}
    numbers = itertools.count(1)
    name = wanted
    while name in used:
        name = f"{wanted}{next(numbers)}"
    return name


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop recorded shapes of inner tensors: they still say 1, and ONNX Runtime would trust them."""
    del graph.value_info[:]
    for node in graph.node:
        for inner in subgraphs(node):
            _forget_shapes(inner)


def _free_shapes(model: onnx.ModelProto) -> None:
    """Free the leading 1 in the target shape of every Reshape whose data depends on the input."""
    graph = model.graph
    batched = dependents(graph, [value.name for value in true_inputs(graph)])
    makers = producers(graph)
    tensors = {t.name: t for t in graph.initializer}
    suffix = unused_suffix(graph, "__rebatch")
    for node in graph.node:
        if not is_standard(node, ("Reshape",)) or node.input[0] not in batched:
            continue
        shape = _target_shape(node, makers, tensors)
        free = None if shape is None else _freed(shape, attribute(node, "allowzero", 0) == 1)
        if free is None:
            continue
        name = f"{node.input[1]}{suffix}"
        if name not in tensors:
            tensors[name] = numpy_helper.from_array(free, name)
            add_initializer(model, tensors[name])
        node.input[1] = name


def _target_shape(
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    tensors: Mapping[str, onnx.TensorProto],
) -> NDArray[np.int64] | None:
    if len(node.input) < 2:
        return None
    value = constant_value(node.input[1], makers, tensors)
    return None if value is None else value.astype(np.int64).reshape(-1)


def _freed(shape: NDArray[np.int64], zero_is_zero: bool) -> NDArray[np.int64] | None:
    """The shape with a free batch in front, ``None`` where none can be freed."""
    if shape.size == 0 or shape[0] != 1:
        return None
    inferred = -1 in shape[1:]
    if inferred and zero_is_zero:
        return None
    return np.concatenate([[0 if inferred else -1], shape[1:]]).astype(np.int64)
