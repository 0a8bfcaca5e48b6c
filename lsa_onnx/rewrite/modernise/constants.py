"""``Constant`` nodes become initializers."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.graph import constant_node_value


def hoist(node: onnx.NodeProto, graph: onnx.GraphProto, suffix: str) -> list[onnx.NodeProto]:
    """Add the value of a ``Constant`` node to ``graph``; returns what stays in its place.

    That is nothing as a rule, the node itself where an initializer cannot hold the value, and an
    ``Identity`` where the graph returns the constant: outputs are made by nodes.
    """
    tensor = _tensor(node)
    if tensor is None:
        return [node]
    returned = any(value.name == node.output[0] for value in graph.output)
    tensor.name = f"{node.output[0]}{suffix}" if returned else node.output[0]
    graph.initializer.append(tensor)
    if not returned:
        return []
    return [helper.make_node("Identity", [tensor.name], list(node.output), node.name)]


def _tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of the node as a tensor, ``None`` for strings and sparse values."""
    if len(node.attribute) == 1 and node.attribute[0].name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        return tensor if tensor.data_type != onnx.TensorProto.STRING else None
    value = constant_node_value(node)
    return None if value is None else numpy_helper.from_array(value)
