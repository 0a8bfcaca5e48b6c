"""A model file read in pieces: large weights go into a file of their own before anything is parsed.

A parser holds the file and what it makes of it, twice the weights, where ONNX Runtime needs them once.
What is read here is the outline of the message alone: which field starts where.
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import onnx
from google.protobuf.message import DecodeError

from lsa_onnx.weights import INLINE_LIMIT_BYTES, append_weights

_PIECE_BYTES = 1 << 20
# Wire types, and the bytes of those of fixed size.
_VARINT, _DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BYTES = 10
# A tensor with one of these does not hold its data as plain bytes alone.
_ELSEWHERE = (
    onnx.TensorProto.EXTERNAL_DATA_FIELD_NUMBER,
    onnx.TensorProto.DATA_LOCATION_FIELD_NUMBER,
)


class _Field(NamedTuple):
    """A field of a message: the places in the file where it starts, where its content does, and its end."""

    number: int
    wire_type: int
    start: int
    content: int
    end: int


@dataclass
class Outline:
    """A model without its large weights.

    Attributes:
        model: Its initializers are all there; those in ``moved`` have no data.
        moved: Position of an initializer → where its data start in the file of weights, and their length.
    """

    model: onnx.ModelProto
    moved: dict[int, tuple[int, int]]


def parse_in_pieces(file: BinaryIO, weights: BinaryIO) -> Outline:
    """Parse ``file``, a serialised model of any size; data of large initializers go to ``weights``.

    Data stay in the model where they are not plain bytes. Linear in the number of nodes.

    Raises:
        DecodeError: It is not a serialised model.
        OSError: A file cannot be read, or there is no room.
    """
    return _Cutting(file, weights).outline()


class _Cutting:
    def __init__(self, file: BinaryIO, weights: BinaryIO) -> None:
        self._file = file
        self._weights = weights
        self._count = 0
        self._moved: dict[int, tuple[int, int]] = {}

    def outline(self) -> Outline:
        """What is left when the large weights are gone."""
        number = onnx.ModelProto.GRAPH_FIELD_NUMBER
        pieces: list[bytes] = []
        for field in _fields(self._file, 0, self._file.seek(0, os.SEEK_END)):
            is_graph = (field.number, field.wire_type) == (number, _DELIMITED)
            pieces += (
                self._graph(field) if is_graph else _pieces(self._file, field.start, field.end)
            )
        model = onnx.ModelProto()
        model.ParseFromString(b"".join(pieces))
        return Outline(model, self._moved)

    def _graph(self, graph: _Field) -> list[bytes]:
        number = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
        pieces: list[bytes] = []
        for field in _fields(self._file, graph.content, graph.end):
            is_tensor = (field.number, field.wire_type) == (number, _DELIMITED)
            pieces += (
                self._tensor(field) if is_tensor else _pieces(self._file, field.start, field.end)
            )
        return _delimited(graph.number, pieces)

    def _tensor(self, tensor: _Field) -> list[bytes]:
        data = _large_data(self._file, tensor)
        self._count += 1
        if data is None:
            return list(_pieces(self._file, tensor.start, tensor.end))
        offset = append_weights(self._weights, _pieces(self._file, data.content, data.end))
        self._moved[self._count - 1] = offset, data.end - data.content
        before = _pieces(self._file, tensor.content, data.start)
        rest = [*before, *_pieces(self._file, data.end, tensor.end)]
        return _delimited(tensor.number, rest)


def _large_data(file: BinaryIO, tensor: _Field) -> _Field | None:
    """Where a tensor has its data, if they are bytes and many."""
    if tensor.end - tensor.content <= INLINE_LIMIT_BYTES:
        return None
    fields = list(_fields(file, tensor.content, tensor.end))
    found = [f for f in fields if f.number == onnx.TensorProto.RAW_DATA_FIELD_NUMBER]
    if len(found) != 1 or any(field.number in _ELSEWHERE for field in fields):
        return None
    large = found[0].end - found[0].content > INLINE_LIMIT_BYTES
    return found[0] if large and found[0].wire_type == _DELIMITED else None


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    """The fields of a message that lies between two places."""
    while start < end:
        file.seek(start)
        tag = _varint(file)
        number, wire_type = tag >> 3, tag & 7
        length = _varint(file) if wire_type in (_VARINT, _DELIMITED) else 0
        content = file.tell()
        stop = content + (length if wire_type == _DELIMITED else _FIXED_BYTES.get(wire_type, 0))
        if stop > end or wire_type not in (_VARINT, _DELIMITED, *_FIXED_BYTES):
            raise DecodeError(f"field {number} at byte {start} ends at {stop}, outside its message")
        yield _Field(number, wire_type, start, content, stop)
        start = stop


def _varint(file: BinaryIO) -> int:
    number = 0
    for index in range(_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            break
        number |= (byte[0] & 127) << 7 * index
        if byte[0] < 128:
            return number
    raise DecodeError("a number is cut short")


def _delimited(number: int, pieces: list[bytes]) -> list[bytes]:
    """A field that holds ``pieces``."""
    length = sum(map(len, pieces))
    return [_as_varint(number << 3 | _DELIMITED), _as_varint(length), *pieces]


def _as_varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """What lies between two places of ``file``."""
    file.seek(start)
    while start < end:
        piece = file.read(min(_PIECE_BYTES, end - start))
        if not piece:
            raise DecodeError("the file is cut short")
        start += len(piece)
        yield piece
