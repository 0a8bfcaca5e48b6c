"""Small ONNX graphs whose answers can be worked out by hand.

Weights are drawn from a fixed seed unless a test needs particular numbers. Images are never square,
and every model takes a batch unless its name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Shape = Sequence[int | str | None]

FLOAT = TensorProto.FLOAT
ELEMENTS = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}


def value(name: str, shape: Shape | None, dtype: str = "float32") -> onnx.ValueInfoProto:
    """A declared input or output."""
    return helper.make_tensor_value_info(name, ELEMENTS[dtype], shape)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], /, **attributes: Any) -> Any:
    """A node, named after its first output unless ``name`` says otherwise."""
    attributes.setdefault("name", f"n_{outputs[0]}")
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, Array] | None = None,
    *,
    opset: int | None = 17,
    ir: int = 8,
    imports: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model; up to IR 3 its initializers are listed as inputs too."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    declared = list(inputs)
    if ir < 4:
        declared += [
            helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors
        ]
    graph = helper.make_graph(list(nodes), "g", declared, list(outputs), tensors)
    ids = [helper.make_opsetid("", opset)] if opset else []
    ids += [helper.make_opsetid(domain, version) for domain, version in (imports or {}).items()]
    return helper.make_model(
        graph, opset_imports=ids, ir_version=ir, functions=list(functions), producer_name="tests"
    )


def weight(seed: int, *shape: int, dtype: str = "float32") -> Array:
    """Normal values, scaled so that layers keep the size of their input."""
    fan_in = max(int(np.prod(shape[1:])), 1)
    drawn = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(fan_in)
    typed: Array = drawn.astype(dtype)
    return typed


def samples(seed: int, *shape: int, dtype: str = "float32") -> Array:
    """Uniform values in 0..1."""
    return np.random.default_rng(seed).random(shape).astype(dtype)


def run(
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    folder: Path | None = None,
    *,
    optimised: bool = False,
) -> dict[str, Any]:
    """All outputs by name, straight from ONNX Runtime on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    if folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(folder))
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def elu_mlp() -> onnx.ModelProto:
    """The paper's model A (Moon): three hidden ELU layers of 100, one output."""
    sizes = [2, 100, 100, 100, 1]
    nodes, weights, current = [], {}, "x"
    for index, (wide, out) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        name = "y" if last else f"fc{index}"
        weights[f"w{index}"] = weight(index, out, wide)
        weights[f"b{index}"] = weight(index + 10, out)
        nodes.append(node("Gemm", [current, f"w{index}", f"b{index}"], [name], transB=1))
        current = name
        if not last:
            nodes.append(node("Elu", [name], [f"elu{index}"]))
            current = f"elu{index}"
    return model(nodes, [value("x", ["N", 2])], [value("y", ["N", 1])], weights)


