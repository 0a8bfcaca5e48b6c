"""Questions about an ONNX graph that every rewrite asks.

Who makes a tensor, who reads it, what depends on what; and the few edits that rewrites share.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

DEFAULT_DOMAIN = ""
# Added to a model of other domains alone; every supported ONNX Runtime has kernels for it.
_FALLBACK_OPSET = 13
# They read how large a tensor is, not what is in it.
SHAPE_READERS = frozenset({"Shape", "Size"})
# Positions of inputs of which an operator reads the type or the shape, not the values.
_LONGEST_VECTOR = 1 << 24
_UNREAD_VALUES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(SHAPE_READERS, (0,)),
    "CastLike": (1,),
    "EyeLike": (0,),
    "RandomNormalLike": (0,),
    "RandomUniformLike": (0,),
}
# Until then, every initializer had to be a graph input too.
_FIRST_IR_WITH_FREE_INITIALIZERS = 4


def copy_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A deep copy, cheap where the model keeps its weights outside the proto."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def opset(model: onnx.ModelProto, domain: str = DEFAULT_DOMAIN) -> int:
    """The version of ``domain`` that the model imports, 0 when it does not import it."""
    names = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
    return max((o.version for o in model.opset_import if o.domain in names), default=0)


def import_default_domain(model: onnx.ModelProto) -> int:
    """Make sure that ``model`` (changed) can hold ONNX's own operators; returns their version."""
    if not opset(model):
        model.opset_import.add(domain=DEFAULT_DOMAIN, version=_FALLBACK_OPSET)
    return opset(model)


def add_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """Add a constant to ``model`` (changed), as its IR version wants it."""
    model.graph.initializer.append(tensor)
    if model.ir_version < _FIRST_IR_WITH_FREE_INITIALIZERS:
        declared = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(declared)


