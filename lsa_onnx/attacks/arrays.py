"""What attacks do with arrays of any library that follows the array API: numpy, torch and others."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import array_api_compat

# An array of a library that array_api_compat knows; they share no base class.
Array: TypeAlias = Any

_HALF_BITS = 16


def namespace(x: Array) -> Any:
    """The functions of the array API for the library of ``x``."""
    return array_api_compat.array_namespace(x)


def wide(x: Array) -> Array:
    """``x`` in a type whose sums of squares neither overflow nor lose the small values.

    Half precision (float16, bfloat16) becomes float32; other types stay as they are.
    """
    xp = namespace(x)
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits == _HALF_BITS else x


def flat(x: Array) -> Array:
    """Shape (n, ...) to (n, elements of a sample); n may be 0."""
    return namespace(x).reshape(x, (x.shape[0], elements(x)))


def elements(x: Array) -> int:
    """Elements of one sample of ``x``, shape (n, ...)."""
    return math.prod(x.shape[1:])


def column(values: Array, x: Array) -> Array:
    """One value per sample, shape (n,), shaped to broadcast against ``x``, shape (n, ...)."""
    return namespace(values).reshape(values, (values.shape[0], *(1 for _ in x.shape[1:])))


def largest(x: Array) -> Array:
    """The largest absolute value of each sample, shape (n,)."""
    xp = namespace(x)
    return xp.max(xp.abs(flat(x)), axis=1)


def total(x: Array) -> Array:
    """The sum of each sample, shape (n,)."""
    return namespace(x).sum(flat(x), axis=1)


def euclidean(x: Array) -> Array:
    """The Euclidean norm of each sample, shape (n,)."""
    return namespace(x).sqrt(total(x * x))


def divided(x: Array, by: Array) -> Array:
    """Each sample of ``x`` divided by its norm ``by``, shape (n,); what is zero stays zero."""
    xp = namespace(x)
    return x / column(xp.where(by > 0, by, xp.ones_like(by)), x)


def finite(x: Array) -> Array:
    """``x`` with zero in place of NaN and infinity."""
    xp = namespace(x)
    return xp.where(xp.isfinite(x), x, xp.zeros_like(x))


def chosen(condition: Array, yes: Array, no: Array) -> Array:
    """For each sample, ``yes`` where ``condition``, shape (n,), holds, else ``no``."""
    return namespace(yes).where(column(condition, yes), yes, no)


def with_rows(x: Array, mask: Array, values: Array) -> Array:
    """A copy of ``x`` whose samples under ``mask``, shape (n,), are ``values``, in order."""
    copied = namespace(x).asarray(x, copy=True)
    copied[mask] = values
    return copied


def displaced(x0: Array, delta: Array) -> Array:
    """x0 + delta, in the type of x0, and no element farther from x0 than ``delta`` says.

    Rounding to nearest may put an element up to half a unit in the last place too far, which is much
    for a small delta beside a large value, or in half precision. Such elements move one unit back.
    """
    xp = namespace(x0)
    start = wide(x0)
    moved = xp.astype(start + delta, x0.dtype)
    back = moved - xp.astype(xp.sign(delta), x0.dtype) * xp.abs(moved) * xp.finfo(x0.dtype).eps
    # Where that would cross x0, nothing but x0 itself is near enough.
    back = xp.where((wide(back) - start) * delta > 0, back, x0)
    return xp.where(xp.abs(wide(moved) - start) > xp.abs(delta), back, moved)
