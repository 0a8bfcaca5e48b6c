"""Models to write weights into, and what is in a file afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.stored import read_stored
from lsa_trainer.writeback import Placement
from tests import graphs
from tests.graphs import model, node, value, weight

Array = NDArray[Any]


def initializer(name: str, consumer: tuple[str, int] | None = None) -> Placement:
    return Placement(name, "initializer", consumer)


def constant(name: str, consumer: tuple[str, int] | None = None) -> Placement:
    return Placement(name, "constant", consumer)


def trained(proto: onnx.ModelProto, *names: str) -> dict[Placement, Array]:
    """Other values, as float32, for some initializers of ``proto``; for all floats if none is named."""
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    return {
        initializer(tensor.name): numpy_helper.to_array(tensor).astype(np.float32) * 2 + 0.5
        for tensor in proto.graph.initializer
        if (tensor.name in names if names else tensor.data_type in floats)
    }


def contents(path: Path) -> dict[str, Array]:
    """The initializers of the main graph of a file, copied."""
    stored = read_stored(path)
    return {t.name: np.array(stored.values(t)) for t in stored.proto.graph.initializer}


def placed(path: Path) -> dict[str, dict[str, str]]:
    """Initializer → where its data are, for those that are outside."""
    graph = onnx.load(path, load_external_data=False).graph
    return {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in graph.initializer
        if tensor.external_data
    }


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below ``folder``, hidden ones too, and the digest of its content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def merged_biases() -> onnx.ModelProto:
    """Three MatMul + Add whose zero biases an exporter merged: one read directly, two by Identity."""
    weights = {f"w{i}": weight(i, 4, 4) for i in range(3)} | {"b": np.zeros(4, np.float32)}
    nodes = [node("Identity", ["b"], ["b1"]), node("Identity", ["b1"], ["b2"])]
    current = "x"
    for index, bias in enumerate(("b", "b1", "b2")):
        nodes += [
            node("MatMul", [current, f"w{index}"], [f"m{index}"]),
            node("Add", [f"m{index}", bias], [f"a{index}"]),
        ]
        current = f"a{index}"
    nodes.append(node("Relu", [current], ["y"]))
    return model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights)


def branch_weights(*, distinct: bool) -> onnx.ModelProto:
    """An If with a matrix of its own in either branch, of distinct names or of one."""
    proto = graphs.if_net()
    (chosen,) = (n for n in proto.graph.node if n.op_type == "If")
    for index, attribute in enumerate(chosen.attribute):
        name = f"inner_w{index if distinct else ''}"
        attribute.g.initializer.append(numpy_helper.from_array(weight(index, 4, 4), name))
        result = attribute.g.output[0].name
        attribute.g.node[0].output[0] = f"before_{result}"
        multiply = helper.make_node("MatMul", [f"before_{result}", name], [result])
        attribute.g.node.append(multiply)
    return proto


def constants() -> onnx.ModelProto:
    """All weights are Constant nodes: a tensor, a number, and a list of numbers."""
    nodes = [
        node("Constant", [], ["w"], value=numpy_helper.from_array(weight(0, 5, 3))),
        node("Constant", [], ["scale"], value_float=0.5),
        node("Constant", [], ["bias"], value_floats=[1.0, 2.0, 3.0]),
        node("Constant", [], ["axes"], value_ints=[1]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "scale"], ["s"]),
        node("Add", ["s", "bias"], ["z"]),
        node("ReduceSum", ["z", "axes"], ["y"], keepdims=0),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N"])])


def outputs(path: Path, feeds: Mapping[str, Array]) -> Array:
    """The answers of a file, its data beside it."""
    proto = onnx.load(path, load_external_data=False)
    return np.asarray(next(iter(graphs.run(proto, feeds, path.parent).values())))
