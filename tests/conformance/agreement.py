"""Whether two runs of a model agree, tensor by tensor."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Beyond this are masks ("minus infinity"), not numbers.
_HUGE = 1e30
# Largest difference over the largest value of a tensor.
TOLERANCE = 1e-4
_COARSE = {np.dtype(np.float16): 2e-3, np.dtype(ml_dtypes.bfloat16): 1e-2}
# Types that torch computes with in a wider one.
_NARROW = {"int2": "int8", "int4": "int8", "uint2": "uint8", "uint4": "uint8"}
_SMALL_FLOATS = ("float4_e2m1fn", "float8_e8m0fnu")


def disagreement(
    ours: Any, theirs: Any, *, numbers: bool = True, tolerance: float = TOLERANCE
) -> str:
    """What sets ``ours`` apart from ``theirs``, "" for nothing.

    Args:
        ours: An array, a list of such, or ``None``.
        theirs: What it ought to be.
        numbers: Whether more than types and shapes must agree.
        tolerance: Largest difference over the largest value; half precision has its own.
    """
    if isinstance(theirs, list):
        return _lists(ours, theirs, numbers, tolerance)
    if ours is None or theirs is None:
        return "" if ours is theirs else "one of them is None"
    a, b = _comparable(np.asarray(ours), np.asarray(theirs))
    if a.shape != b.shape:
        return f"of shape {a.shape}, not {b.shape}"
    if a.dtype != b.dtype:
        return f"of type {a.dtype}, not {b.dtype}"
    return _numbers(a, b, tolerance) if numbers else ""


def _lists(ours: Any, theirs: list[Any], numbers: bool, tolerance: float) -> str:
    if not isinstance(ours, list) or len(ours) != len(theirs):
        return f"no list of {len(theirs)}"
    pairs = zip(ours, theirs, strict=True)
    found = (disagreement(a, b, numbers=numbers, tolerance=tolerance) for a, b in pairs)
    return next(filter(None, found), "")


def _comparable(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """Both in the type that torch has for them; ONNX Runtime returns float8 as bytes."""
    name = theirs.dtype.name
    if name in _NARROW:
        theirs = theirs.astype(_NARROW[name])
    elif name in _SMALL_FLOATS:
        theirs = theirs.astype(np.float32)
    elif ours.dtype.name.startswith("float8") and theirs.dtype == np.uint8:
        theirs = theirs.view(ours.dtype)
    return ours, theirs


def _numbers(a: Array, b: Array, tolerance: float) -> str:
    if a.dtype.kind in "biuOS":
        return "" if np.array_equal(a, b) else "other numbers"
    kind = np.complex128 if a.dtype.kind == "c" else np.float64
    allowed = _COARSE.get(b.dtype, tolerance)
    a, b = a.astype(kind), b.astype(kind)
    usual = np.abs(b) < _HUGE
    if not np.array_equal(_unusual(a[~usual]), _unusual(b[~usual]), equal_nan=True):
        return "other infinities"
    apart = float(np.abs(a[usual] - b[usual]).max(initial=0.0))
    scale = float(np.abs(b[usual]).max(initial=0.0))
    return "" if apart <= allowed * scale else f"apart by {apart / scale if scale else apart:.2g}"


def _unusual(values: Array) -> Array:
    """NaN and the sign of what is huge; numbers in their place stay what they are."""
    return np.where(np.abs(values) >= _HUGE, np.sign(values) * np.inf, values)
