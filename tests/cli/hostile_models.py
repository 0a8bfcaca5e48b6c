"""Model files made to harm whoever opens them. Each maker writes ``model.onnx``, and what it needs beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests import graphs
from tests.graphs import node, value

Make = Callable[[Path], None]

# Where the secret lies that a model would like to read: beside the folder of the model.
OUTSIDE = "secret.bin"
# Colours, a title, a line break, a mark that reverses text, and markup of two kinds.
NASTY = "a\x1b[31m\x1b]0;owned\x07\r\nb\u202e<script>alert(1)</script>[red]"
_FUNCTIONS = "lsa.tests"


def write(proto: onnx.ModelProto, folder: Path) -> None:
    """As ``model.onnx``."""
    graphs.save(proto, folder / "model.onnx")


def product(weight: TensorProto) -> onnx.ModelProto:
    """x · w, of samples of 5 values."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
    proto = graphs.model(nodes, [value("x", ["N", 5])], [value("y", None)])
    proto.graph.initializer.append(weight)
    return proto


def external(**entries: str) -> TensorProto:
    """A tensor of shape (5, 4), float32, in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[5, 4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def at(location: str, **entries: str) -> Make:
    """Weights at ``location``; ``{outside}`` in it stands for the folder that holds the secret."""

    def make(folder: Path) -> None:
        where = location.replace("{outside}", str(folder.parent))
        write(product(external(location=where, **entries)), folder)

    return make


def beside(size_bytes: int = 80, **entries: str) -> Make:
    """Weights in a file of that size beside the model."""

    def make(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"\0" * size_bytes)
        at("weights.bin", **entries)(folder)

    return make


def through(link: Callable[[Path, Path], None]) -> Make:
    """Weights in a file that ``link(secret, name)`` makes."""

    def make(folder: Path) -> None:
        link(folder.parent / OUTSIDE, folder / "weights.bin")
        at("weights.bin")(folder)

    return make


def symbolic_link(target: Path, name: Path) -> None:
    """A link that leads out of the folder."""
    name.symlink_to(target)


def hard_link(target: Path, name: Path) -> None:
    """Another name of the file."""
    name.hardlink_to(target)


def device(_target: Path, name: Path) -> None:
    """A link to a file without end."""
    name.symlink_to("/dev/zero")


def pipe(_target: Path, name: Path) -> None:
    """A pipe to which nobody writes: whoever opens it waits forever."""
    os.mkfifo(name)


def inside_a_branch(folder: Path) -> None:
    """The pointer stands in a subgraph."""
    weight = external(location=f"../{OUTSIDE}")
    inner = helper.make_node("MatMul", ["x", "w"], ["z"])
    branch = helper.make_graph([inner], "b", [], [value("z", None)], [weight])
    nodes = [node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    weights = {"c": np.array(True)}
    write(graphs.model(nodes, [value("x", ["N", 5])], [value("y", None)], weights), folder)


def inside_a_function(folder: Path) -> None:
    """The pointer stands in a local function."""
    body = [
        helper.make_node("Constant", [], ["w"], value=external(location=f"../{OUTSIDE}")),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
    ]
    _with_functions({"F": body}, folder)


def weight(dims: list[int], raw: bytes = b"", kind: int = TensorProto.FLOAT) -> Make:
    """Weights of a shape that their bytes need not fit."""

    def make(folder: Path) -> None:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw)
        # 2 is the number of the field of the element type; the setter would refuse what is none.
        tensor.MergeFromString(bytes([2 << 3, kind]))
        write(product(tensor), folder)

    return make


def sparse(folder: Path) -> None:
    """A sparse tensor of 2⁸⁰ zeros."""
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("", TensorProto.INT64, [1], [0])
    proto = graphs.model(
        [node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 5])], [value("y", None)]
    )
    held = helper.make_sparse_tensor(values, places, [2**40, 2**40])
    proto.graph.sparse_initializer.append(held)
    write(proto, folder)


def nested(levels: int) -> Make:
    """Graphs within graphs, made of bytes because no library writes so many."""

    def make(folder: Path) -> None:
        graph = b""
        for _ in range(levels):
            attribute = _field(1, b"then_branch") + _field(6, graph)
            graph = _field(1, _field(4, b"If") + _field(5, attribute))
        (folder / "model.onnx").write_bytes(b"\x08\x08" + _field(7, graph))

    return make


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes."""
    length, size = b"", len(content)
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | (128 if size else 0)])
        if not size:
            return bytes([number << 3 | 2]) + length + content


