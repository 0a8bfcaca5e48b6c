"""The adjoint of Resize, which is linear and acts along one axis after the other.

Along an axis, Resize is a matrix: what it makes of the identity. The adjoint has Resize itself write
that matrix, so every mode is as the runtime has it, to the letter. Where sizes are known, ONNX Runtime
folds those nodes into a constant when it loads the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp.along import Vector, joined, known_size, size, written
from lsa_onnx.rewrite.vjp.registry import Adjoints, Op, RuleRefused, rule
from lsa_onnx.rewrite.vjp.tape import Tape

# Factors along the axes, the tensor that holds them, or None where a Resize is given sizes instead.
Scales: TypeAlias = "NDArray[np.float32] | str | None"

# Not extrapolation_value: it is added, so it has no part in the matrix.
_KEPT = (
    "antialias",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "mode",
    "nearest_mode",
)
_CENTRED = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")


@dataclass(frozen=True)
class _Axis:
    """How one axis is resized.

    Attributes:
        axis: Which, from 0.
        inputs: ``roi``, ``scales`` and ``sizes`` of a Resize of this axis alone, "" for none.
        factor: How much longer it gets, ``None`` where that is not known.
        repeats: How often each entry is repeated, if that is known to be all that happens.
    """

    axis: int
    inputs: tuple[str, str, str]
    factor: float | None
    repeats: int | None


@rule("Resize")
def resize(t: Tape, op: Op, g: str) -> Adjoints:
    """Applies a matrix along each resized axis: dx applies their transposes to dy."""
    if any(t.active(op.input(index)) for index in (1, 2)):
        raise RuleRefused("its region or scales depend on the input")
    axes = _resized_axes(t, op)
    repeated = {axis.axis: axis.repeats for axis in axes if axis.repeats}
    if repeated:
        g = _copies_summed(t, op, g, repeated)
    # What shrinks most comes first.
    for axis in sorted(axes, key=lambda axis: -(axis.factor or 1)):
        if not axis.repeats:
            g = _through_matrix(t, op, g, axis)
    return [g]


def _resized_axes(t: Tape, op: Op) -> list[_Axis]:
    """The axes that are resized, or may be."""
    given = op.attribute("axes")
    axes = list(range(t.rank(op.x))) if given is None else [t.axis(a, op.x) for a in given]
    scales = _scales(t, op, axes)
    crops = op.attribute("coordinate_transformation_mode") == "tf_crop_and_resize"
    found = []
    for index, axis in enumerate(axes):
        factor = _factor(t, op, axis, index, scales)
        if factor == 1 and not crops:
            continue
        roi = _picked(t, op.inputs[1], index, index + len(axes)) if crops else ""
        inputs = (roi, *_extent(t, op, index, scales))
        whole = factor is not None and factor.is_integer() and _repeats(op)
        found.append(_Axis(axis, inputs, factor, int(factor or 0) if whole else None))
    return found


def _scales(t: Tape, op: Op, axes: Sequence[int]) -> Scales:
    """The factors that Resize computes with, if not the lengths of y over those of x."""
    if op.input(3) is None:
        value = t.value(op.inputs[2])
        if value is not None and value.shape != (len(axes),):
            raise RuleRefused(f"it has scales of shape {value.shape} for {len(axes)} axes")
        return op.inputs[2] if value is None else value
    policy = op.attribute("keep_aspect_ratio_policy", "stretch")
    return None if policy == "stretch" else _common_scale(t, op, axes, policy)


def _common_scale(t: Tape, op: Op, axes: Sequence[int], policy: str) -> NDArray[np.float32]:
    """The one factor that keeps the aspect ratio; lengths of y are rounded from it."""
    wanted = t.value(op.inputs[3])
    lengths = [known_size(t, op.x, axis) for axis in axes]
    if wanted is None or None in lengths:
        raise RuleRefused("the aspect ratio is kept for sizes that are not known")
    ratios = wanted.astype(np.float32) / np.array(lengths, np.float32)
    factor = ratios.min() if policy == "not_larger" else ratios.max()
    exact = factor * np.array(lengths, np.float32)
    if (np.floor(exact) != np.floor(exact + np.float32(0.5))).any():
        # Given the factor alone, Resize would round the length down.
        raise RuleRefused("a length is rounded up to keep the aspect ratio")
    return np.full(len(axes), factor, np.float32)


def _factor(t: Tape, op: Op, axis: int, index: int, scales: Scales) -> float | None:
    if scales is not None:
        return None if isinstance(scales, str) else float(scales[index])
    if t.dims(op.x) is None or t.dims(op.y) is None:
        return None
    if t.known.same_dim(op.x, axis, op.y, axis):
        return 1.0
    before, after = known_size(t, op.x, axis), known_size(t, op.y, axis)
    return after / before if before and after else None


def _extent(t: Tape, op: Op, index: int, scales: Scales) -> tuple[str, str]:
    """Inputs ``scales`` and ``sizes`` for one axis."""
    if scales is None:
        return "", _picked(t, op.inputs[3], index)
    if isinstance(scales, str):
        return _picked(t, scales, index), ""
    return t.constant(scales[index : index + 1]), ""


def _picked(t: Tape, vector: str, *indices: int) -> str:
    """Some entries of a vector; a constant where it is."""
    value = t.value(vector)
    if value is not None:
        return t.constant(value[list(indices)])
    return t.op("Gather", vector, t.ints(*indices))


def _repeats(op: Op) -> bool:
    """Whether entry i of a k times longer axis is entry i // k."""
    if op.attribute("mode", "nearest") != "nearest":
        return False
    coordinates = op.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = op.attribute("nearest_mode", "round_prefer_floor")
    if coordinates == "asymmetric":
        return bool(rounding == "floor")
    return coordinates in _CENTRED and rounding.startswith("round")


