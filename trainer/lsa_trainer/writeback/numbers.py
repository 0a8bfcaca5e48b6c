"""Trained values in the element type and the field in which a file keeps a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from lsa_onnx.model import element_name
from lsa_trainer.writeback.errors import WriteBackError

Array = NDArray[Any]

FLOATS = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.FLOAT8E4M3FN,
        TensorProto.FLOAT8E4M3FNUZ,
        TensorProto.FLOAT8E5M2,
        TensorProto.FLOAT8E5M2FNUZ,
    }
)
_TYPED_FIELDS: dict[int, str] = {TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data"}


def rounded(name: str, element: int, given: Array, old: Array) -> Array:
    """``given`` as the file can hold it.

    Args:
        name: The tensor, for messages.
        element: Its ONNX element type.
        given: The trained values, of any float type.
        old: The values in the file, of the same shape.

    Raises:
        WriteBackError: The tensor does not hold floats, has another shape, or would hold infinity or
            NaN where it has a number now.
    """
    if element not in FLOATS:
        raise WriteBackError(
            f"tensor {name!r} cannot take trained values: its weights are {element_name(element)}; "
            "harden the float parent and quantise again"
        )
    if given.shape != old.shape:
        raise WriteBackError(
            f"tensor {name!r} was trained with shape {list(given.shape)}, but has {list(old.shape)} "
            "in the file; give values of its own shape"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = given.astype(onnx.helper.tensor_dtype_to_np_dtype(element), copy=False)
    spoilt = ~np.isfinite(values) & np.isfinite(old)
    if spoilt.any():
        place = tuple(int(i) for i in np.argwhere(spoilt)[0])
        raise WriteBackError(
            f"tensor {name!r} would hold {float(given[place])} at {list(place)}, which is "
            f"{float(values[place])} in {element_name(element)}; only finite values are accepted: "
            "use a smaller learning rate or more weight decay"
        )
    return values


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays of one shape and type would be stored alike: -0 is not 0, NaN is itself."""
    bits = np.dtype(f"u{a.dtype.itemsize}")
    return np.array_equal(a.reshape(-1).view(bits), b.reshape(-1).view(bits))


def store(tensor: onnx.TensorProto, values: Array) -> None:
    """Put ``values`` into ``tensor`` (changed), into the field that it uses already."""
    field = _TYPED_FIELDS.get(tensor.data_type, "int32_data")
    held = getattr(tensor, field)
    if not held:
        tensor.raw_data = values.tobytes()
        return
    flat = values.reshape(-1)
    if field == "int32_data":
        # Half precision and less goes there as bit patterns.
        flat = flat.view(np.dtype(f"u{flat.dtype.itemsize}"))
    del held[:]
    held.extend(flat.tolist())
