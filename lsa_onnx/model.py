"""Load a model without carrying its weights around, and say what it takes and returns.

A loaded model is light: tensors above ``INLINE_LIMIT_BYTES`` are moved to a file in a private folder
(or stay in the model's own external data), and the proto only refers to them. Every rewrite is then
a copy of structure alone, and ONNX Runtime maps the one weights file into each session.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import onnx
from google.protobuf.message import DecodeError

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.report.document import FileDigest, ValueDescription
from lsa_onnx.rewrite.graph import dimensions, opset, true_inputs
from lsa_onnx.rewrite.inline import inline_functions
from lsa_onnx.rewrite.modernise import modernise
from lsa_onnx.rewrite.tidy import tidy
from lsa_onnx.runtime.built_in import built_in_operators
from lsa_onnx.sparse import densified
from lsa_onnx.weights import (
    carry_inner_weights,
    carry_weights,
    element_count,
    find_external_files,
    is_large,
    move_weights_out,
    refer_to_moved,
    require_single_links,
    take_moved_back,
)
from lsa_onnx.wellformed import require_data, require_readable, require_scopes
from lsa_onnx.wire import parse_in_pieces

T = TypeVar("T")

MIN_IR_VERSION = 3
OLDEST_OPSET = 7
# A write failed, though what was read may be at hand: a full disk, a limit on a file or on a user.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})


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

    @property
    def is_large(self) -> bool:
        """Whether several sessions, each with weights of its own, would fill the memory."""
        return is_large(self.proto)


def load_model(path: str | Path) -> Model:
    """Read an ONNX file.

    Local functions are inlined, so that the layers inside them can be seen, and nodes stand in an order in
    which they can run; opsets before 7 are raised.

    Args:
        path: The model: IR version 3 or newer, any opset that ONNX Runtime runs, weights inside the
            file or in files beside it.

    Raises:
        DataError: There is no such file, it cannot be read, or there is no room for its weights.
        ModelError: It is not an ONNX model, breaks a rule of ONNX, or is of a version that is not supported.
        UnsafeModelError: It refers to weights outside its own folder.
    """
    source = Path(path)
    workspace = Path(tempfile.mkdtemp(prefix="lsa-onnx-"))
    try:
        proto, folder, files = _opened(source, workspace)
        identity, sidecars = digest(source), tuple(digest(file) for file in files)
    except BaseException as error:
        # A request to end may come here as well.
        shutil.rmtree(workspace, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise DataError(
            f"cannot keep the weights of {str(source)!r} in {str(workspace)!r}: {error.strerror}; "
            "set TMPDIR to a folder with room for them"
        ) from None
    model = Model(
        path=source,
        proto=proto,
        folder=folder or workspace,
        workspace=workspace,
        file=identity,
        sidecars=sidecars,
    )
    weakref.finalize(model, shutil.rmtree, workspace, ignore_errors=True)
    return model


def _opened(source: Path, workspace: Path) -> tuple[onnx.ModelProto, Path | None, list[Path]]:
    """The model without large weights, and the folder and files of those that it does not hold itself."""
    with (workspace / "weights.bin").open("w+b") as weights:
        outline = _read(source, lambda file: parse_in_pieces(file, weights))
        proto = outline.model
        _require_graph(source, proto)
        _check_versions(source, proto)
        folder, files = find_external_files(source, proto)
        require_single_links(files)
        if folder is None:
            refer_to_moved(proto, outline.moved, weights)
        else:
            # ONNX Runtime looks for weights in one folder.
            take_moved_back(proto, outline.moved, weights)
        require_data(proto)
        proto = densified(proto, folder)
        if folder is None:
            move_weights_out(proto, weights)
        else:
            carry_inner_weights(proto, folder)
    return _raised(_settled(_repacked(proto))), folder, files


def _raised(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Models of the first opsets in a newer one: rewrites know operators as opset 7 made them."""
    return modernise(proto) if 0 < opset(proto) < OLDEST_OPSET else proto


def _settled(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions, checked, and in order."""
    inlined = inline_functions(proto, built_in_operators() if proto.functions else frozenset())
    require_scopes(inlined)
    tidy(inlined)
    return inlined


def _repacked(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same message in memory of its own: protobuf keeps that of fields that were cleared."""
    packed = onnx.ModelProto()
    packed.ParseFromString(proto.SerializeToString())
    return packed


def digest(path: Path) -> FileDigest:
    """SHA-256 and size of a file, read in pieces.

    Raises:
        DataError: It cannot be read.
    """
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                hasher.update(piece)
            size = file.tell()
    except OSError as error:
        raise _unreadable(path, error) from None
    return FileDigest(str(path), hasher.hexdigest(), size)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot read {str(path)!r}: {error.strerror}; check its permissions")


def describe(value: onnx.ValueInfoProto) -> ValueDescription:
    """Name, shape, element type and kind of leading dimension of an input or output."""
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
    if element not in onnx.TensorProto.DataType.values():
        return f"unknown type {element}"
    name: str = onnx.TensorProto.DataType.Name(element).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def parse_model(source: Path) -> onnx.ModelProto:
    """The message in a model file, as it is; what is in other files stays there.

    Raises:
        DataError: There is no such file, or it cannot be read.
        ModelError: It is not an ONNX model, or nobody could read it.
    """
    # By content: onnx.load goes by the file's suffix and would parse text formats too.
    proto = _read(source, lambda file: onnx.load_model_from_string(file.read()))
    _require_graph(source, proto)
    return proto


def _read(source: Path, parse: Callable[[BinaryIO], T]) -> T:
    """What ``parse`` makes of a file."""
    if not source.exists():
        raise DataError(f"no model file {str(source)!r}; give the path of an .onnx file")
    if source.is_dir():
        raise DataError(f"{str(source)!r} is a folder; give the path of an .onnx file")
    if not source.is_file():
        # Either may have no end.
        raise DataError(f"{str(source)!r} is a device or pipe; give the path of an .onnx file")
    try:
        with source.open("rb") as file:
            return parse(file)
    except DecodeError as error:
        if "depth" in str(error).lower():
            raise ModelError(
                f"{str(source)!r} nests control flow deeper than a parser follows (100 messages); export it "
                "with fewer levels"
            ) from None
        raise ModelError(
            f"{str(source)!r} is not an ONNX model, or is cut short "
            f"({source.stat().st_size} bytes); check the download, or export the model again"
        ) from None
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise _unreadable(source, error) from None


def _require_graph(source: Path, proto: onnx.ModelProto) -> None:
    if not proto.graph.node:
        raise ModelError(
            f"{str(source)!r} holds no graph ({source.stat().st_size} bytes); "
            "give a complete .onnx file"
        )
    require_readable(proto)


def _check_versions(source: Path, proto: onnx.ModelProto) -> None:
    if proto.ir_version < MIN_IR_VERSION:
        raise ModelError(
            f"{str(source)!r} has IR version {proto.ir_version}; version {MIN_IR_VERSION} or newer "
            "is supported: export the model again with a newer exporter"
        )


def with_weights(model: Model, proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``proto`` (rewritten from ``model.proto``) that carries all its weights again."""
    complete = onnx.ModelProto()
    complete.CopyFrom(proto)
    carry_weights(complete, model.folder)
    return complete
