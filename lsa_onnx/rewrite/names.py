"""``separate_names``: one name, one tensor, also across the bodies of control flow.

ONNX lets sibling bodies use the same names, and some exporters let a body hide a tensor of the graph
around it. What is known by a tensor's name is then known of the wrong tensor.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableSequence
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import copy_model, local_names, subgraphs, unused_suffix

if TYPE_CHECKING:
    import onnx

# Name in the original → name in the copy, as a body sees it. The main graph keeps its names, so they
# are left out.
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
            _separate(body, ChainMap(), fresh)
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


def _separate(body: onnx.GraphProto, outer: Visible, fresh: _Fresh) -> None:
    """Rename what ``body`` (changed) defines and reads; ``outer`` is what the graph around it sees."""
    visible = outer.new_child({name: fresh.name(name) for name in sorted(local_names(body))})
    for value in (*body.input, *body.output, *body.value_info, *body.initializer):
        value.name = visible.get(value.name, value.name)
    for sparse in body.sparse_initializer:
        sparse.values.name = visible.get(sparse.values.name, sparse.values.name)
    for annotation in body.quantization_annotation:
        annotation.tensor_name = visible.get(annotation.tensor_name, annotation.tensor_name)
    for node in body.node:
        _rename(node.input, visible)
        _rename(node.output, visible)
        for inner in subgraphs(node):
            _separate(inner, visible, fresh)


def _rename(names: MutableSequence[str], visible: Visible) -> None:
    for index, name in enumerate(names):
        names[index] = visible.get(name, name)
