"""Expansion into function bodies: those that ONNX gives for its operators, and the model's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnx

from lsa_onnx.rewrite.expand.builder import Builder, NotExpandable
from lsa_onnx.rewrite.expand.renaming import renamed
from lsa_onnx.rewrite.graph import constant_node_value, subgraphs
from lsa_onnx.rewrite.inline import fill_references

# Its body is a Loop that takes scalars alone; others' bodies feed it vectors of one number.
_LEFT_ALONE = frozenset({"Range"})
# Operators whose nodes look the same before and after this version, but mean something else.
_CHANGED_MEANING = {"Softmax": 13, "LogSoftmax": 13, "Hardmax": 13, "RoiAlign": 16}


def standard_body(b: Builder) -> list[str]:
    """The body that ONNX gives for the operator of ``b.node``, at the model's version.

    Raises:
        NotExpandable: There is none, or none that can be read at the model's version.
    """
    node = b.node
    standard = node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, b.opset, "")
    if not standard or node.op_type in _LEFT_ALONE:
        raise NotExpandable(f"{node.op_type} has no function body")
    schema = onnx.defs.get_schema(node.op_type, b.opset, "")
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.name]
    return _written_out(b, _standard_function(b, schema), defaults)


def own_body(b: Builder, function: onnx.FunctionProto) -> list[str]:
    """The body of one of the model's own functions.

    Raises:
        NotExpandable: It was written for another version of ONNX's operators.
    """
    return _written_out(b, function, list(function.attribute_proto))


def _standard_function(b: Builder, schema: Any) -> onnx.FunctionProto:
    """The newest body that is not newer than the model.

    ``schema`` is an ``onnx.defs.OpSchema``, whose type information leaves functions out.
    """
    fixed = [v for v in schema.function_opset_versions if v <= b.opset]
    if fixed:
        return _parsed(schema.get_function_with_opset_version(max(fixed)))
    by_type = [v for v in schema.context_dependent_function_opset_versions if v <= b.opset]
    if not by_type:
        raise NotExpandable(f"{schema.name} has no function body at opset {b.opset}")
    empty = onnx.TypeProto()
    types = [(b.scope.type(name) or empty) if name else empty for name in b.node.input]
    return _parsed(
        schema.get_context_dependent_function_with_opset_version(
            max(by_type), b.node.SerializeToString(), [t.SerializeToString() for t in types]
        )
    )


def _parsed(found: bytes | onnx.FunctionProto) -> onnx.FunctionProto:
    """Releases of onnx differ in whether they return a function or its bytes."""
    return onnx.FunctionProto.FromString(found) if isinstance(found, bytes) else found


def _written_out(
    b: Builder, function: onnx.FunctionProto, defaults: Iterable[onnx.AttributeProto]
) -> list[str]:
    """Append the body's nodes, in this node's names and with its attributes; returns the results."""
    if not function.node:
        raise NotExpandable(f"the function body of {b.node.op_type} is empty")
    version = max((o.version for o in function.opset_import if not o.domain), default=b.opset)
    values = {a.name: a for a in defaults} | {a.name: a for a in b.node.attribute}
    names = dict.fromkeys(function.input, "") | dict(
        zip(function.input, b.node.input, strict=False)
    )
    for node in function.node:
        filled = _filled(node, values)
        if not _means_the_same(filled, version, b.opset):
            raise NotExpandable(f"the function body of {b.node.op_type} is of opset {version}")
        _append(b, filled, names)
    # A body built for one node may leave out results that the node does not ask for.
    return [names.get(name, "") for name in function.output]


def _append(b: Builder, node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Append a node of a body in new names; its constants become initializers."""
    value = constant_node_value(node) if node.op_type == "Constant" else None
    if value is not None:
        names[node.output[0]] = b.operand(value)
        return
    for made in _made_names(node):
        names[made] = b.fresh()
    b.add(renamed(node, names))


def _made_names(node: onnx.NodeProto) -> list[str]:
    """What a node and the bodies in it define."""
    made = [name for name in node.output if name]
    for graph in subgraphs(node):
        made += [value.name for value in graph.input]
        made += [tensor.name for tensor in graph.initializer]
        for inner in graph.node:
            made += _made_names(inner)
    return made


def _filled(node: onnx.NodeProto, values: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """A copy with values in place of references to the function's attributes, also in bodies."""
    filled = onnx.NodeProto()
    filled.CopyFrom(node)
    fill_references(filled, values)
    return filled


def _means_the_same(node: onnx.NodeProto, written: int, read: int) -> bool:
    """Whether a node written for one version of ONNX's operators is the same at another one."""
    if node.domain not in ("", "ai.onnx") or written == read:
        return True
    old, new = (onnx.defs.get_schema(node.op_type, version, "") for version in (written, read))
    if old.since_version == new.since_version:
        return all(
            _means_the_same(inner, written, read) for g in subgraphs(node) for inner in g.node
        )
    changed = _CHANGED_MEANING.get(node.op_type, 0)
    fits = len(node.input) <= new.max_input and all(
        a.name in new.attributes for a in node.attribute
    )
    return fits and not min(written, read) < changed <= max(written, read)
