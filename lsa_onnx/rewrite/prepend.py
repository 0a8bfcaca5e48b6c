"""``prepend``: fold an input's normalisation into the graph.

Perturbations then stay in the units of the declared range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    add_initializer,
    copy_model,
    import_default_domain,
    node_inputs,
    subgraphs,
    true_inputs,
    unused_suffix,
)


def prepend(
    model: onnx.ModelProto,
    input_name: str,
    scale: Sequence[float] | NDArray[np.float64],
    offset: Sequence[float] | NDArray[np.float64],
    channel_axis: int = 1,
) -> onnx.ModelProto:
    """A copy of ``model`` whose input ``x`` is first mapped to ``x * scale + offset``.

    The input keeps its name, type and shape, so callers feed the same array in other units: values
    of the declared range instead of normalised ones. An identity (all scales 1, all offsets 0) adds
    no node. An output that is the input itself returns what is fed, unmapped.

    Args:
        model: Any ONNX model; it is not changed.
        input_name: The float input to map.
        scale: One value, or one per channel.
        offset: Likewise.
        channel_axis: Axis of the channels, counted from 0 with the batch axis included. Without
            effect for one value.

    Raises:
        ModelError: There is no such input, it is not a float tensor, or its shape is undeclared
            while there are several channels.
    """
    scales, offsets = np.atleast_1d(np.asarray(scale)), np.atleast_1d(np.asarray(offset))
    if np.all(scales == 1) and np.all(offsets == 0):
        return copy_model(model)
    value = _float_input(model, input_name)
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    shape = _broadcast_shape(value, max(scales.size, offsets.size), channel_axis)
    changed = copy_model(model)
    graph = changed.graph
    suffix = unused_suffix(graph, "__prepend")
    names = {part: f"{input_name}{suffix}_{part}" for part in ("scale", "offset", "scaled", "out")}
    for part, array in (("scale", scales), ("offset", offsets)):
        full = np.broadcast_to(array, (max(scales.size, offsets.size),)).reshape(shape)
        add_initializer(changed, numpy_helper.from_array(full.astype(dtype), names[part]))
    import_default_domain(changed)
    _rename_reads(graph, input_name, names["out"])
    graph.node.insert(
        0, helper.make_node("Mul", [input_name, names["scale"]], [names["scaled"]], names["scaled"])
    )
    graph.node.insert(
        1, helper.make_node("Add", [names["scaled"], names["offset"]], [names["out"]], names["out"])
    )
    return changed


def _float_input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    inputs = {value.name: value for value in true_inputs(model.graph)}
    if name not in inputs:
        raise ModelError(f"the model has no input {name!r}; its inputs are {', '.join(inputs)}")
    element = inputs[name].type.tensor_type.elem_type
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    if element not in floats:
        kind = onnx.TensorProto.DataType.Name(element)
        raise ModelError(f"input {name!r} is of type {kind}; only float inputs can be normalised")
    return inputs[name]


def _broadcast_shape(
    value: onnx.ValueInfoProto, channels: int, channel_axis: int
) -> tuple[int, ...]:
    """The shape in which ``channels`` values broadcast along ``channel_axis``; () for one value."""
    if channels == 1:
        return ()
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not 0 <= channel_axis < len(kind.shape.dim):
        raise ModelError(
            f"input {value.name!r} declares no axis {channel_axis} for its {channels} channels; "
            "give a single mean and std, or --layout"
        )
    return tuple(channels if axis == channel_axis else 1 for axis in range(len(kind.shape.dim)))


def _rename_reads(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node that reads ``old`` read ``new``, also inside subgraphs that do not shadow the name."""
    for node in graph.node:
        if old not in node_inputs(node):
            continue
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
        for inner in subgraphs(node):
            if old not in {v.name for v in inner.input}:
                _rename_reads(inner, old, new)
    for value in graph.output:
        if value.name == old and old not in {v.name for v in graph.input}:
            value.name = new
