"""Element types by the constraints of operators alone, for what shape inference gives up on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from lsa_onnx.rewrite.graph import opset, subgraphs

_Formal = onnx.defs.OpSchema.FormalParameter
_VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic


def fill_in_elements(model: onnx.ModelProto, elements: dict[str, int]) -> None:
    """Add to ``elements`` (tensor → ONNX element type) what follows from those of a node's inputs.

    Where an operator says that a result has the type of an input, it has, whatever the shapes.
    """
    versions = {o.domain: o.version for o in model.opset_import} | {"": opset(model)}
    _fill_in_graph(model.graph, versions, elements)


def _fill_in_graph(
    graph: onnx.GraphProto, versions: Mapping[str, int], elements: dict[str, int]
) -> None:
    for node in graph.node:
        for body in subgraphs(node):
            _fill_in_graph(body, versions, elements)
        if any(name and name not in elements for name in node.output):
            for name, element in _constrained(node, versions, elements):
                elements.setdefault(name, element)


def _constrained(
    node: onnx.NodeProto, versions: Mapping[str, int], elements: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """The outputs of ``node`` whose type is that of an input."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, versions.get(domain, 0), domain)
    except onnx.defs.SchemaError:
        return
    inputs = zip(node.input, _letters(schema.inputs, len(node.input)), strict=False)
    bound = {letter: elements[name] for name, letter in inputs if name in elements}
    outputs = zip(node.output, _letters(schema.outputs, len(node.output)), strict=False)
    yield from ((name, bound[letter]) for name, letter in outputs if name and letter in bound)


def _letters(formal: Sequence[_Formal], count: int) -> list[str | None]:
    """The type constraint of each of ``count`` parameters, ``None`` where they need not agree."""
    if not formal:
        return []
    repeated = formal[-1].option == _VARIADIC
    rows = [*formal, *[formal[-1]] * (count - len(formal) if repeated else 0)]
    free = [repeated and row is formal[-1] and not row.is_homogeneous for row in rows]
    return [None if f else str(row.type_str) for f, row in zip(free, rows, strict=True)]