def _copies_summed(t: Tape, op: Op, g: str, repeated: dict[int, int]) -> str:
    parts: list[Vector] = [np.zeros(min(repeated), np.int64)]
    copies: list[int] = []
    for axis in range(min(repeated), t.rank(op.x)):
        parts.append(size(t, op.x if axis in repeated else op.y, axis))
        if axis in repeated:
            copies.append(axis + 1 + len(copies))
            parts.append(np.array([repeated[axis]]))
    parted = t.op("Reshape", g, written(t, joined(t, *parts)))
    return t.op("ReduceSum", parted, t.ints(*copies), keepdims=0)


def _through_matrix(t: Tape, op: Op, g: str, axis: _Axis) -> str:
    """``g`` times the transposed matrix, along one axis."""
    before_last = t.rank(op.x) - 1 - axis.axis
    if before_last == 0:
        return t.op("MatMul", g, _matrix(t, op, axis, transposed=True))
    matrix = _matrix(t, op, axis, transposed=False)
    if before_last == 1:
        return t.op("MatMul", matrix, g)
    merged = t.op("Reshape", g, t.ints(*[0] * (axis.axis + 1), -1))
    kept = t.op("Shape", g, start=axis.axis + 1)
    shape = t.op("Concat", t.ints(*[0] * axis.axis, -1), kept, axis=0)
    return t.op("Reshape", t.op("MatMul", matrix, merged), shape)


def _matrix(t: Tape, op: Op, axis: _Axis, *, transposed: bool) -> str:
    """The weight of entry i (row) of x in entry j (column) of y along an axis, or the transpose."""
    length = size(t, op.x, axis.axis)
    identity = t.op("EyeLike", t.op("ConstantOfShape", written(t, joined(t, length, length))))
    attributes = {name: op.attribute(name) for name in _KEPT}
    matrix = t.op("Resize", identity, *axis.inputs, axes=[0 if transposed else 1], **attributes)
    if t.element(op.x) == onnx.TensorProto.FLOAT:
        return matrix
    return t.op("Cast", matrix, to=t.element(op.x))