def calls_itself(folder: Path) -> None:
    """A function that calls itself."""
    _with_functions({"F": [_call("F", "a", "b")]}, folder)


def call_each_other(folder: Path) -> None:
    """Two functions that call each other."""
    _with_functions({"F": [_call("G", "a", "b")], "G": [_call("F", "a", "b")]}, folder)


def grows_when_written_out(folder: Path) -> None:
    """2⁴⁰ nodes in 2 KB: each function calls the next one twice."""
    bodies: dict[str, Any] = {"F40": [helper.make_node("Relu", ["a"], ["b"])]}
    for level in range(40):
        callee = f"F{level + 1}"
        bodies["F" if level == 0 else f"F{level}"] = [
            _call(callee, "a", "t"),
            _call(callee, "t", "b"),
        ]
    _with_functions(bodies, folder)


def _call(name: str, given: str, made: str) -> onnx.NodeProto:
    return helper.make_node(name, [given], [made], domain=_FUNCTIONS)


def _with_functions(bodies: Mapping[str, list[onnx.NodeProto]], folder: Path) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(_FUNCTIONS, 1)]
    functions = [
        helper.make_function(_FUNCTIONS, name, ["a"], ["b"], body, imports)
        for name, body in bodies.items()
    ]
    proto = graphs.model(
        [_call("F", "x", "y")],
        [value("x", ["N", 5])],
        [value("y", None)],
        imports={_FUNCTIONS: 1},
        functions=functions,
    )
    write(proto, folder)


def of_nodes(*nodes: Any, weights: Mapping[str, Any] | None = None, given: Any = ("N", 5)) -> Make:
    """These nodes, from x to y."""

    def make(folder: Path) -> None:
        inputs = [value("x", list(given))]
        write(graphs.model(nodes, inputs, [value("y", None)], weights), folder)

    return make


def endless_model(folder: Path) -> None:
    """The model itself is a device without end."""
    (folder / "model.onnx").symlink_to("/dev/zero")


def silent_model(folder: Path) -> None:
    """The model itself is a pipe to which nobody writes."""
    os.mkfifo(folder / "model.onnx")


def never_ends(folder: Path) -> None:
    """A loop whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "b",
        [value("i", [], "int64"), value("go", [], "bool"), value("v", None)],
        [value("on", [], "bool"), value("w", None)],
    )
    loop = node("Loop", ["", "true", "x"], ["y"], body=body)
    of_nodes(loop, weights={"true": np.array(True)})(folder)


def names_of_control(folder: Path) -> None:
    """Names, texts and metadata that would act on a terminal or in a page."""
    proto = graphs.conv_net()
    for each in proto.graph.node:
        for names in (each.input, each.output):
            names[:] = [name if name in ("", "x", "y") else name + NASTY for name in names]
        each.name += NASTY
        each.doc_string = NASTY
    for tensor in proto.graph.initializer:
        tensor.name += NASTY
    proto.producer_name = proto.doc_string = proto.graph.name = NASTY
    proto.metadata_props.add(key=NASTY, value=NASTY)
    write(proto, folder)


def operator_of_control(folder: Path) -> None:
    """An operator that nobody knows, by a name that would act on a terminal."""
    frob = node("Frob\x1b[31m\n[red]", ["x"], ["y"], domain="d\x1b]0;owned\x07")
    proto = graphs.model(
        [frob], [value("x", ["N", 5])], [value("y", None)], imports={frob.domain: 1}
    )
    write(proto, folder)
