"""The sound models that are damaged: every construct that the auditor treats in a way of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.graph import true_inputs
from tests import graphs
from tests.fuzz.archives import npz_bytes
from tests.graphs import model, node, samples, value, weight

WEIGHTS = "weights.data"
_SAMPLES = 3
_SMALL_BYTES = 512 << 10


@dataclass(frozen=True)
class Seed:
    """A sound model, the files beside it, and data for it."""

    model: onnx.ModelProto
    data: bytes
    files: dict[str, bytes] = field(default_factory=dict)


def many_operators() -> onnx.ModelProto:
    """Images of 3×6×8 through operators whose attributes and constants invite mistakes."""
    weights: dict[str, Any] = {
        "w": weight(0, 4, 3, 3, 3),
        "t": weight(1, 4, 2, 2, 2),
        "s": np.ones(4, np.float32),
        "b": np.zeros(4, np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "starts": np.array([0, 1], np.int64),
        "ends": np.array([3, 5], np.int64),
        "axes": np.array([2, 3], np.int64),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "halves": np.array([1, 1], np.int64),
        "rows": np.array([2, 0], np.int64),
        "k": np.array([2], np.int64),
        "flat": np.array([0, -1], np.int64),
        "v": weight(2, 8, 5),
        "two": np.asarray(2, np.float32),
    }
    nodes = [
        node("Pad", ["x", "pads"], ["padded"]),
        node("Conv", ["padded", "w"], ["conv"], strides=[2, 2], group=1),
        node("BatchNormalization", ["conv", "s", "b", "b", "s"], ["normal"]),
        node("LeakyRelu", ["normal"], ["leaky"], alpha=0.1),
        node("AveragePool", ["leaky"], ["pooled"], kernel_shape=[2, 2], strides=[1, 1]),
        node("Resize", ["pooled", "", "scales"], ["larger"], mode="nearest"),
        node("ConvTranspose", ["larger", "t"], ["spread"], strides=[1, 1]),
        node("Slice", ["spread", "starts", "ends", "axes"], ["part"]),
        node("Split", ["part", "halves"], ["left", "right"], axis=1),
        node("Concat", ["right", "left"], ["turned"], axis=1),
        node("Gather", ["turned", "rows"], ["chosen"], axis=2),
        node("Pow", ["chosen", "two"], ["squared"]),
        node("Reshape", ["squared", "flat"], ["row"]),
        node("TopK", ["row", "k"], ["top", "places"], axis=1),
        node("ReduceMean", ["row"], ["mean"], axes=[1]),
        node("Greater", ["row", "mean"], ["above"]),
        node("Where", ["above", "row", "mean"], ["cut"]),
        node("Einsum", ["cut", "v"], ["mixed"], equation="nk,kc->nc"),
        node("Softmax", ["mixed"], ["y"], axis=1),
    ]
    weights["v"] = weight(2, 16, 5)
    return model(nodes, [value("x", ["N", 3, 6, 8])], [value("y", ["N", 5])], weights)


def quantised() -> onnx.ModelProto:
    """Gemm between QuantizeLinear and DequantizeLinear, weights in eight bits."""
    whole = np.random.default_rng(0).integers(-100, 100, (5, 4)).astype(np.int8)
    weights: dict[str, Any] = {
        "w8": whole,
        "ws": np.asarray(0.01, np.float32),
        "wz": np.asarray(0, np.int8),
        "xs": np.asarray(0.004, np.float32),
        "xz": np.asarray(0, np.uint8),
        "v": weight(1, 4, 3),
    }
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        node("DequantizeLinear", ["w8", "ws", "wz"], ["w"]),
        node("Gemm", ["xd", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 3])], weights)


def functions() -> onnx.ModelProto:
    """Two calls of a local function that calls another."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    inner = [helper.make_node("Relu", ["a"], ["o"])]
    outer = [
        helper.make_node("MatMul", ["a", "m"], ["h"]),
        helper.make_node("Cut", ["h"], ["o"], domain="own"),
    ]
    made = [
        helper.make_function("own", "Cut", ["a"], ["o"], inner, imports),
        helper.make_function("own", "Dense", ["a", "m"], ["o"], outer, imports),
    ]
    nodes = [
        node("Dense", ["x", "w"], ["h1"], domain="own"),
        node("Dense", ["h1", "v"], ["y"], domain="own"),
    ]
    weights = {"w": weight(0, 5, 4), "v": weight(1, 4, 3)}
    ends = [value("x", ["N", 5])], [value("y", ["N", 3])]
    return model(nodes, *ends, weights, imports={"own": 1}, functions=made)


def sparse() -> onnx.ModelProto:
    """A matrix of which three elements are stored."""
    held = numpy_helper.from_array(np.array([2, -1.5, 4], np.float32), "v")
    places = numpy_helper.from_array(np.array([2, 6, 10]))
    nodes = [node("Gemm", ["x", "w"], ["h"]), node("MatMul", ["h", "v"], ["y"])]
    ends = [value("x", ["N", 5])], [value("y", ["N", 3])]
    proto = model(nodes, *ends, {"w": weight(0, 5, 4)})
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(held, places, (4, 3)))
    return proto


