"""A model in another floating-point type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.rewrite.graph import copy_model, subgraphs

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
# Attributes that name an element type.
_NAMING = ("to", "dtype", "output_dtype", "stash_type")


def retyped(model: onnx.ModelProto, element: int) -> onnx.ModelProto:
    """A copy of ``model`` in which every float is of the type ``element``, bodies included.

    What operators insist on (the scales of a ``Resize`` are float32) is not looked after.
    """
    copied = copy_model(model)
    for function in copied.functions:
        _retype_nodes(function.node, element)
    _retype_graph(copied.graph, element)
    return copied


def retyped_feeds(feeds: Mapping[str, Any], element: int) -> dict[str, Any]:
    """The same of the inputs."""
    dtype = helper.tensor_dtype_to_np_dtype(element)
    return {
        name: value.astype(dtype) if is_float(value) else value for name, value in feeds.items()
    }


def is_float(value: Any) -> bool:
    """Whether ``value`` is an array of one of ``FLOATS``."""
    if not isinstance(value, np.ndarray) or value.dtype == object:
        return False
    try:
        return helper.np_dtype_to_tensor_dtype(value.dtype) in FLOATS
    except (KeyError, ValueError):
        return False


def _retype_graph(graph: onnx.GraphProto, element: int) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        for kind in _tensor_types(value.type):
            if kind.elem_type in FLOATS:
                kind.elem_type = element
    for tensor in graph.initializer:
        _retype_tensor(tensor, element)
    _retype_nodes(graph.node, element)


def _tensor_types(kind: onnx.TypeProto) -> Iterator[onnx.TypeProto.Tensor]:
    if kind.HasField("sequence_type"):
        yield from _tensor_types(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        yield from _tensor_types(kind.optional_type.elem_type)
    else:
        yield kind.tensor_type


def _retype_nodes(nodes: Any, element: int) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _NAMING and attribute.i in FLOATS:
                attribute.i = element
            elif attribute.HasField("t"):
                _retype_tensor(attribute.t, element)
            elif node.op_type == "Constant" and attribute.name.startswith("value_float"):
                _spell_out(attribute, element)
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = np.zeros(1, helper.tensor_dtype_to_np_dtype(element))
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(zero)))
        for body in subgraphs(node):
            _retype_graph(body, element)


def _spell_out(attribute: onnx.AttributeProto, element: int) -> None:
    """Make a ``value`` of a ``value_float`` or ``value_floats``, which are float32."""
    numbers = np.asarray(helper.get_attribute_value(attribute), np.float32)
    tensor = numpy_helper.from_array(numbers.astype(helper.tensor_dtype_to_np_dtype(element)))
    attribute.CopyFrom(helper.make_attribute("value", tensor))


def _retype_tensor(tensor: onnx.TensorProto, element: int) -> None:
    if tensor.data_type in FLOATS:
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(element))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
