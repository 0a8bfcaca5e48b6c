"""A model file as it is stored: the message as written, its tensors read one at a time.

``lsa_onnx.model`` prepares a model for rewriting (functions inlined, weights moved out). What compares
files, or writes one back, needs the file itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.model import parse_model
from lsa_onnx.weights import (
    all_tensors,
    element_bits,
    element_count,
    external_entries,
    find_external_files,
    is_external,
    stored_bytes,
)


@dataclass(frozen=True)
class StoredModel:
    """A model file.

    Attributes:
        path: Where it is.
        proto: The message as written; external tensors are references.
        files: Location of external data, as the message spells it → the file, checked.
    """

    path: Path
    proto: onnx.ModelProto
    files: dict[str, Path]

    def values(self, tensor: onnx.TensorProto) -> NDArray[np.generic]:
        """What ``tensor`` holds; external data are mapped, not read, where their type allows it.

        Raises:
            ModelError: Its data do not fit its type and shape.
        """
        if not is_external(tensor):
            return _decoded(tensor)
        file, offset, length = self.place(tensor)
        # Where elements share bytes, no array can lie over the file.
        if element_bits(tensor) % 8 or not length:
            return _read(tensor, file, offset, length)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.memmap(file, dtype, "r", offset, tuple(tensor.dims))

    def place(self, tensor: onnx.TensorProto) -> tuple[Path, int, int]:
        """The file of an external tensor, the byte where it starts there, and its length in bytes."""
        entries = external_entries(tensor)
        _require_numbers(tensor)
        offset = int(entries.get("offset", "0"))
        return self.files[entries["location"]], offset, stored_bytes(tensor)


def read_stored(path: str | Path) -> StoredModel:
    """Read a model file, but not the files beside it that hold its weights.

    Args:
        path: The model.

    Raises:
        DataError: There is no such file, or it cannot be read.
        ModelError: It is not an ONNX model, or its external data are missing or too short.
        UnsafeModelError: It refers to data outside its own folder.
    """
    source = Path(path)
    proto = parse_model(source)
    # The check resolves links in the locations that it is given; those of the file stay.
    entries = [
        entry
        for tensor in all_tensors(proto)
        if is_external(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    ]
    written = [entry.value for entry in entries]
    folder, _ = find_external_files(source, proto)
    files: dict[str, Path] = {}
    for entry, location in zip(entries, written, strict=True):
        files[location] = (folder or source.parent) / entry.value
        entry.value = location
    return StoredModel(source, proto, files)


def _require_numbers(tensor: onnx.TensorProto) -> None:
    if not element_bits(tensor):
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        raise ModelError(
            f"tensor {tensor.name!r} of type {kind} has its data in another file; only numbers can "
            "be there: export the model again"
        )


def _read(tensor: onnx.TensorProto, file: Path, offset: int, length: int) -> NDArray[np.generic]:
    held = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    with file.open("rb") as opened:
        opened.seek(offset)
        held.raw_data = opened.read(length)
    return _decoded(held)


def _decoded(tensor: onnx.TensorProto) -> NDArray[np.generic]:
    try:
        return numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"tensor {tensor.name!r} does not hold the {element_count(tensor)} elements of its "
            f"shape {list(tensor.dims)}: {error}; export the model again"
        ) from None
