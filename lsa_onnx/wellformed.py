"""What a model must keep to before anything follows it, each breach told in one line.

ONNX Runtime refuses the same models, but later, and in words about its own source code.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    initializer_names,
    node_inputs,
    node_key,
    opset,
    subgraphs,
)
from lsa_onnx.rewrite.inline import MOST_NODES
from lsa_onnx.weights import (
    all_tensors,
    element_bits,
    element_count,
    external_number,
    is_external,
    stored_bytes,
)

_COMPLEX = (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)
# What a 32-bit number holds, as onnx keeps versions.
_NEWEST_VERSION = 2**31 - 1
_BODIES = {"If": 2, "Loop": 1, "Scan": 1}
_ELEMENTS = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}


def require_readable(model: onnx.ModelProto) -> None:
    """Refuse what cannot even be looked at: too many nodes, broken text, element types nobody knows.

    Raises:
        ModelError: There is some.
    """
    count = 0
    for node in _all_nodes(model):
        count += 1
        _require_text((node.name, node.op_type, node.domain, *node.input, *node.output))
        for entry in node.metadata_props:
            _require_text((entry.key, entry.value))
    if count > MOST_NODES:
        raise ModelError(
            f"the model has {count:,} nodes; at most {MOST_NODES:,} are accepted: export a smaller model"
        )
    for tensor in all_tensors(model):
        _require_text((tensor.name,))
        for entry in tensor.external_data:
            _require_text((entry.key, entry.value))
        _require_element(tensor.name, tensor.data_type)
    _require_versions(model)
    _require_text((model.producer_name, model.producer_version, model.graph.name))
    for entry in model.metadata_props:
        _require_text((entry.key, entry.value))
    for graph in _all_graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info):
            kind = value.type.tensor_type
            _require_text((value.name, *(dim.dim_param for dim in kind.shape.dim)))
            if kind.elem_type:
                _require_element(value.name, kind.elem_type)


def _require_versions(model: onnx.ModelProto) -> None:
    if model.ir_version > _NEWEST_VERSION:
        raise ModelError(
            f"the model has IR version {model.ir_version}; versions up to {_NEWEST_VERSION} are accepted: "
            "export it again"
        )
    for entry in (*model.opset_import, *(o for f in model.functions for o in f.opset_import)):
        _require_text((entry.domain,))
        if not 0 <= entry.version <= _NEWEST_VERSION:
            raise ModelError(
                f"the model imports version {entry.version} of domain {entry.domain!r}; versions up to "
                f"{_NEWEST_VERSION} are accepted: export it again"
            )


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the graph, of functions, and of the bodies in either."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from _with_inner(nodes)


def _all_graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for node in _all_nodes(model):
        yield from subgraphs(node)


def _with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        if node.attribute:
            for body in subgraphs(node):
                yield from _with_inner(body.node)


def _require_text(texts: Iterable[str | bytes]) -> None:
    for text in texts:
        # What protobuf gives where it finds no text.
        if isinstance(text, bytes):
            raise ModelError(
                f"the model holds the text {text!r}, which is not UTF-8; names and metadata in UTF-8 are "
                "accepted: export the model again"
            )


def _require_element(name: str, element: int) -> None:
    if element not in _ELEMENTS:
        raise ModelError(
            f"tensor {name!r} has the element type {element}, which is none that onnx {onnx.__version__} knows "
            f"(1 to {max(_ELEMENTS)}); export the model again, or update onnx"
        )


def require_data(model: onnx.ModelProto) -> None:
    """Refuse tensors whose data do not fill their shape; what nobody reads is taken out (changed).

    Raises:
        ModelError: There is one.
    """
    wrong = {t.name for t in model.graph.initializer if _data_problem(t)}
    if wrong:
        # ONNX Runtime drops what nobody reads without a look.
        _drop_constants(model.graph, wrong - _read(model.graph))
    for tensor in all_tensors(model):
        problem = _data_problem(tensor)
        if problem:
            raise ModelError(f"tensor {tensor.name!r} {problem}; export the model again")


def _data_problem(tensor: onnx.TensorProto) -> str | None:
    """What is wrong with the size of a tensor, in words that follow its name; ``None`` if nothing is."""
    shape = list(tensor.dims)
    if min(shape, default=0) < 0:
        return f"has the shape {shape}: a dimension is negative"
    if is_external(tensor):
        # A length that is left out, or 0, is that of the shape.
        length = external_number(tensor, "length")
        held, wanted, unit = length or stored_bytes(tensor), {stored_bytes(tensor)}, "bytes"
    elif tensor.HasField("raw_data"):
        held, wanted, unit = len(tensor.raw_data), {stored_bytes(tensor)}, "bytes"
    else:
        held, wanted, unit = *_typed_counts(tensor), "numbers"
    if held in wanted:
        return None
    return f"holds {held} {unit}, and its shape {shape} needs {max(wanted)}"


def _typed_counts(tensor: onnx.TensorProto) -> tuple[int, set[int]]:
    """Entries of the field that holds the elements, and how many there may be."""
    count = element_count(tensor)
    bits = element_bits(tensor)
    held = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
    if tensor.data_type in _COMPLEX:
        return held, {2 * count}
    # Writers differ in whether elements share entries as they share bytes.
    return held, {count, stored_bytes(tensor)} if 0 < bits < 8 else {count}


def _read(graph: onnx.GraphProto) -> set[str]:
    """What nodes read, or the graph returns."""
    read = {name for node in graph.node for name in node_inputs(node)}
    return read | {value.name for value in graph.output}


def _drop_constants(graph: onnx.GraphProto, names: set[str]) -> None:
    # Until IR version 4 each of them is declared as an input too.
    for held in (graph.initializer, graph.input):
        for index in reversed(range(len(held))):
            if held[index].name in names:
                del held[index]


def require_scopes(model: onnx.ModelProto) -> None:
    """Refuse graphs in which a name stands for two tensors, or for none.

    Raises:
        ModelError: There is such a name, or no output.
    """
    if not model.graph.output:
        raise ModelError(
            "the model returns nothing: its graph has no outputs; export it again with its results"
        )
    _require_scope(model.graph, (), "")
    version = opset(model)
    for node in _all_nodes(model):
        _require_counts(node, version)


def _require_counts(node: onnx.NodeProto, version: int) -> None:
    """That a node of one of ONNX's own operators has as many inputs and outputs as it may have."""
    bounds = _counts(node.op_type, version) if node.domain in ("", "ai.onnx") else None
    if bounds is None:
        return
    for kind, count, (least, most) in zip(
        ("inputs", "outputs"), (len(node.input), len(node.output)), bounds, strict=True
    ):
        if not least <= count <= most:
            accepted = f"{least}" if least == most else f"{least} to {most}"
            raise ModelError(
                f"node {_shown(node)} has {count} {kind}, and {accepted} is what {node.op_type} of opset {version} "
                "takes; export the model again"
            )


