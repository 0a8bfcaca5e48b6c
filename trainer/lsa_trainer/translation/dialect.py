"""The dialect of ONNX that the operator table speaks, and what of a model is not in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.expand import expand
from lsa_onnx.rewrite.graph import is_standard, opset, subgraphs
from lsa_onnx.rewrite.modernise import modernise
from lsa_onnx.rewrite.names import separate_names
from lsa_trainer.ops import table

# Written by the translator itself: they hold graphs, or nothing but a value.
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_SHOWN = 8


@dataclass(frozen=True)
class MissingOperator:
    """A node that torch cannot run, and why."""

    node: onnx.NodeProto
    reason: str

    def __str__(self) -> str:
        domain = f"{self.node.domain}::" if self.node.domain not in ("", "ai.onnx") else ""
        name = self.node.name or next(filter(None, self.node.output), "")
        return f"{domain}{self.node.op_type} {name!r} ({self.reason})"


class Unsupported(ModelError):
    """Nodes of the model cannot be run in torch; ``nodes`` are all of them, with reasons."""

    def __init__(self, message: str, nodes: Sequence[MissingOperator] = ()) -> None:
        super().__init__(message)
        self.nodes = list(nodes)


def in_dialect(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` that the operator table can read.

    Raised to opset 18 or newer, operators that the table lacks written out in simpler ones, names
    unique across bodies. Tensors that the model had keep their names.

    Raises:
        Unsupported: Nodes are left that the table does not know; all of them are named.
        ModelError: An input or a constant holds text.
    """
    raised = modernise(model)
    version = opset(raised)
    written = separate_names(expand(raised, lambda node: _is_wanted(node, version)))
    missing = unsupported_nodes(written)
    if missing:
        raise Unsupported(_text(missing), missing)
    _require_numbers(written.graph)
    return written


def unsupported_nodes(model: onnx.ModelProto) -> list[MissingOperator]:
    """The nodes of a model in the dialect, bodies included, that cannot be run in torch."""
    return list(_missing(model.graph, opset(model)))


def _missing(graph: onnx.GraphProto, version: int) -> Iterator[MissingOperator]:
    for node in graph.node:
        reason = _why_not(node, version)
        if reason is not None:
            yield MissingOperator(node, reason)
        for body in subgraphs(node):
            yield from _missing(body, version)


def _is_wanted(node: onnx.NodeProto, version: int) -> bool:
    # As a Cast it says which type that is, also where torch has none and something else stands for it.
    return not is_standard(node, ("CastLike",)) and _why_not(node, version) is None


def _require_numbers(graph: onnx.GraphProto) -> None:
    inputs = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    text = onnx.TensorProto.STRING
    found = [name for name, element in {**inputs, **constants}.items() if element == text]
    if found:
        raise ModelError(
            f"tensor {found[0]!r} holds text, which PyTorch has no tensors of; cut off the part of the "
            "model that reads text, and feed the numbers that it makes"
        )


def _why_not(node: onnx.NodeProto, version: int) -> str | None:
    if node.op_type in CONTROL_FLOW and node.domain in ("", "ai.onnx"):
        return None
    return table.why_not(node, version)


def _text(missing: Sequence[MissingOperator]) -> str:
    listed = ", ".join(map(str, missing[:_SHOWN]))
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    count = f"{len(missing)} node{'s' if len(missing) > 1 else ''}"
    return (
        f"{count} cannot be run in PyTorch: {listed}{more}; the model can be scanned but not "
        "trained: harden the part before it, or ask for the operator"
    )