def graphs_in(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and the bodies in it."""
    yield graph
    for node in graph.node:
        if node.attribute:
            for body in subgraphs(node):
                yield from graphs_in(body)


def _ends(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info


def _is_short(value: onnx.ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return len(dims) != 1 or dims[0].dim_value <= _LONGEST_VECTOR


def inferred(model: onnx.ModelProto, *, values: bool = True) -> onnx.ModelProto:
    """``model`` with the types and shapes that ONNX infers; as it is where that fails.

    Args:
        model: Any model; it is not changed.
        values: Follow the values of shapes as well.
    """
    # It keeps an entry for each element of a vector, however long that is said to be.
    values = values and all(
        _is_short(value) for graph in graphs_in(model.graph) for value in _ends(graph)
    )
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=values)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        return model


def with_input_shapes(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    """A copy whose inputs declare these shapes; what it declares of other tensors' shapes is gone.

    An input that declares another rank keeps its own.
    """
    given = copy_model(model)
    for value in true_inputs(given.graph):
        dims = value.type.tensor_type.shape.dim
        numbers = shapes.get(value.name, ())
        for dim, number in zip(dims, numbers if len(numbers) == len(dims) else (), strict=False):
            dim.dim_value = int(number)
    # Declared outputs may name a dimension that now has a number, and recorded shapes be of another.
    forget_output_shapes(given)
    del given.graph.value_info[:]
    return given


def forget_output_shapes(model: onnx.ModelProto) -> None:
    """Take what ``model`` (changed) declares of the shapes of its outputs."""
    for value in model.graph.output:
        forget_shape(value)


def forget_shape(value: onnx.ValueInfoProto) -> None:
    """Take what ``value`` (changed) declares of a tensor's shape; its type stays, whatever it is."""
    # To touch the field of another kind of value would make a tensor of it.
    if value.type.HasField("tensor_type"):
        value.type.tensor_type.ClearField("shape")


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Tensor name → the node that makes it (top level of ``graph`` only)."""
    return {output: node for node in graph.node for output in node.output if output}


def made_in(graph: onnx.GraphProto) -> list[str]:
    """The tensors that nodes of ``graph`` make, in order, without those of bodies."""
    return [name for node in graph.node for name in node.output if name]


def main_output(node: onnx.NodeProto) -> str:
    """The first output that the node really has; an LSTM may leave out the one it lists first."""
    return next((str(name) for name in node.output if name), "")


def node_key(node: onnx.NodeProto) -> str:
    """What tells a node from all others of its graph: a tensor is made once."""
    return main_output(node) or node.name


def stable_names(graph: onnx.GraphProto | onnx.FunctionProto) -> dict[str, str]:
    """``node_key`` → name. A generated one counts the node's position, so it survives a reload."""
    taken = {node.name for node in graph.node if node.name}
    names: dict[str, str] = {}
    for position, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{position}"
        while not node.name and name in taken:
            name += "_"
        taken.add(name)
        names[node_key(node)] = name
    return names


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
    # Most nodes have none, and in large graphs it is this function that takes the time.
    if not node.attribute:
        return names
    for graph in subgraphs(node):
        local = local_names(graph)
        inner_reads = [name for inner in graph.node for name in node_inputs(inner)]
        inner_reads += [v.name for v in graph.output]
        names += [name for name in inner_reads if name not in local]
    return names


def value_reads(node: onnx.NodeProto) -> list[str]:
    """``node_inputs`` without those of which the type or the shape alone is read."""
    if not is_standard(node, _UNREAD_VALUES):
        return node_inputs(node)
    unread = _UNREAD_VALUES[node.op_type]
    return [name for slot, name in enumerate(node.input) if name and slot not in unread]


def local_names(graph: onnx.GraphProto) -> set[str]:
    """The tensors that ``graph`` itself defines, so that reading them reads nothing from outside."""
    made = {output for node in graph.node for output in node.output}
    return {v.name for v in graph.input} | initializer_names(graph) | made


def initializer_names(graph: onnx.GraphProto) -> set[str]:
    """Names of all constant tensors of the graph, sparse ones included."""
    sparse = {s.values.name for s in graph.sparse_initializer}
    return {t.name for t in graph.initializer} | sparse


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Graph inputs that a caller must feed: IR 3 models list their initializers as inputs too."""
    constants = initializer_names(graph)
    return [value for value in graph.input if value.name not in constants]


def dependents(
    graph: onnx.GraphProto, sources: Iterable[str], *, by_value: bool = False
) -> set[str]:
    """All tensors that depend on one of ``sources`` (those included). Linear in nodes.

    Args:
        graph: The graph.
        sources: Tensors to start from.
        by_value: Leave out what depends on their shapes alone: two inputs of one shape then share
            every other tensor.
    """
    reached = set(sources)
    for node in graph.node:
        read = value_reads(node) if by_value else node_inputs(node)
        if any(name in reached for name in read):
            reached.update(name for name in node.output if name)
    return reached


def is_standard(node: onnx.NodeProto, kinds: Container[str]) -> bool:
    """Whether ``node`` is one of ONNX's own operators of these types."""
    return node.op_type in kinds and node.domain in ("", "ai.onnx")


def names_in_use(graph: onnx.GraphProto) -> set[str]:
    """Every tensor and node name of the graph, subgraphs included."""
    used = {v.name for v in (*graph.input, *graph.output)} | initializer_names(graph)
    for node in graph.node:
        used.update((node.name, *node.input, *node.output))
        for inner in subgraphs(node):
            used |= names_in_use(inner)
    return used


def unused_suffix(graph: onnx.GraphProto, wanted: str) -> str:
    """``wanted``, or ``wanted`` with a number, such that no name of the graph contains it.

    Any name made of an old name, the suffix and more text is then new.
    """
    used = names_in_use(graph)
    suffix, number = wanted, 0
    while any(suffix in name for name in used):
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
    """The declared shape; ``None`` if there is none.

    An entry is a number, the name of a free dimension, or ``None`` for a free one without a name
    (some exporters write −1 there).
    """
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    return [
        (d.dim_value if d.dim_value >= 0 else None)
        if d.HasField("dim_value")
        else (d.dim_param or None)
        for d in kind.shape.dim
    ]


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of ``node``, or ``default`` where it is not set."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Give ``graph`` these nodes in this order (they may include its own)."""
    old = len(graph.node)
    # To extend is to copy, so the old ones can go afterwards.
    graph.node.extend(nodes)
    del graph.node[:old]
