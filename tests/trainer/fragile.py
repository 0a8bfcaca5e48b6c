"""Models that a small perturbation fools, on data that a better model would get right all the same.

Class c shows twice: bold, as values of 0.8 among 0.2 with noise, and faint, as 0.55 among 0.45 without.
The models here look at the faint sign alone, which ε = 0.1 turns into any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lsa_trainer.options import HardenOptions
from tests.graphs import model, node, value, weight
from tests.trainer.written import contents

Array = NDArray[Any]

CLASSES = 3
VECTOR = (6,)
IMAGE = (2, 5, 7)
EPS = "0.1"


def sign(c: int, shape: tuple[int, ...]) -> Array:
    """Where class ``c`` shows, for the bold and the faint half of the values."""
    mask = np.zeros(shape, bool)
    if shape == VECTOR:
        mask[[c, 3 + c]] = True
    else:
        mask[:, :, 2 * c : 2 * c + 2] = True
    return mask


def faint(shape: tuple[int, ...]) -> Array:
    """Where the faint half is."""
    mask = np.zeros(shape, bool)
    mask[len(mask) // 2 :] = True
    return mask


def data(count: int, shape: tuple[int, ...] = VECTOR, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    signs = np.stack([sign(c, shape) for c in range(CLASSES)])[y]
    bold = np.where(signs, 0.8, 0.2) + 0.05 * rng.standard_normal((count, *shape))
    x = np.where(faint(shape), np.where(signs, 0.55, 0.45), bold)
    return {"x": x.clip(0, 1).astype(np.float32), "y": y}


def save_data(path: Path, arrays: dict[str, Array]) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def mlp_weights() -> dict[str, Array]:
    w, b, v = 0.3 * weight(1, 8, 6), np.zeros(8, np.float32), 0.1 * weight(2, 3, 8)
    w[:3] = 0
    for c in range(CLASSES):
        w[c, 3 + c], b[c], v[c, c] = 20, -10, 1
    return {"w": w, "b": b, "v": v, "c": np.zeros(3, np.float32)}


def mlp(opset: int = 17, batch: int | str = "N") -> onnx.ModelProto:
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"], transB=1),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v", "c"], ["y"], transB=1),
    ]
    ends = value("x", [batch, 6]), value("y", [batch, CLASSES])
    return model(nodes, [ends[0]], [ends[1]], mlp_weights(), opset=opset)


def cnn() -> onnx.ModelProto:
    w, b = 0.3 * weight(1, 4, 2, 1, 1), np.zeros(4, np.float32)
    w[0], b[0] = np.array([0, 20], np.float32).reshape(2, 1, 1), -10
    v = 0.05 * weight(2, CLASSES, 140)
    for c in range(CLASSES):
        v.reshape(CLASSES, 4, 5, 7)[c, 0][sign(c, IMAGE)[0]] = 0.2
    nodes = [
        node("Conv", ["x", "w", "b"], ["conv"]),
        node("Relu", ["conv"], ["relu"]),
        node("Flatten", ["relu"], ["flat"]),
        node("Gemm", ["flat", "v"], ["y"], transB=1),
    ]
    ends = value("x", ["N", *IMAGE]), value("y", ["N", CLASSES])
    return model(nodes, [ends[0]], [ends[1]], {"w": w, "b": b, "v": v})


def half_mlp() -> onnx.ModelProto:
    """The MLP in float16 throughout."""
    proto = mlp()
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for end in (*proto.graph.input, *proto.graph.output):
        end.type.tensor_type.elem_type = TensorProto.FLOAT16
    return proto


def quantised_mlp(*names: str) -> onnx.ModelProto:
    """The MLP with some weights as int8 behind DequantizeLinear."""
    proto = mlp()
    made = []
    for tensor in list(proto.graph.initializer):
        if tensor.name not in names:
            continue
        array = numpy_helper.to_array(tensor)
        scale = np.float32((np.abs(array).max() or 1) / 127)
        stored = {"q": (array / scale).round().astype(np.int8), "s": scale, "z": np.int8(0)}
        proto.graph.initializer.remove(tensor)
        for key, each in stored.items():
            name = f"{tensor.name}_{key}"
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(each), name))
        inputs = [f"{tensor.name}_{key}" for key in stored]
        made.append(helper.make_node("DequantizeLinear", inputs, [tensor.name]))
    nodes = [*made, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


QUICK = {
    "gamma": "0.1",
    "mvl": ("r",),
    "eps": EPS,
    "steps": 3,
    "validation_steps": 5,
    "epochs": 8,
    "validate_every": 4.0,
    "batch_size": 24,
    "lr": 0.1,
    "max_clean_drop": 0.2,
    "verify_attack": "pgd",
    "verify_steps": 10,
    "device": "cpu",
}


def options(path: Path, **changes: Any) -> HardenOptions:
    return HardenOptions(data=path, **{**QUICK, **changes})


def metadata(path: Path) -> dict[str, str]:
    return {e.key: e.value for e in onnx.load(path, load_external_data=False).metadata_props}


def same_weights(a: Path, b: Path) -> bool:
    one, two = contents(a), contents(b)
    return one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)
