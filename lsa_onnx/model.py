"""Load a model without carrying its weights around, and say what it takes and returns.

A loaded model is light: tensors above ``INLINE_LIMIT_BYTES`` are moved to a file in a private folder (or stay in the
model's own external data), and the proto only refers to them. Every rewrite is then a copy of structure alone, and
ONNX Runtime maps the one weights file into each session.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google.protobuf.message
import onnx
from onnx import numpy_helper

from lsa_onnx.errors import DataError, ModelError, UnsafeModelError
from lsa_onnx.report.document import FileDigest, ValueDescription
from lsa_onnx.rewrite.graph import dimensions, opset, true_inputs

INLINE_LIMIT_BYTES = 1024
MIN_IR_VERSION = 3
MIN_OPSET = 7
# ONNX Runtime maps external tensors; page-aligned ones need no copy.
_ALIGNMENT = 4096


@dataclass(frozen=True)
class Model:
    """A model whose large tensors are references.

    Attributes:
        path: The file it came from, untouched.
        proto: Its graph; large initializers refer to files in ``folder``.
        folder: Where those files are.
        workspace: A private folder, removed with this object, for files made from the model.
        file: Digest of ``path``.
        sidecars: Digests of the external data files the model came with.
    """

    path: Path
    proto: onnx.ModelProto
    folder: Path
    workspace: Path
    file: FileDigest
    sidecars: tuple[FileDigest, ...]

    @property
    def inputs(self) -> list[ValueDescription]:
        """What a caller feeds, initializers listed as inputs left out."""
        return [describe(value) for value in true_inputs(self.proto.graph)]

    @property
    def outputs(self) -> list[ValueDescription]:
        """What a run returns."""
        return [describe(value) for value in self.proto.graph.output]

    @property
    def parameters(self) -> int:
        """Number of elements of all initializers."""
        return sum(element_count(tensor) for tensor in self.proto.graph.initializer)


def load_model(path: str | Path) -> Model:
    """Read an ONNX file.

    Args:
        path: The model: IR version 3 or newer, opset 7 or newer, weights inside the file or in files beside it.

    Raises:
        DataError: There is no such file, or it cannot be read.
        ModelError: It is not an ONNX model, or of a version that is not supported.
        UnsafeModelError: It refers to weights outside its own folder.
    """
    source = Path(path)
    proto = _parse(source)
    _check_versions(source, proto)
    external = _external_files(source, proto)
    workspace = Path(tempfile.mkdtemp(prefix="lsa-onnx-"))
    model = Model(
        path=source,
        proto=proto,
        folder=source.parent.resolve() if external else workspace,
        workspace=workspace,
        file=digest(source),
        sidecars=tuple(digest(file) for file in external),
    )
    weakref.finalize(model, shutil.rmtree, workspace, ignore_errors=True)
    if not external:
        with (workspace / "weights.bin").open("wb") as file:
            move_weights_out(proto, file)
    return model


def digest(path: Path) -> FileDigest:
    """SHA-256 and size of a file, read in pieces."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    return FileDigest(str(path), hasher.hexdigest(), path.stat().st_size)


def describe(value: onnx.ValueInfoProto) -> ValueDescription:
    """Name, shape, element type and kind of leading dimension of a graph input or output."""
    shape = dimensions(value)
    kind = value.type.WhichOneof("value") or "undeclared"
    dtype = kind.removesuffix("_type")
    if kind == "tensor_type":
        dtype = element_name(value.type.tensor_type.elem_type)
    if shape is not None and not shape:
        return ValueDescription(value.name, shape, dtype, "absent")
    fixed = shape is not None and isinstance(shape[0], int)
    return ValueDescription(value.name, shape, dtype, "fixed" if fixed else "free")


def element_name(element: int) -> str:
    """The numpy-like name of an ONNX element type: ``float32``, ``bfloat16``, ``string``."""
    name = onnx.TensorProto.DataType.Name(element).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def element_count(tensor: onnx.TensorProto) -> int:
    """Number of elements of a tensor, by its dimensions."""
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def _parse(source: Path) -> onnx.ModelProto:
    if not source.exists():
        raise DataError(f"no model file {str(source)!r}; give the path of an .onnx file")
    if source.is_dir():
        raise DataError(f"{str(source)!r} is a folder; give the path of an .onnx file")
    try:
        proto = onnx.load(source, load_external_data=False)
    except google.protobuf.message.DecodeError:
        raise ModelError(
            f"{str(source)!r} is not an ONNX model, or is cut short ({source.stat().st_size} bytes); "
            "check the download, or export the model again"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {str(source)!r}: {error.strerror}; check its permissions") from None
    if not proto.graph.node:
        raise ModelError(
            f"{str(source)!r} holds no graph ({source.stat().st_size} bytes); give a complete .onnx file"
        )
    return proto


def _check_versions(source: Path, proto: onnx.ModelProto) -> None:
    if proto.ir_version < MIN_IR_VERSION:
        raise ModelError(
            f"{str(source)!r} has IR version {proto.ir_version}; version {MIN_IR_VERSION} or newer is supported: "
            "export the model again with a newer exporter"
        )
    version = opset(proto)
    if 0 < version < MIN_OPSET:
        raise ModelError(
            f"{str(source)!r} has opset {version}; opset {MIN_OPSET} or newer is supported: "
            "convert it with onnx.version_converter"
        )


def _external_files(source: Path, proto: onnx.ModelProto) -> list[Path]:
    """The files that hold external tensors, each checked to lie beside the model."""
    folder = source.parent.resolve()
    found: dict[Path, None] = {}
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = (folder / location).resolve()
        if not location or Path(location).is_absolute() or folder not in file.parents:
            raise UnsafeModelError(
                f"tensor {tensor.name!r} refers to data at {location!r}, outside the folder of the model; "
                "only files in the model's own folder are read"
            )
        if not file.is_file():
            raise ModelError(
                f"tensor {tensor.name!r} needs the file {location!r}, which is not beside the model; copy it there"
            )
        end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
        if end > file.stat().st_size:
            raise ModelError(
                f"tensor {tensor.name!r} ends at byte {end} of {location!r}, which has "
                f"{file.stat().st_size} bytes; the file is cut short"
            )
        found[file] = None
    return list(found)


def move_weights_out(proto: onnx.ModelProto, file: BinaryIO) -> None:
    """Move every initializer above ``INLINE_LIMIT_BYTES`` from ``proto`` to ``file`` (changes ``proto``)."""
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.STRING:
            continue
        data = tensor.raw_data
        if not data:
            if element_count(tensor) * 4 <= INLINE_LIMIT_BYTES:
                continue
            data = numpy_helper.to_array(tensor).tobytes()
        if len(data) <= INLINE_LIMIT_BYTES:
            continue
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        offset = file.tell()
        file.write(data)
        _refer(tensor, Path(file.name).name, offset, len(data))


def _refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    entries = {"location": location, "offset": str(offset), "length": str(length)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def with_weights(model: Model, proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``proto`` (rewritten from ``model.proto``) that carries all its weights again, ready to be saved."""
    complete = onnx.ModelProto()
    complete.CopyFrom(proto)
    for tensor in complete.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(model.folder))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    return complete
