"""``separate_names``: one name, one tensor, also across the bodies of control flow.

ONNX lets sibling bodies use the same names, and some exporters let a body hide a tensor of the graph
around it. What is known by a tensor's name is then known of the wrong tensor.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableSequence
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import copy_model, local_names, subgraphs, unused_suffix

if TYPE_CHECKING:
    import onnx

# Name in the original → name in the copy, as a graph sees it; names that stay are left out.
Visible = ChainMap[str, str]


def separate_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` in which no tensor name is defined twice.

    The main graph keeps its names. Tensors of bodies get new ones where theirs is taken: by the main
    graph, by a graph around them or by another body. Linear in the size of the model.
    """
    separated = copy_model(model)
    fresh = _Fresh(local_names(separated.graph), unused_suffix(separated.graph, "__body"))
    for node in separated.graph.node:
        for body in subgraphs(node):
            rename_body(body, ChainMap(), fresh.name)
    return separated


class _Fresh:
    """Which names are taken, and what stands for them when they are wanted again."""

    def __init__(self, taken: set[str], suffix: str) -> None:
        self._taken = taken
        self._suffix = suffix
        self._count = 0

    def name(self, wanted: str) -> str:
        """``wanted`` when it is free, else a name made of it; either is taken from now on."""
        if not wanted:
            return wanted
        if wanted in self._taken:
            self._count += 1
            return f"{wanted}{self._suffix}_{self._count}"
        self._taken.add(wanted)
        return wanted


def rename_body(body: onnx.GraphProto, outer: Visible, fresh: Callable[[str], str]) -> None:
    """Rename what ``body`` (changed) defines and reads, at any depth.

    Args:
        body: The graph of a control-flow node.
        outer: What the graph around it sees.
        fresh: The new name of a tensor that a body defines.
    """
    visible = outer.new_child({name: fresh(name) for name in sorted(local_names(body))})
    for value in (*body.input, *body.output, *body.value_info, *body.initializer):
        value.name = visible.get(value.name, value.name)
    for sparse in body.sparse_initializer:
        sparse.values.name = visible.get(sparse.values.name, sparse.values.name)
    for annotation in body.quantization_annotation:
        annotation.tensor_name = visible.get(annotation.tensor_name, annotation.tensor_name)
    for node in body.node:
        rename_node(node, visible, fresh)


def rename_node(node: onnx.NodeProto, visible: Visible, fresh: Callable[[str], str]) -> None:
    """Rename what ``node`` (changed) makes and reads by ``visible``, and its bodies as ``rename_body`` does."""
    _rename(node.input, visible)
    _rename(node.output, visible)
    for body in subgraphs(node):
        rename_body(body, visible, fresh)


def _rename(names: MutableSequence[str], visible: Mapping[str, str]) -> None:
    for index, name in enumerate(names):
        names[index] = visible.get(name, name)
