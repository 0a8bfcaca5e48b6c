"""Constants of a file as torch tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

# Types that torch has and numpy has only by ml_dtypes: the integer of the same size carries the bits.
_BITS = {
    np.dtype(ml_dtypes.bfloat16): (np.int16, torch.bfloat16),
    np.dtype(ml_dtypes.float8_e4m3fn): (np.int8, torch.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e4m3fnuz): (np.int8, torch.float8_e4m3fnuz),
    np.dtype(ml_dtypes.float8_e5m2): (np.int8, torch.float8_e5m2),
    np.dtype(ml_dtypes.float8_e5m2fnuz): (np.int8, torch.float8_e5m2fnuz),
}
# These torch does not compute with; single precision holds each of their numbers.
_SMALL_FLOATS = ("float4_e2m1fn", "float8_e8m0fnu")


def tensor_of(proto: onnx.TensorProto, folder: Path | None) -> torch.Tensor:
    """The value of a constant; ``folder`` holds what is outside the model's file."""
    array = numpy_helper.to_array(proto, str(folder or ""))
    return torch_tensor(array)


def torch_tensor(array: NDArray[Any]) -> torch.Tensor:
    """A copy as a torch tensor, in a wider type where torch does not have the array's own."""
    if array.dtype in _BITS:
        carrier, dtype = _BITS[array.dtype]
        return torch.from_numpy(array.view(carrier).copy()).view(dtype)
    if array.dtype.name in _SMALL_FLOATS:
        array = array.astype(np.float32)
    if array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        array = array.astype(np.int8 if array.dtype.name.startswith("int") else np.uint8)
    return torch.from_numpy(np.array(array, order="C"))