def scan() -> onnx.ModelProto:
    """A sum over the steps of a sequence."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "step"], ["sum"], name="n_sum"),
            helper.make_node("Tanh", ["sum"], ["next"], name="n_next"),
            helper.make_node("Identity", ["next"], ["row"], name="n_row"),
        ],
        "body",
        [helper.make_tensor_value_info(name, graphs.FLOAT, None) for name in ("state", "step")],
        [helper.make_tensor_value_info(name, graphs.FLOAT, None) for name in ("next", "row")],
    )
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node("Gather", ["steps", "zero"], ["start"], axis=0),
        node("Scan", ["start", "steps"], ["last", "rows"], body=body, num_scan_inputs=1),
        node("MatMul", ["last", "w"], ["y"]),
    ]
    weights = {"zero": np.asarray(0, np.int64), "w": weight(0, 4, 3)}
    return model(nodes, [value("x", ["N", 3, 4])], [value("y", ["N", 3])], weights)


def nested() -> onnx.ModelProto:
    """A branch of an If inside the body of a Loop."""
    proto = graphs.loop_net(2)
    body = next(a.g for n in proto.graph.node for a in n.attribute if a.name == "body")
    branches = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Abs")):
        made = helper.make_node(op, ["raw"], [f"in_{op}"], name=f"n_in_{op}")
        ends = [helper.make_tensor_value_info(f"in_{op}", graphs.FLOAT, None)]
        branches[name] = helper.make_graph([made], op, [], ends)
    body.node[0].output[0] = "raw"
    body.node.append(helper.make_node("If", ["go"], ["next"], name="n_if", **branches))
    return proto


def strings() -> onnx.ModelProto:
    """A classifier that returns the names of classes too, with an operator of ``ai.onnx.ml``."""
    weights = {"w": weight(0, 5, 3)}
    nodes = [
        node("MatMul", ["x", "w"], ["y"]),
        node("ArgMax", ["y"], ["place"], axis=1, keepdims=0),
        node(
            "LabelEncoder", ["place"], ["label"], domain="ai.onnx.ml",
            keys_int64s=[0, 1, 2], values_strings=["a", "b", "c"], default_string="?",
        ),
    ]  # fmt: skip
    label = helper.make_tensor_value_info("label", onnx.TensorProto.STRING, ["N"])
    ends = [value("x", ["N", 5])], [value("y", ["N", 3]), label]
    return model(nodes, *ends, weights, imports={"ai.onnx.ml": 3})


def sequences() -> onnx.ModelProto:
    """Values that are no tensors: a sequence and an optional."""
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("SplitToSequence", ["h"], ["parts"], axis=1),
        node("ConcatFromSequence", ["parts"], ["joined"], axis=1),
        node("Optional", ["joined"], ["maybe"]),
        node("OptionalGetElement", ["maybe"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], {"w": weight(0, 5, 4)})


def external() -> tuple[onnx.ModelProto, dict[str, bytes]]:
    """Convolutions whose weights lie in a file beside the model."""
    proto = graphs.conv_net()
    content = b""
    for tensor in proto.graph.initializer:
        entries = {
            "location": WEIGHTS,
            "offset": str(len(content)),
            "length": str(len(tensor.raw_data)),
        }
        content += tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, entry in entries.items():
            tensor.external_data.add(key=key, value=entry)
    return proto, {WEIGHTS: content}


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "convolutions": graphs.conv_net,
    "old format": lambda: graphs.conv_net(opset=9, ir=3),
    "fixed batch": graphs.fixed_batch_net,
    "residual": graphs.residual_net,
    "transformer": graphs.transformer,
    "tf2onnx": graphs.nhwc_net,
    "dense": lambda: graphs.typed_net("float32"),
    "half": lambda: graphs.typed_net("float16"),
    "double": lambda: graphs.typed_net("float64"),
    "two inputs": graphs.two_input_net,
    "lstm": graphs.lstm_net,
    "if": graphs.if_net,
    "loop": graphs.loop_net,
    "scan": scan,
    "nested": nested,
    "many operators": many_operators,
    "quantised": quantised,
    "functions": functions,
    "sparse": sparse,
    "strings": strings,
    "sequences": sequences,
}
NAMES = (*MODELS, "external")


@cache
def seed(name: str) -> Seed:
    """The model of that name of ``NAMES``; not to be changed."""
    proto, files = external() if name == "external" else (MODELS[name](), {})
    return Seed(proto, _data(proto), files)


def real_names() -> list[str]:
    """Files of small models in the folder that ``LSA_ONNX_SHARED`` names; none where it names none."""
    folder = os.environ.get("LSA_ONNX_SHARED")
    found = sorted(Path(folder, "models").glob("*.onnx")) if folder else []
    return [str(path) for path in found if path.stat().st_size <= _SMALL_BYTES]


@cache
def real_seed(path: str) -> Seed:
    """The model in a file, as ``seed``."""
    proto = onnx.load_model(path)
    return Seed(proto, _data(proto))


def _data(proto: onnx.ModelProto) -> bytes:
    inputs = true_inputs(proto.graph)
    names = ["x"] if len(inputs) == 1 else [each.name for each in inputs]
    arrays = {name: _inputs(each) for name, each in zip(names, inputs, strict=True)}
    return npz_bytes(**arrays, y=np.arange(_SAMPLES) % 2)


def _inputs(declared: onnx.ValueInfoProto) -> graphs.Array:
    kind = declared.type.tensor_type
    sizes = [dim.dim_value or 1 for dim in kind.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return samples(0, _SAMPLES, *sizes[1:], dtype=dtype)
