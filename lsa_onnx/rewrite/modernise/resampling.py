"""Upsample, Resize and RoiAlign: where a sample is read became an attribute, with new defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.rewrite.modernise.builder import (
    Builder,
    Unraisable,
    set_attribute,
    set_inputs,
    take,
    text,
)

if TYPE_CHECKING:
    import onnx


def upsample_by_attribute(node: onnx.NodeProto, build: Builder) -> None:
    """``scales`` becomes an input of Resize."""
    scales = build.floats(take(node, "scales"))
    _resize(node, build, node.input[0], scales, node.output[0], "floor")


def upsample(node: onnx.NodeProto, build: Builder) -> None:
    """Upsample is a Resize that never shrinks."""
    _resize(node, build, node.input[0], node.input[1], node.output[0], "floor")


def resize_without_modes(node: onnx.NodeProto, build: Builder) -> None:
    """Resize of opset 10, which ONNX Runtime samples without an offset.

    The nearest sample is the one below for an axis that grows, and the one above for an axis that
    shrinks: two steps where both occur, or may occur. ONNX Runtime copies where no length changes,
    so the first step would not move an axis that grows by less than one sample beside one that
    shrinks. Known scales that might do so are refused; unknown ones are trusted not to.
    """
    x, scales = node.input
    y = node.output[0]
    value = build.scope.constant(scales)
    known = np.asarray([0.5, 2.0] if value is None else value, np.float64)
    if text(node, "mode", "nearest") != "nearest" or (known >= 1).all():
        _resize(node, build, x, scales, y, "floor")
    elif (known <= 1).all():
        _resize(node, build, x, scales, y, "ceil")
    elif ((known > 1) & (known < 2)).any():
        raise Unraisable(f"no Resize shrinks and grows by {known.tolist()} to the same samples")
    else:
        one = build.floats([1.0])
        larger = _resize(node, build, x, build.add("Max", [scales, one]), None, "floor")
        _resize(node, build, larger, build.add("Min", [scales, one]), y, "ceil")


def _resize(
    node: onnx.NodeProto, build: Builder, x: str, scales: str, output: str | None, nearest: str
) -> str:
    return build.add(
        "Resize",
        [x, "", scales],
        output,
        mode=text(node, "mode", "nearest"),
        coordinate_transformation_mode="asymmetric",
        nearest_mode=nearest,
    )


def resize(node: onnx.NodeProto, build: Builder) -> None:
    """Empty ``scales`` beside ``sizes`` are left out; one way to place samples lost its name."""
    if len(node.input) > 3 and node.input[3]:
        set_inputs(node, [*node.input[:2], "", node.input[3]])
    if text(node, "coordinate_transformation_mode", "half_pixel") == "tf_half_pixel_for_nn":
        _replace_half_pixel_of_tensorflow(node)
    build.keep(node)


def _replace_half_pixel_of_tensorflow(node: onnx.NodeProto) -> None:
    """It adds half a pixel without taking it off again: rounding down there is rounding here."""
    mode = text(node, "mode", "nearest")
    nearest = text(node, "nearest_mode", "round_prefer_floor")
    if (mode, nearest) != ("nearest", "floor"):
        raise Unraisable(
            "coordinate_transformation_mode 'tf_half_pixel_for_nn' has a later form for mode "
            f"'nearest' with nearest_mode 'floor' alone, not for {mode!r} with {nearest!r}"
        )
    set_attribute(node, "coordinate_transformation_mode", "half_pixel")
    set_attribute(node, "nearest_mode", "round_prefer_ceil")


def roi_align(node: onnx.NodeProto, build: Builder) -> None:
    """Half a pixel was not taken off; opset 16 made that a choice, and the other one the default."""
    set_attribute(node, "coordinate_transformation_mode", "output_half_pixel")
    build.keep(node)
