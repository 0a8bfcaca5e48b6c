"""Softmax and its kin: until opset 12 they see a matrix, whatever the rank of their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.rewrite.modernise.builder import Builder, set_attribute, take

if TYPE_CHECKING:
    import onnx


def of_matrix(node: onnx.NodeProto, build: Builder) -> None:
    """All axes from ``axis`` on form one row, and the operator works on rows.

    Where that is the last axis alone, it is the new operator; elsewhere the rows are made and
    undone around it.
    """
    x, axis = node.input[0], take(node, "axis", 1)
    rank = build.scope.rank(x)
    if axis == -1 or (rank is not None and axis == rank - 1):
        set_attribute(node, "axis", -1)
        build.keep(node)
        return
    flat = build.add("Flatten", [x], axis=axis)
    result = build.add(node.op_type, [flat], axis=-1)
    shape = build.add("Shape", [x])
    # A 0 in the shape is an empty axis, not a dimension to copy.
    build.add("Reshape", [result, shape], node.output[0], allowzero=1)
