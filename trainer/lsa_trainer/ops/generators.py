"""Operators that make tensors of shapes and numbers.

What no input puts on a device is made on torch's default device. Shapes are on the CPU: they become
arguments, not data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lsa_trainer.ops.element_types import TORCH_TYPES, type_refusal
from lsa_trainer.ops.registry import Floats, Ints, Op, operator

_PLAIN = ("value", "value_float", "value_floats", "value_int", "value_ints")


def _constant_refusal(op: Op) -> str | None:
    odd = [name for name in op.attributes if name not in _PLAIN]
    return f"a constant given as {odd[0]} is not supported" if odd else None


@operator("Constant", refuse=_constant_refusal)
def constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: Floats | None = None,
    value_int: int | None = None,
    value_ints: Ints | None = None,
) -> Tensor:
    """The one value that is given."""
    if value is not None:
        return value
    floats = value_floats if value_float is None else value_float
    if floats is not None:
        return torch.tensor(floats, dtype=torch.float32)
    return torch.tensor(value_ints if value_int is None else value_int, dtype=torch.int64)


@operator("ConstantOfShape")
def constant_of_shape(shape: Ints, *, value: Tensor | None = None) -> Tensor:
    """The value (one entry, 0.0 without it) everywhere."""
    if value is None:
        return torch.zeros(shape, dtype=torch.float32)
    return value.reshape(()).expand(shape)


@operator("Shape")
def shape_(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """The lengths of the axes from ``start`` up to ``end``."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64, device="cpu")


@operator("Size")
def size(x: Tensor) -> Tensor:
    """How many entries x has."""
    return torch.tensor(x.numel(), dtype=torch.int64, device="cpu")


@operator("Range")
def range_(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """From ``start`` in steps of ``delta``, up to but without ``limit``."""
    start, limit, delta = (t.reshape(()) for t in (start, limit, delta))
    # Counted in double precision, as ONNX Runtime counts: (−0.4 + 0.1) / −0.1 would be above 3 in single.
    count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
    return start + delta * torch.arange(count, dtype=start.dtype, device=start.device)


def _dtype_refusal(op: Op) -> str | None:
    return type_refusal(op.attributes.get("dtype"))


@operator("EyeLike", refuse=_dtype_refusal)
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """1 on the k-th diagonal of a matrix of x's shape, 0 elsewhere."""
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape)
    diagonal = rows.unsqueeze(1) + k == columns
    return diagonal.to(x.dtype if dtype is None else TORCH_TYPES[dtype])
