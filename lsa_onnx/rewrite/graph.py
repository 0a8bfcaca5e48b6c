"""Questions about an ONNX graph that every rewrite asks: who makes a tensor, who reads it, what depends on what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

DEFAULT_DOMAIN = ""


def copy_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A deep copy. Cheap, because the models given to rewrites keep their weights outside the proto."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def opset(model: onnx.ModelProto, domain: str = DEFAULT_DOMAIN) -> int:
    """The version of ``domain`` that the model imports, 0 when it does not import it."""
    names = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
    return max((o.version for o in model.opset_import if o.domain in names), default=0)


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Tensor name → the node that makes it (top level of ``graph`` only)."""
    return {output: node for node in graph.node for output in node.output if output}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Tensor name → the nodes that read it, directly or from inside a subgraph, in graph order."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node_inputs(node)):
            found.setdefault(name, []).append(node)
    return found


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a control-flow node carries in its attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def node_inputs(node: onnx.NodeProto) -> list[str]:
    """Every tensor of the outer scope that ``node`` reads, also from inside its subgraphs."""
    names = [name for name in node.input if name]
    for graph in subgraphs(node):
        local = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        local |= {output for inner in graph.node for output in inner.output}
        inner_reads = [name for inner in graph.node for name in node_inputs(inner)]
        inner_reads += [v.name for v in graph.output]
        names += [name for name in inner_reads if name not in local]
    return names


def initializer_names(graph: onnx.GraphProto) -> set[str]:
    """Names of all constant tensors of the graph, sparse ones included."""
    sparse = {s.values.name for s in graph.sparse_initializer}
    return {t.name for t in graph.initializer} | sparse


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Graph inputs that a caller must feed: IR 3 models list their initializers as inputs too."""
    constants = initializer_names(graph)
    return [value for value in graph.input if value.name not in constants]


def dependents(graph: onnx.GraphProto, sources: Iterable[str]) -> set[str]:
    """All tensors whose value depends on one of ``sources`` (those included). Linear in nodes."""
    reached = set(sources)
    for node in graph.node:
        if any(name in reached for name in node_inputs(node)):
            reached.update(name for name in node.output if name)
    return reached


def names_in_use(graph: onnx.GraphProto) -> set[str]:
    """Every tensor and node name of the graph, subgraphs included."""
    used = {v.name for v in (*graph.input, *graph.output)} | initializer_names(graph)
    for node in graph.node:
        used.update((node.name, *node.input, *node.output))
        for inner in subgraphs(node):
            used |= names_in_use(inner)
    return used


def unused_suffix(graph: onnx.GraphProto, wanted: str) -> str:
    """``wanted``, or ``wanted`` with a number, such that no name of the graph ends with it."""
    used = names_in_use(graph)
    suffix, number = wanted, 0
    while any(name.endswith(suffix) for name in used):
        number += 1
        suffix = f"{wanted}{number}"
    return suffix


def constant_value(
    name: str, makers: Mapping[str, onnx.NodeProto], tensors: Mapping[str, onnx.TensorProto]
) -> NDArray[np.generic] | None:
    """The value of a small constant, or ``None`` where ``name`` is not one that is held in the proto."""
    tensor = tensors.get(name)
    node = makers.get(name)
    if tensor is None and node is not None and node.op_type == "Constant":
        return constant_node_value(node)
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    return numpy_helper.to_array(tensor)


def constant_node_value(node: onnx.NodeProto) -> NDArray[np.generic] | None:
    """The value of a ``Constant`` node, ``None`` for strings and sparse values."""
    value = node.attribute[0] if node.attribute else onnx.AttributeProto()
    if value.name == "value" and value.t.data_location != onnx.TensorProto.EXTERNAL:
        return numpy_helper.to_array(value.t)
    if value.name in ("value_int", "value_ints"):
        return np.asarray(onnx.helper.get_attribute_value(value), np.int64)
    if value.name in ("value_float", "value_floats"):
        return np.asarray(onnx.helper.get_attribute_value(value), np.float32)
    return None


def dimensions(value: onnx.ValueInfoProto) -> list[int | str | None] | None:
    """The declared shape: numbers, names of free dimensions, ``None`` for an unnamed one; ``None`` if undeclared."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return [
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim
    ]


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of ``node``, or ``default`` where it is not set."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Give ``graph`` these nodes in this order (they may include its own)."""
    kept = [onnx.NodeProto() for _ in nodes]
    for target, node in zip(kept, nodes, strict=True):
        target.CopyFrom(node)
    del graph.node[:]
    graph.node.extend(kept)
