"""Operators that ONNX tried out and dropped before opset 10; ONNX Runtime still runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.rewrite.modernise.builder import Builder, take

if TYPE_CHECKING:
    import onnx


def affine(node: onnx.NodeProto, build: Builder) -> None:
    """``alpha * x + beta``."""
    x = node.input[0]
    scaled = build.add("Mul", [x, build.like(take(node, "alpha", 1.0), x)])
    build.add("Add", [scaled, build.like(take(node, "beta", 0.0), x)], node.output[0])


def scale(node: onnx.NodeProto, build: Builder) -> None:
    """``scale * x``."""
    x = node.input[0]
    build.add("Mul", [x, build.like(take(node, "scale", 1.0), x)], node.output[0])


def image_scaler(node: onnx.NodeProto, build: Builder) -> None:
    """``scale * x + bias`` with one bias per channel of (N, C, H, W)."""
    x = node.input[0]
    bias = np.asarray(take(node, "bias", ()), np.float32).reshape(-1, 1, 1)
    scaled = build.add("Mul", [x, build.like(take(node, "scale", 1.0), x)])
    build.add("Add", [scaled, build.like(bias, x)], node.output[0])


def scaled_tanh(node: onnx.NodeProto, build: Builder) -> None:
    """``alpha * tanh(beta * x)``."""
    _between(node, build, "Tanh")


def parametric_softplus(node: onnx.NodeProto, build: Builder) -> None:
    """``alpha * log(1 + exp(beta * x))``."""
    _between(node, build, "Softplus")


def thresholded_relu(node: onnx.NodeProto, build: Builder) -> None:
    """Joined ONNX, unchanged, in opset 10."""
    build.keep(node)


def _between(node: onnx.NodeProto, build: Builder, op: str) -> None:
    """``alpha * op(beta * x)``."""
    x = node.input[0]
    inner = build.add("Mul", [x, build.like(take(node, "beta", 1.0), x)])
    outer = build.add(op, [inner])
    build.add("Mul", [outer, build.like(take(node, "alpha", 1.0), x)], node.output[0])
