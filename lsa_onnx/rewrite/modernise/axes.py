"""Attributes that became inputs: axes, and what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.modernise.builder import Builder, set_attribute, set_inputs, take

if TYPE_CHECKING:
    import onnx


def axes_to_input(node: onnx.NodeProto, build: Builder) -> None:
    """``axes`` becomes the second input (Squeeze, Unsqueeze and the reductions)."""
    move_integers(node, build, ["axes"])
    build.keep(node)


def split(node: onnx.NodeProto, build: Builder) -> None:
    """``split`` becomes the second input; without it, equal parts need ``num_outputs``."""
    if sizes := take(node, "split"):
        set_inputs(node, [node.input[0], build.integers(sizes)])
    split_evenly(node, build)


def split_evenly(node: onnx.NodeProto, build: Builder) -> None:
    """Equal parts need ``num_outputs``."""
    if len(node.input) < 2 or not node.input[1]:
        set_attribute(node, "num_outputs", len(node.output))
    build.keep(node)


def slice_(node: onnx.NodeProto, build: Builder) -> None:
    """``starts``, ``ends`` and ``axes`` become inputs."""
    move_integers(node, build, ["starts", "ends", "axes"])
    build.keep(node)


def top_k(node: onnx.NodeProto, build: Builder) -> None:
    """``k`` becomes the second input."""
    set_inputs(node, [node.input[0], build.integers([take(node, "k")])])
    build.keep(node)


def pad(node: onnx.NodeProto, build: Builder) -> None:
    """``pads`` and ``value`` become inputs."""
    x, value = node.input[0], take(node, "value", 0.0)
    move_integers(node, build, ["pads"])
    if value:
        set_inputs(node, [*node.input, build.like(value, x)])
    build.keep(node)


def move_integers(node: onnx.NodeProto, build: Builder, names: Sequence[str]) -> None:
    """Attributes of integers become the inputs after the first one; one that is not set is left out."""
    lists = [take(node, name) for name in names]
    set_inputs(node, [node.input[0], *("" if v is None else build.integers(v) for v in lists)])
