"""Bodies of control flow: what they read, and how new ones are put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import helper

from lsa_onnx.rewrite.graph import local_names, node_inputs
from lsa_onnx.rewrite.vjp.tape import Tape


def captured(bodies: Iterable[onnx.GraphProto]) -> list[str]:
    """The tensors of the graphs around that ``bodies`` read, each once."""
    found: dict[str, None] = {}
    for body in bodies:
        local = local_names(body)
        reads = [name for node in body.node for name in node_inputs(node)]
        reads += [value.name for value in body.output]
        found.update(dict.fromkeys(name for name in reads if name not in local))
    return list(found)


def live_nodes(
    nodes: Sequence[onnx.NodeProto], results: Iterable[str]
) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that ``results`` depend on, in order, and all that they and ``results`` read."""
    needed, kept = set(results), []
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            needed.update(node_inputs(node))
            kept.append(node)
    return kept[::-1], needed


def merged(tape: Tape, pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Tensor → sum of its adjoints, which are given one by one; ``None`` where none flows."""
    parts: dict[str, list[str]] = {}
    for name, adjoint in pairs:
        if adjoint is not None:
            parts.setdefault(name, []).append(adjoint)
    return {name: tape.sum(found) for name, found in parts.items()}


def declared(tape: Tape, name: str, of: str, *, adjoint: bool) -> onnx.ValueInfoProto:
    """An input or result of a body, with the element type and the rank of the tensor ``of``.

    Sizes are left to ONNX Runtime, which fails where a declared one does not fit. It does need the
    ranks of what a Scan returns.

    Args:
        tape: What is known.
        name: Of the input or result.
        of: What it is a copy or a slice of, or the adjoint of.
        adjoint: Which of the two.
    """
    element, rank = tape.known.element(of), tape.known.rank(of)
    if element is None:
        return onnx.ValueInfoProto(name=name)
    kind = tape.element(of) if adjoint else element
    return helper.make_tensor_value_info(name, kind, None if rank is None else [None] * rank)


def returned(tape: Tape, pairs: Iterable[tuple[str, str]]) -> list[onnx.ValueInfoProto]:
    """Results for a body whose nodes are on ``tape``: (adjoint, tensor that it is the adjoint of).

    A body must not return its inputs, tensors of graphs around it or one tensor twice: those are
    copied. No others, because ONNX Runtime 1.31 loses a tensor whose copy is a result of the body
    while another of its readers is fused (``MatMul`` and ``Add``, say).
    """
    free = {name for node in tape.nodes for name in node.output}
    results = []
    for one, of in pairs:
        name = one if one in free else tape.op("Identity", one)
        free.discard(one)
        results.append(declared(tape, name, of, adjoint=True))
    return results


def write_body(
    forward: onnx.GraphProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.GraphProto:
    """A body made of nodes of ``forward`` and new ones, as far as ``outputs`` depend on them.

    Tensors of ``forward`` keep their names: bodies that lie side by side do not see each other's.
    """
    kept, read = live_nodes(nodes, [value.name for value in outputs])
    constants = [tensor for tensor in forward.initializer if tensor.name in read]
    graph = helper.make_graph(kept, f"{forward.name}_adjoint", inputs, outputs, constants)
    graph.sparse_initializer.extend(
        tensor for tensor in forward.sparse_initializer if tensor.values.name in read
    )
    return graph
