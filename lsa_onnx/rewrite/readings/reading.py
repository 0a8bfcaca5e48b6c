"""One way to read a tensor, and the nodes that do it put into a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.graph import (
    copy_model,
    import_default_domain,
    opset,
    replace_nodes,
)

if TYPE_CHECKING:
    import onnx

_FIRST_VERSION = 1


@dataclass(frozen=True)
class Reading:
    """How a tensor is read as floating-point numbers.

    Attributes:
        tensor: The tensor of the main graph.
        result: The float tensor that stands for it, of the same shape: ``tensor`` itself if that is
            one.
        dtype: Type of ``result``: float16, float32 or float64.
        how: In words, for a report; empty where ``tensor`` is read as it is.
        nodes: Nodes that make ``result``, in order. They read tensors of the model alone, not the
            results of other readings.
    """

    tensor: str
    result: str
    dtype: str
    how: str = ""
    nodes: tuple[onnx.NodeProto, ...] = ()


def add_readings(model: onnx.ModelProto, readings: Iterable[Reading]) -> onnx.ModelProto:
    """A copy of ``model`` that makes the results of ``readings`` too.

    Each reading's nodes stand behind the last node that makes something they read, so the order
    stays topological. The results are not declared as outputs. Linear in nodes.

    Args:
        model: The model that the readings were made for; it is not changed.
        readings: Those to add; one that was given before, or needs no nodes, changes nothing.
    """
    position = {
        name: index for index, node in enumerate(model.graph.node) for name in node.output if name
    }
    behind: dict[int, list[onnx.NodeProto]] = {}
    for reading in {reading.result: reading for reading in readings}.values():
        reads = [name for node in reading.nodes for name in node.input]
        last = max((position.get(name, -1) for name in reads), default=-1)
        behind.setdefault(last, []).extend(reading.nodes)
    extended = copy_model(model)
    nodes = list(behind.get(-1, ()))
    for index, node in enumerate(model.graph.node):
        nodes += [node, *behind.get(index, ())]
    replace_nodes(extended.graph, nodes)
    _import_domains(extended, {node.domain for added in behind.values() for node in added})
    return extended


def _import_domains(model: onnx.ModelProto, domains: set[str]) -> None:
    """Make sure that ``model`` (changed) can hold operators of these domains."""
    if "" in domains:
        import_default_domain(model)
    for domain in sorted(domains - {""}):
        if not opset(model, domain):
            model.opset_import.add(domain=domain, version=_FIRST_VERSION)
