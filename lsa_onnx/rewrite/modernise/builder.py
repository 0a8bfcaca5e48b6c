"""What a converter works with: new nodes, shared constants, what is known of the tensors it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.graph import subgraphs
from lsa_onnx.rewrite.modernise.scope import Scope


class Unraisable(Exception):
    """This particular node has no newer form; the text says why."""


class Pool:
    """Small constants, one initializer per value."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self._by_value: dict[tuple[int, tuple[int, ...], bytes], onnx.TensorProto] = {}

    @property
    def tensors(self) -> list[onnx.TensorProto]:
        """All of them, in the order of their first use."""
        return list(self._by_value.values())

    def name(self, values: Any, element: int = onnx.TensorProto.INT64) -> str:
        """The name of the constant with these values, of this ONNX element type."""
        dtype = helper.tensor_dtype_to_np_dtype(element)
        array = np.asarray(values).astype(dtype)
        key = (element, array.shape, array.tobytes())
        if key not in self._by_value:
            tensor = numpy_helper.from_array(array, f"constant_{len(self._by_value)}{self.suffix}")
            self._by_value[key] = tensor
        return str(self._by_value[key].name)


class Builder:
    """Collects the nodes that replace one node.

    ``nodes`` holds them in order. New tensors are named after the first output of the replaced node.
    """

    def __init__(self, node: onnx.NodeProto, pool: Pool, scope: Scope, read: set[str]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.scope = scope
        self._node_name = node.name
        self._main = next((name for name in node.output if name), node.name)
        self._prefix = self._main + pool.suffix
        self._pool = pool
        self._read = read

    def keep(self, node: onnx.NodeProto) -> None:
        """Add a node that is complete."""
        self.nodes.append(node)

    def add(
        self, op: str, inputs: Sequence[str], output: str | None = None, /, **attributes: Any
    ) -> str:
        """Add a node with one output and return that; the maker of the first output keeps the name."""
        step = f"{self._prefix}_{len(self.nodes)}"
        result = output or step
        name = self._node_name if result == self._main else step
        self.nodes.append(helper.make_node(op, inputs, [result], name, **attributes))
        return result

    def integers(self, values: Sequence[int]) -> str:
        """An int64 constant of shape (len(values),)."""
        return self._pool.name(list(values))

    def floats(self, values: Any) -> str:
        """A float32 constant."""
        return self._pool.name(values, onnx.TensorProto.FLOAT)

    def like(self, values: Any, tensor: str) -> str:
        """A constant of the element type of ``tensor``, cast at run time where that type is not known."""
        element = self.scope.element(tensor)
        if element is None:
            return self.add("CastLike", [self.floats(values), tensor])
        # An attribute holds a float32, whatever the tensor's type: it must be rounded like one.
        return self._pool.name(np.asarray(values, np.float32), element)

    def is_read(self, name: str) -> bool:
        """Whether anything reads the tensor ``name``."""
        return name in self._read


# Adds to the builder what replaces the node (a copy, which it may change).
Converter = Callable[[onnx.NodeProto, Builder], None]


def take(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Remove the attribute ``name`` from ``node`` and return its value, ``default`` if it is not set."""
    for index, attribute in enumerate(node.attribute):
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            del node.attribute[index]
            return value
    return default


def text(node: onnx.NodeProto, name: str, default: str) -> str:
    """A string attribute of ``node``."""
    return next((a.s.decode() for a in node.attribute if a.name == name), default)


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Give ``node`` the attribute ``name``, whether it has it or not."""
    take(node, name)
    node.attribute.append(helper.make_attribute(name, value))


def set_inputs(node: onnx.NodeProto, inputs: Sequence[str]) -> None:
    """Give ``node`` these inputs; "" leaves one out, and is dropped at the end."""
    kept = list(inputs)
    while kept and not kept[-1]:
        kept.pop()
    del node.input[:]
    node.input.extend(kept)


def read_names(graph: onnx.GraphProto) -> set[str]:
    """The names of all tensors that some node reads or that a graph returns, bodies included."""
    found = {value.name for value in graph.output}
    for node in graph.node:
        found.update(node.input)
        for body in subgraphs(node):
            found |= read_names(body)
    return found - {""}
