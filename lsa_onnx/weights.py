"""Where the weights of a model are: inside its file, in files beside it, or moved out by us.

External data makes a model file point at other files, so every such pointer is checked before
anything follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import onnx
from onnx import external_data_helper, numpy_helper

from lsa_onnx.errors import ModelError, UnsafeModelError
from lsa_onnx.rewrite.graph import subgraphs

INLINE_LIMIT_BYTES = 1024
# A session may keep a copy of all weights, arranged as its kernels like them, and a scan has three sessions.
LARGE_BYTES = 1 << 30
# ONNX Runtime maps external tensors; page-aligned ones need no copy.
_ALIGNMENT = 4096
# ONNX Runtime reads the bytes behind this location from its own memory.
_MEMORY_MARKER = "_ORT_MEM_ADDR_"
_KNOWN_KEYS = frozenset({"location", "offset", "length", "checksum", "basepath"})
# Types whose elements share bytes, and bits of one element.
_PACKED = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
_DATA_FIELDS = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
)


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant of the model: initializers and node attributes, in subgraphs and functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from node_tensors(node)


def node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """The constants in the attributes of a node, those of its bodies included."""
    if not node.attribute:
        return
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for each in (*sparse, *attribute.sparse_tensors):
            yield from (each.values, each.indices)
    for inner in subgraphs(node):
        yield from _graph_tensors(inner)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the data of ``tensor`` is in another file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def element_count(tensor: onnx.TensorProto) -> int:
    """Number of elements of a tensor, by its dimensions."""
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights outside of ``model`` are so large that no session should make a copy of them."""
    return sum(map(stored_bytes, filter(is_external, model.graph.initializer))) > LARGE_BYTES


def find_external_files(source: Path, model: onnx.ModelProto) -> tuple[Path | None, list[Path]]:
    """The folder of the model's external data and the files there, each checked.

    Links are followed only where they lead to the folder that the model itself leads to (download
    caches are made so); their locations in ``model`` are replaced by the real ones.

    Args:
        source: The model file.
        model: Its content.

    Returns:
        ``None`` and no files for a model without external data.

    Raises:
        ModelError: A file is missing or too short, or an entry makes no sense.
        UnsafeModelError: A tensor refers to data outside the folder of the model.
    """
    tensors = [tensor for tensor in all_tensors(model) if is_external(tensor)]
    if not tensors:
        return None, []
    beside = source.parent.resolve()
    files = [_external_file(beside, tensor) for tensor in tensors]
    for folder in dict.fromkeys((beside, source.resolve().parent)):
        if all(folder in file.parents for file in files):
            break
    else:
        stray = next(
            t for t, file in zip(tensors, files, strict=True) if beside not in file.parents
        )
        raise _outside(stray, external_entries(stray)["location"])
    for tensor, file in zip(tensors, files, strict=True):
        _require_data(tensor, file)
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = file.relative_to(folder).as_posix()
    return folder, list(dict.fromkeys(files))


def require_single_links(files: Iterable[Path]) -> None:
    """Refuse files of weights that have other names as well, which ``onnx`` does not read.

    Raises:
        UnsafeModelError: There is one.
    """
    for file in files:
        links = file.stat().st_nlink
        if links > 1:
            raise UnsafeModelError(
                f"the weights file {str(file)!r} has {links} hard links: under another name it may be a file "
                "that the model should not read; copy it, and use the copy"
            )


def external_entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """What a tensor says of the place of its data in another file: ``location``, ``offset``, ..."""
    return {entry.key: entry.value for entry in tensor.external_data}


def _external_file(beside: Path, tensor: onnx.TensorProto) -> Path:
    location = external_entries(tensor).get("location", "")
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    absolute = posix.is_absolute() or bool(windows.drive or windows.root)
    upward = ".." in posix.parts or ".." in windows.parts
    if not location or absolute or upward or _MEMORY_MARKER in location or "\0" in location:
        raise _outside(tensor, location)
    return (beside / location).resolve()


def _outside(tensor: onnx.TensorProto, location: str) -> UnsafeModelError:
    return UnsafeModelError(
        f"tensor {tensor.name!r} refers to data at {location!r}, outside the folder of the model; "
        "only files in the model's own folder are read"
    )


