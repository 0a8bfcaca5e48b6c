"""``tidy``: what ONNX Runtime puts up with in a file, settled as ONNX Runtime settles it.

Every rewrite can then rely on nodes that stand after what they read, and on one meaning for each name.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import node_inputs, node_key, replace_nodes, subgraphs

if TYPE_CHECKING:
    import onnx


def tidy(model: onnx.ModelProto) -> None:
    """Settle what ``model`` (changed) leaves open, in bodies too.

    Nodes are put into an order in which each stands after those it reads from; they keep their places
    where they can. Of constants with one name, and of versions of one domain, the last one stays. Nodes
    that make nothing go.

    Raises:
        ModelError: A node depends on itself.
    """
    imported = {_domain(opset.domain): opset.version for opset in model.opset_import}
    if len(imported) < len(model.opset_import):
        del model.opset_import[:]
        for domain, version in imported.items():
            model.opset_import.add(domain=domain, version=version)
    _tidy_graph(model.graph)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _tidy_graph(graph: onnx.GraphProto) -> None:
    _keep_last_constants(graph)
    if not all(any(node.output) for node in graph.node):
        replace_nodes(graph, [node for node in graph.node if any(node.output)])
    if not _is_ordered(graph):
        needed = _needed(graph)
        replace_nodes(graph, [graph.node[index] for index in _ordered(graph, needed)])
    for node in graph.node:
        if node.attribute:
            for body in subgraphs(node):
                _tidy_graph(body)


def _keep_last_constants(graph: onnx.GraphProto) -> None:
    last = {tensor.name: index for index, tensor in enumerate(graph.initializer)}
    if len(last) < len(graph.initializer):
        for index in reversed(range(len(graph.initializer))):
            if last[graph.initializer[index].name] != index:
                del graph.initializer[index]


def _is_ordered(graph: onnx.GraphProto) -> bool:
    """Whether each node stands after those it reads from."""
    coming = {name for node in graph.node for name in node.output}
    coming.discard("")
    for node in graph.node:
        if not coming.isdisjoint(node_inputs(node)):
            return False
        coming.difference_update(node.output)
    return True


def _needed(graph: onnx.GraphProto) -> list[set[int]]:
    """For each node, the places of the nodes that it reads from."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    return [{makers[name] for name in node_inputs(node) if name in makers} for node in graph.node]


def _ordered(graph: onnx.GraphProto, needed: Sequence[set[int]]) -> list[int]:
    """The places of the nodes in an order in which they can run, the earliest in the file first."""
    readers: list[list[int]] = [[] for _ in needed]
    for index, before in enumerate(needed):
        for maker in before:
            readers[maker].append(index)
    missing = [len(before) for before in needed]
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers[order[-1]]:
            missing[reader] -= 1
            if not missing[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(needed):
        raise _cycle(graph, needed, {index for index, count in enumerate(missing) if count})
    return order


def _cycle(graph: onnx.GraphProto, needed: Sequence[set[int]], stuck: set[int]) -> ModelError:
    """What to say of nodes that wait for each other, or for such nodes."""
    index, seen = min(stuck), set()
    while index not in seen:
        seen.add(index)
        index = min(needed[index] & stuck)
    node = graph.node[index]
    made = set(graph.node[min(needed[index] & stuck)].output)
    tensor = next(name for name in node_inputs(node) if name in made)
    return ModelError(
        f"node {node.name or node_key(node)!r} ({node.op_type}) reads {tensor!r}, which depends on what that node "
        "makes; graphs without cycles are accepted: export the model again"
    )