@functools.cache
def _counts(op_type: str, version: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Fewest and most inputs and outputs of an operator; ``None`` where ONNX does not know it."""
    if version > onnx.defs.onnx_opset_version() or not onnx.defs.has(op_type, version, ""):
        return None
    schema = onnx.defs.get_schema(op_type, version, "")
    return (schema.min_input, schema.max_input), (schema.min_output, schema.max_output)


def _require_scope(graph: onnx.GraphProto, outer: tuple[AbstractSet[str], ...], where: str) -> None:
    """Check a graph; ``outer`` is what it sees of the graphs around it, ``where`` says where it is."""
    defined = _defined(graph, where)
    for node in graph.node:
        for name in node.input:
            if name and name not in defined and not any(name in names for names in outer):
                raise _undefined(f"node {_shown(node)}{where} reads {name!r}")
        _require_values(node, where)
        if node.attribute or node.op_type in _BODIES:
            _require_bodies(node, (defined, *outer), where)
    for value in graph.output:
        if value.name not in defined and not any(value.name in names for names in outer):
            raise _undefined(f"the graph{where} returns {value.name!r}")


def _require_values(node: onnx.NodeProto, where: str) -> None:
    """Outside of functions, which are gone by now, an attribute cannot stand for that of a call."""
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            raise ModelError(
                f"attribute {attribute.name!r} of node {_shown(node)}{where} stands for {attribute.ref_attr_name!r} "
                "of a function, and the node is in none; export the model again"
            )


def _require_bodies(
    node: onnx.NodeProto, visible: tuple[AbstractSet[str], ...], where: str
) -> None:
    wanted = _BODIES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    count = sum(1 for _ in subgraphs(node))
    if wanted not in (None, count):
        raise ModelError(
            f"node {_shown(node)}{where} has {count} bodies, and {wanted} is what it takes; export the model "
            "again"
        )
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            _require_scope(body, visible, f" in {attribute.name} of {node_key(node)!r}{where}")


def _defined(graph: onnx.GraphProto, where: str) -> set[str]:
    """The tensors that ``graph`` defines, each of them once."""
    constants = initializer_names(graph)
    inputs = [value.name for value in graph.input if value.name not in constants]
    found = constants.union(inputs)
    if len(found) < len(constants) + len(inputs):
        name = next(name for name in inputs if inputs.count(name) > 1)
        raise _repeated(name, where, "as an input, twice")
    for node in graph.node:
        for name in node.output:
            if name in found:
                raise _repeated(name, where, _makers(graph, name))
            if name:
                found.add(name)
    return found


def _makers(graph: onnx.GraphProto, name: str) -> str:
    """In words, what defines a tensor that more than one thing defines."""
    makers = ["as a constant"] if name in initializer_names(graph) else []
    makers += ["as an input" for value in graph.input if value.name == name and not makers]
    makers += [f"by node {_shown(node)}" for node in graph.node for n in node.output if n == name]
    return " and ".join(makers[:2])


def _repeated(name: str, where: str, how: str) -> ModelError:
    return ModelError(
        f"tensor {name!r}{where} is made more than once, {how}; one name for one tensor is accepted: "
        "export the model again"
    )


def _undefined(what: str) -> ModelError:
    return ModelError(
        f"{what}, which nothing makes; export the model again, or check what edited it"
    )


def _shown(node: onnx.NodeProto) -> str:
    return f"{node.name or node_key(node)!r} ({node.op_type})"
