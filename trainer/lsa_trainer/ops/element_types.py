"""ONNX's element types as torch's."""

from __future__ import annotations

import torch
from onnx import TensorProto

# Strings, and the types of fewer than 8 bits, have no torch type that computes.
TORCH_TYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BOOL: torch.bool,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.COMPLEX128: torch.complex128,
}


def type_refusal(number: int | None) -> str | None:
    """Why tensors of this ONNX element type cannot be made; ``None`` if they can, or if not given."""
    if number is None or number in TORCH_TYPES:
        return None
    known = number in TensorProto.DataType.values()
    name = TensorProto.DataType.Name(number) if known else number
    return f"element type {name} is not supported"
