"""BatchNormalization and Dropout, as inference computes them."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from lsa_onnx.rewrite.modernise.builder import Builder, Unraisable, take


def batch_normalization(node: onnx.NodeProto, build: Builder) -> None:
    """The first output is all that inference has."""
    if any(node.output[1:]):
        raise Unraisable(
            f"it also returns {node.output[1]!r}, and so normalises with the statistics of the "
            "batch: it was exported in training mode"
        )
    del node.output[1:]
    build.keep(node)


def batch_normalization_per_activation(node: onnx.NodeProto, build: Builder) -> None:
    """``spatial=0``: statistics per activation, not per channel, have no operator any more."""
    if take(node, "spatial", 1) or any(node.output[1:]):
        batch_normalization(node, build)
        return
    x, scale, bias, mean, variance = node.input
    epsilon = build.like(take(node, "epsilon", 1e-5), x)
    deviation = build.add("Sqrt", [build.add("Add", [variance, epsilon])])
    centred = build.add("Sub", [x, mean])
    scaled = build.add("Mul", [build.add("Div", [centred, deviation]), scale])
    build.add("Add", [scaled, bias], node.output[0])


def dropout(node: onnx.NodeProto, build: Builder) -> None:
    """Nothing is dropped at inference; until opset 11, ONNX Runtime's mask is all False."""
    _dropout(node, build, typed_mask=False)


def dropout_with_typed_mask(node: onnx.NodeProto, build: Builder) -> None:
    """Until opset 9 the mask has the element type of the data."""
    _dropout(node, build, typed_mask=True)


def _dropout(node: onnx.NodeProto, build: Builder, *, typed_mask: bool) -> None:
    x = node.input[0]
    mask = node.output[1] if len(node.output) > 1 else ""
    if node.output[0]:
        build.add("Identity", [x], node.output[0])
    if not build.is_read(mask):
        return
    shape = build.add("Shape", [x])
    false = helper.make_tensor("false", TensorProto.BOOL, [1], [False])
    if typed_mask:
        zeros = build.add("ConstantOfShape", [shape], value=false)
        build.add("CastLike", [zeros, x], mask)
    else:
        build.add("ConstantOfShape", [shape], mask, value=false)