def _require_data(tensor: onnx.TensorProto, file: Path) -> None:
    """That ``file`` holds the bytes that ``tensor`` wants of it."""
    entries = external_entries(tensor)
    location = entries["location"]
    unknown = sorted(entries.keys() - _KNOWN_KEYS)
    if unknown:
        raise ModelError(
            f"tensor {tensor.name!r} describes its data by {unknown[0]!r}, which is not one of "
            f"{', '.join(sorted(_KNOWN_KEYS))}; export the model again"
        )
    offset, length = (external_number(tensor, key) for key in ("offset", "length"))
    if not file.is_file():
        raise ModelError(
            f"tensor {tensor.name!r} needs the file {location!r}, which is not beside the model; "
            "copy it there"
        )
    end, size = offset + max(length, stored_bytes(tensor)), file.stat().st_size
    if end > size:
        raise ModelError(
            f"tensor {tensor.name!r} ends at byte {end} of {location!r}, which has {size} bytes; "
            "the file is cut short"
        )


def external_number(tensor: onnx.TensorProto, key: str) -> int:
    """The ``offset`` or ``length``, in bytes, of data in another file; 0 where it is not given.

    Raises:
        ModelError: It is no number.
    """
    text = external_entries(tensor).get(key, "0")
    # No file has 10**19 bytes; Python itself would not read a number of some thousand digits.
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(
            f"tensor {tensor.name!r} gives {text[:40]!r} as the {key} of its data; "
            "a number of bytes is expected"
        )
    return int(text)


def element_bits(tensor: onnx.TensorProto) -> int:
    """Bits of one element in a file; 0 where a file cannot hold it."""
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind in ("STRING", "UNDEFINED"):
        return 0
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return _PACKED.get(kind, 8 * itemsize)


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that the elements take in a file."""
    return (element_count(tensor) * element_bits(tensor) + 7) // 8


def move_weights_out(model: onnx.ModelProto, file: BinaryIO) -> None:
    """Move every initializer above ``INLINE_LIMIT_BYTES`` from ``model`` (changed) to ``file``."""
    for tensor in model.graph.initializer:
        data = _movable_bytes(tensor)
        if len(data) <= INLINE_LIMIT_BYTES:
            continue
        _refer(tensor, file, append_weights(file, [data]), len(data))


def append_weights(file: BinaryIO, pieces: Iterable[bytes]) -> int:
    """Write the data of a tensor at the end of ``file``, where they can be mapped; returns where they start."""
    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
    offset = file.tell()
    file.writelines(pieces)
    return offset


def _movable_bytes(tensor: onnx.TensorProto) -> bytes:
    """The data as a file would hold it; nothing where it is to stay in the model."""
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind == "STRING" or is_external(tensor):
        return b""
    if tensor.raw_data:
        return bytes(tensor.raw_data)
    if kind in _PACKED or element_count(tensor) <= INLINE_LIMIT_BYTES // 8:
        return b""
    return numpy_helper.to_array(tensor).tobytes()


def _refer(tensor: onnx.TensorProto, file: BinaryIO, offset: int, length: int) -> None:
    for field in _DATA_FIELDS:
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    entries = {"location": Path(file.name).name, "offset": str(offset), "length": str(length)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def refer_to_moved(
    model: onnx.ModelProto, moved: Mapping[int, tuple[int, int]], file: BinaryIO
) -> None:
    """Let initializers of ``model`` (changed) have their data in ``file``: position → offset and length."""
    for index, (offset, length) in moved.items():
        _refer(model.graph.initializer[index], file, offset, length)


def take_moved_back(
    model: onnx.ModelProto, moved: Mapping[int, tuple[int, int]], file: BinaryIO
) -> None:
    """Put into initializers of ``model`` (changed) what ``file`` holds for them."""
    for index, (offset, length) in moved.items():
        file.seek(offset)
        model.graph.initializer[index].raw_data = file.read(length)


def carry_inner_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Put external data into ``model`` (changed) where it is small, or not the main graph's.

    Small tensors are shapes and other constants that rewrites must read. Those of subgraphs ONNX
    Runtime would look for in the working directory, when the model comes from memory.
    """
    bodies = [body for node in model.graph.node for body in subgraphs(node)]
    inner = [tensor for body in bodies for tensor in _graph_tensors(body)]
    small = [t for t in model.graph.initializer if stored_bytes(t) <= INLINE_LIMIT_BYTES]
    _carry([*inner, *small], folder)


def carry_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Put all external data, which lies in ``folder``, into ``model`` (changed)."""
    _carry(all_tensors(model), folder)


def _carry(tensors: Iterable[onnx.TensorProto], folder: Path) -> None:
    for tensor in tensors:
        if is_external(tensor):
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            # Without a length, all that follows in the file was read.
            tensor.raw_data = tensor.raw_data[: stored_bytes(tensor)]
            tensor.ClearField("data_location")
            del tensor.external_data[:]