def mnist_cnn(height: int = 28, width: int = 28) -> onnx.ModelProto:
    """The paper's model B: three convolutions with ReLU, two poolings, two dense layers."""
    rows, columns = ((height - 8) // 2 - 4) // 2, ((width - 8) // 2 - 4) // 2
    weights = {
        "w0": weight(0, 16, 1, 5, 5),
        "w1": weight(1, 32, 16, 5, 5),
        "w2": weight(2, 64, 32, 5, 5),
        "w3": weight(3, 100, 64 * rows * columns),
        "b3": weight(4, 100),
        "w4": weight(5, 10, 100),
        "b4": weight(6, 10),
    }
    nodes = [
        node("Conv", ["x", "w0"], ["c0"]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"]),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p2"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["f3"], transB=1),
        node("Relu", ["f3"], ["r3"]),
        node("Gemm", ["r3", "w4", "b4"], ["y"], transB=1),
    ]
    return model(nodes, [value("x", ["N", 1, height, width])], [value("y", ["N", 10])], weights)


def conv_net(opset: int = 17, ir: int = 8, batch: int | str = "N") -> onnx.ModelProto:
    """Conv, ReLU, Flatten, Gemm on images of 3×5×7, with 4 channels and 6 classes."""
    weights = {"w": weight(1, 4, 3, 3, 3), "v": weight(2, 6, 4 * 3 * 5), "c": weight(3, 6)}
    nodes = [
        node("Conv", ["x", "w"], ["conv"]),
        node("Relu", ["conv"], ["relu"]),
        node("Flatten", ["relu"], ["flat"]),
        node("Gemm", ["flat", "v", "c"], ["y"], transB=1),
    ]
    return model(
        nodes, [value("x", [batch, 3, 5, 7])], [value("y", [batch, 6])], weights, opset=opset, ir=ir
    )


def residual_net() -> onnx.ModelProto:
    """A ResNet block with a downsampling branch: two layers share the ReLU after the addition."""
    weights = {
        "w0": weight(0, 4, 3, 3, 3),
        "w1": weight(1, 8, 4, 3, 3),
        "w2": weight(2, 8, 8, 3, 3),
        "wd": weight(3, 8, 4, 1, 1),
        "wf": weight(4, 8, 5),
    }
    pads = [1, 1, 1, 1]
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], pads=pads),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], pads=pads, strides=[2, 2]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=pads),
        node("Conv", ["r0", "wd"], ["cd"], strides=[2, 2]),
        node("Add", ["c2", "cd"], ["sum"]),
        node("Relu", ["sum"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("MatMul", ["flat", "wf"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 3, 6, 8])], [value("y", ["N", 5])], weights)


