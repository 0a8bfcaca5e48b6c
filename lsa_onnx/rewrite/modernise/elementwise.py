"""Operators that changed their name or their bounds, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.rewrite.modernise.builder import Builder, set_inputs, take

if TYPE_CHECKING:
    import onnx


def clip(node: onnx.NodeProto, build: Builder) -> None:
    """``min`` and ``max`` become inputs; without one there is no bound."""
    x = node.input[0]
    bounds = [take(node, name) for name in ("min", "max")]
    set_inputs(node, [x, *("" if bound is None else build.like(bound, x) for bound in bounds)])
    build.keep(node)


def scatter(node: onnx.NodeProto, build: Builder) -> None:
    """Scatter was renamed when ScatterND came."""
    node.op_type = "ScatterElements"
    build.keep(node)
