"""Constants that a file stores sparse: most of their elements are 0, and only the others are listed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, SparseTensorProto, helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import copy_model, is_standard, subgraphs

# What a protobuf message can hold.
_MOST_BYTES = 2**31 - 1


def densified(model: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """A copy of ``model`` in which no constant is sparse; the model itself where none is.

    Args:
        model: It may have sparse initializers and ``Constant`` nodes, in bodies too.
        folder: Of the values that are outside the proto.

    Raises:
        ModelError: Places or shape of one make no sense, or it is larger than 2 GiB.
    """
    if not any(sparse_names(model.graph)):
        return model
    copied = copy_model(model)
    _densify(copied.graph, folder)
    return copied


def sparse_names(graph: onnx.GraphProto) -> Iterator[str]:
    """The constants of ``graph`` that are stored sparse, and those of its bodies."""
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        if any(_sparse_values(node)):
            yield node.output[0]
        for body in subgraphs(node):
            yield from sparse_names(body)


def _densify(graph: onnx.GraphProto, folder: Path | None) -> None:
    graph.initializer.extend(_dense(sparse, folder) for sparse in graph.sparse_initializer)
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in _sparse_values(node):
            dense = _dense(attribute.sparse_tensor, folder)
            attribute.CopyFrom(helper.make_attribute("value", dense))
        for body in subgraphs(node):
            _densify(body, folder)


def _sparse_values(node: onnx.NodeProto) -> list[AttributeProto]:
    if not is_standard(node, {"Constant"}):
        return []
    return [attribute for attribute in node.attribute if attribute.name == "sparse_value"]


def _dense(sparse: SparseTensorProto, folder: Path | None) -> onnx.TensorProto:
    shape, name = tuple(sparse.dims), sparse.values.name
    try:
        values, places = (
            numpy_helper.to_array(tensor, str(folder or ""))
            for tensor in (sparse.values, sparse.indices)
        )
        _require_room(name, shape, values.dtype.itemsize)
        array = np.zeros(shape, values.dtype)
        # Places are coordinates, one row for each value, or they count through the elements.
        array[tuple(places.T) if places.ndim > 1 else np.unravel_index(places, shape)] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(
            f"sparse tensor {name!r} of shape {shape} cannot be read: {error}; export the model again"
        ) from error
    return numpy_helper.from_array(array, name)


def _require_room(name: str, shape: tuple[int, ...], itemsize: int) -> None:
    """A few bytes can stand for any number of zeros."""
    size = math.prod(shape) * itemsize
    if min(shape, default=0) < 0 or size > _MOST_BYTES:
        raise ModelError(
            f"sparse tensor {name!r} of shape {shape} would take {size:,} bytes, and at most {_MOST_BYTES:,} "
            "are accepted: store it dense"
        )
