"""Other names for the tensors of a node, inside its bodies too."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from lsa_onnx.rewrite.graph import subgraphs


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of ``node`` that has ``names[name]`` wherever it had ``name``.

    Names that are not in ``names`` stay; those that are must mean one tensor in all of the node.
    """
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    _rename(changed, names)
    changed.name = changed.output[0] if changed.output else changed.name
    return changed


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    for field in (node.input, node.output):
        for index, name in enumerate(field):
            field[index] = names.get(name, name)
    for graph in subgraphs(node):
        for item in (*graph.input, *graph.output, *graph.initializer):
            item.name = names.get(item.name, item.name)
        for inner in graph.node:
            _rename(inner, names)
