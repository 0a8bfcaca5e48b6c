"""What is known of the tensors that a graph sees, without running it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite.graph import (
    constant_value,
    copy_model,
    forget_shape,
    graphs_in,
    inferred,
    producers,
    subgraphs,
)


class Scope:
    """Element types, ranks and small constants of a graph and of those around it.

    Nothing is computed before it is asked for.

    Args:
        infer: Returns the graph with inferred shapes in its ``value_info``.
        outer: What the graph around it knows.
    """

    def __init__(self, infer: Callable[[], onnx.GraphProto], outer: Scope | None = None) -> None:
        self._infer = infer
        self._outer = outer

    def inside(self, index: int, which: int) -> Scope:
        """The scope of body number ``which`` of node number ``index``."""

        def body() -> onnx.GraphProto:
            return list(subgraphs(self._graph.node[index]))[which]

        return Scope(body, self)

    def rank(self, name: str) -> int | None:
        """The number of dimensions of a tensor, ``None`` where it is not known."""
        if name in self._types:
            kind = self._types[name]
            return len(kind.shape.dim) if kind.HasField("shape") else None
        return self._outer.rank(name) if self._outer else None

    def element(self, name: str) -> int | None:
        """The ONNX element type of a tensor, ``None`` where it is not known."""
        if name in self._types:
            return int(self._types[name].elem_type) or None
        return self._outer.element(name) if self._outer else None

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of a small constant, ``None`` where ``name`` is not one held in the proto."""
        if name in self._types or self._outer is None:
            return constant_value(name, self._makers, self._tensors)
        return self._outer.constant(name)

    @cached_property
    def _graph(self) -> onnx.GraphProto:
        return self._infer()

    @cached_property
    def _types(self) -> dict[str, onnx.TypeProto.Tensor]:
        values = (*self._graph.input, *self._graph.value_info, *self._graph.output)
        types = {value.name: value.type.tensor_type for value in values}
        for tensor in self._graph.initializer:
            kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            types[tensor.name] = kind.tensor_type
        unknown = onnx.TypeProto.Tensor()
        return dict.fromkeys(self._makers, unknown) | types

    @cached_property
    def _makers(self) -> dict[str, onnx.NodeProto]:
        return producers(self._graph)

    @cached_property
    def _tensors(self) -> dict[str, onnx.TensorProto]:
        return {tensor.name: tensor for tensor in self._graph.initializer}


def scope_of(model: onnx.ModelProto) -> Scope:
    """The scope of the main graph of ``model``, which must stay as it is while it is asked."""
    return Scope(lambda: _inferred(model))


def _inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the shapes that follow from its inputs.

    What the file says of any other tensor is left out: ONNX Runtime only warns where that is wrong.
    """
    bare = copy_model(model)
    for graph in graphs_in(bare.graph):
        del graph.value_info[:]
        inner = graph.input if graph is not bare.graph else ()
        for value in (*inner, *graph.output):
            forget_shape(value)
    return inferred(bare, values=False).graph