def activated(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, float] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A Gemm "h", ``nodes`` that make "a" of it, and a Gemm "y"."""
    weights: dict[str, Array] = {"w": weight(0, 5, 6), "v": weight(1, 6, 3)}
    weights |= {name: np.asarray(number, np.float32) for name, number in (constants or {}).items()}
    every = [node("Gemm", ["x", "w"], ["h"]), *nodes, node("Gemm", ["a", "v"], ["y"])]
    return model(every, [value("x", ["N", 5])], [value("y", ["N", 3])], weights, opset=opset)


def transformer(tokens: int = 4, width: int = 6, heads: int = 2) -> onnx.ModelProto:
    """One encoder block whose heads are merged into the batch, as torch's attention exports it."""
    size = width // heads
    names = ("q", "k", "v")
    weights: dict[str, Array] = {f"w_{n}": weight(i, width, width) for i, n in enumerate(names)}
    weights |= {f"b_{n}": weight(i + 10, width) for i, n in enumerate(names)}
    weights |= {
        "w_o": weight(3, width, width),
        "w_1": weight(4, width, 8),
        "w_2": weight(5, 8, width),
        "w_c": weight(6, width, 3),
        "split": np.array([0, tokens, heads, size], np.int64),
        "merge": np.array([-1, tokens, size], np.int64),
        "unmerge": np.array([-1, heads, tokens, size], np.int64),
        "join": np.array([0, tokens, width], np.int64),
        "scale": np.asarray(np.sqrt(size), np.float32),
        "one": np.ones(width, np.float32),
        "zero": np.zeros(width, np.float32),
        "half": np.asarray(0.5, np.float32),
        "unit": np.asarray(1.0, np.float32),
        "root": np.asarray(np.sqrt(2.0), np.float32),
    }
    nodes = []
    for n in names:
        nodes += [
            node("MatMul", ["x", f"w_{n}"], [f"m_{n}"]),
            node("Add", [f"m_{n}", f"b_{n}"], [n]),
            node("Reshape", [n, "split"], [f"{n}_s"]),
            node("Transpose", [f"{n}_s"], [f"{n}_t"], perm=[0, 2, 1, 3]),
            node("Reshape", [f"{n}_t", "merge"], [f"{n}_h"]),
        ]
    nodes += [
        node("Transpose", ["k_h"], ["k_x"], perm=[0, 2, 1]),
        node("MatMul", ["q_h", "k_x"], ["qk"]),
        node("Div", ["qk", "scale"], ["scores"]),
        node("Softmax", ["scores"], ["attention"], axis=-1),
        node("MatMul", ["attention", "v_h"], ["mixed"]),
        node("Reshape", ["mixed", "unmerge"], ["mixed_s"]),
        node("Transpose", ["mixed_s"], ["mixed_t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["mixed_t", "join"], ["joined"]),
        node("MatMul", ["joined", "w_o"], ["out"]),
        node("Add", ["x", "out"], ["res1"]),
        node("LayerNormalization", ["res1", "one", "zero"], ["norm1"]),
        node("MatMul", ["norm1", "w_1"], ["fc1"]),
        node("Div", ["fc1", "root"], ["g_d"]),
        node("Erf", ["g_d"], ["g_e"]),
        node("Add", ["g_e", "unit"], ["g_a"]),
        node("Mul", ["fc1", "g_a"], ["g_m"]),
        node("Mul", ["g_m", "half"], ["gelu"]),
        node("MatMul", ["gelu", "w_2"], ["fc2"]),
        node("Add", ["res1", "fc2"], ["res2"]),
        node("ReduceMean", ["res2"], ["pooled"], axes=[1], keepdims=0),
        node("MatMul", ["pooled", "w_c"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", tokens, width])], [value("y", ["N", 3])], weights)


def fixed_batch_net(shape: Sequence[int] = (1, 60)) -> onnx.ModelProto:
    """A batch of 1 baked into input, output and the target of a Reshape."""
    weights = {
        "w": weight(0, 4, 3, 3, 3),
        "shape": np.array(shape, np.int64),
        "v": weight(1, 60, 6),
    }
    nodes = [
        node("Conv", ["x", "w"], ["conv"]),
        node("Relu", ["conv"], ["relu"]),
        node("Reshape", ["relu", "shape"], ["flat"]),
        node("Gemm", ["flat", "v"], ["y"]),
    ]
    return model(nodes, [value("x", [1, 3, 5, 7])], [value("y", [1, 6])], weights)


def lstm_net(hidden: int = 4) -> onnx.ModelProto:
    """Batch first outside, sequence first inside; only the last state is used."""
    weights = {
        "w": weight(0, 1, 4 * hidden, 3),
        "r": weight(1, 1, 4 * hidden, hidden),
        "axis": np.array([0], np.int64),
        "v": weight(2, hidden, 2),
    }
    nodes = [
        node("Transpose", ["x"], ["seq"], perm=[1, 0, 2]),
        node("LSTM", ["seq", "w", "r"], ["", "last"], hidden_size=hidden, name="lstm"),
        node("Squeeze", ["last", "axis"], ["state"]),
        node("MatMul", ["state", "v"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 5, 3])], [value("y", ["N", 2])], weights)


def if_net() -> onnx.ModelProto:
    """Both branches read "h" of the outer graph; the mean of "h" chooses one."""
    branches = {}
    for op in ("Neg", "Abs"):
        inner = helper.make_node(op, ["h"], [f"inner_{op}"], name=f"n_{op}")
        result = helper.make_tensor_value_info(f"inner_{op}", FLOAT, None)
        branches[op] = helper.make_graph([inner], op, [], [result])
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("ReduceMean", ["h"], ["mean"], keepdims=0),
        node("Greater", ["mean", "zero"], ["positive"]),
        node("If", ["positive"], ["z"], then_branch=branches["Neg"], else_branch=branches["Abs"]),
        node("Relu", ["z"], ["y"]),
    ]
    weights = {"w": weight(0, 5, 4), "zero": np.asarray(0, np.float32)}
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], weights)


def loop_net(rounds: int = 3) -> onnx.ModelProto:
    """Adds "h" of the outer graph to a state ``rounds`` times."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "h"], ["next"], name="n_next"),
            helper.make_node("Identity", ["go"], ["go_on"], name="n_go_on"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, None),
        ],
    )
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Loop", ["rounds", "", "h"], ["total"], body=body),
        node("Relu", ["total"], ["y"]),
    ]
    weights = {"w": weight(0, 5, 4), "rounds": np.asarray(rounds, np.int64)}
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], weights)


def typed_net(dtype: str) -> onnx.ModelProto:
    """Gemm, ReLU, Gemm in half, single or double precision."""
    weights = {"w": weight(0, 5, 4, dtype=dtype), "v": weight(1, 4, 3, dtype=dtype)}
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 5], dtype)], [value("y", ["N", 3], dtype)], weights)


def two_input_net() -> onnx.ModelProto:
    """Two towers and their sum: "ra" depends on "a" alone, "rb" on "b" alone."""
    weights = {"wa": weight(0, 5, 4), "wb": weight(1, 3, 4), "v": weight(2, 4, 2)}
    nodes = [
        node("MatMul", ["a", "wa"], ["ha"]),
        node("Relu", ["ha"], ["ra"]),
        node("MatMul", ["b", "wb"], ["hb"]),
        node("Relu", ["hb"], ["rb"]),
        node("Add", ["ra", "rb"], ["both"]),
        node("MatMul", ["both", "v"], ["y"]),
    ]
    inputs = [value("a", ["N", 5]), value("b", ["N", 3])]
    return model(nodes, inputs, [value("y", ["N", 2])], weights)


def nhwc_net() -> onnx.ModelProto:
    """As tf2onnx writes a Keras model: NHWC outside, colons in names, MatMul + Add + Relu."""
    weights = {
        "w:0": weight(0, 4, 3, 3, 3),
        "k:0": weight(1, 60, 8),
        "b:0": weight(2, 8),
        "shape:0": np.array([-1, 60], np.int64),
        "q:0": weight(3, 8, 5),
    }
    nodes = [
        node("Transpose", ["x:0"], ["nchw:0"], perm=[0, 3, 1, 2], name="net/nchw"),
        node("Conv", ["nchw:0", "w:0"], ["conv:0"], name="net/conv"),
        node("Relu", ["conv:0"], ["relu:0"], name="net/relu"),
        node("Transpose", ["relu:0"], ["nhwc:0"], perm=[0, 2, 3, 1], name="net/nhwc"),
        node("Reshape", ["nhwc:0", "shape:0"], ["flat:0"], name="net/flat"),
        node("MatMul", ["flat:0", "k:0"], ["dense:0"], name="net/dense"),
        node("Add", ["dense:0", "b:0"], ["biased:0"], name="net/bias"),
        node("Relu", ["biased:0"], ["hidden:0"], name="net/hidden"),
        node("MatMul", ["hidden:0", "q:0"], ["y:0"], name="net/y"),
    ]
    return model(nodes, [value("x:0", ["N", 5, 7, 3])], [value("y:0", ["N", 5])], weights)


def chain(length: int) -> onnx.ModelProto:
    """``length`` times a MatMul with a matrix of its own, then a ReLU."""
    nodes, weights, current = [], {}, "x"
    for index in range(length):
        weights[f"w{index}"] = weight(index, 3, 3)
        nodes += [
            node("MatMul", [current, f"w{index}"], [f"m{index}"]),
            node("Relu", [f"m{index}"], [f"r{index}"]),
        ]
        current = f"r{index}"
    nodes.append(node("Identity", [current], ["y"]))
    return model(nodes, [value("x", ["N", 3])], [value("y", ["N", 3])], weights)


def save(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def save_external(proto: onnx.ModelProto, path: Path, location: str = "weights.data") -> Path:
    """Save with every initializer in one file beside the model."""
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    onnx.save_model(
        copied,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=location,
        size_threshold=0,
    )
    return path
