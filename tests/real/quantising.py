"""What the tensors of a quantised model are in real numbers, worked out by numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.graph import initializer_names, producers
from tests import graphs

Array = NDArray[Any]

# Where an operator is given the scale of what it returns; the zero point is the next input.
_SCALES = {
    "QuantizeLinear": 1,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearAdd": 6,
    "QLinearGlobalAveragePool": 3,
    "QGemm": 7,
}
# They return numbers that they were given.
_MOVING = ("Flatten", "MaxPool")


def in_real_numbers(model: Path, x: Array) -> dict[str, Array]:
    """Every tensor that depends on the input, integers by their scales, from single runs: (n, ...)."""
    proto = onnx.load(model)
    constants = initializer_names(proto.graph)
    made = [n for n, node in producers(proto.graph).items() if node.input[0] not in constants]
    exposed = expose(proto, made)
    runs = [graphs.run(exposed, {"x": row[None]}) for row in x]
    return {name: np.stack([_real(proto, name, run[name][0]) for run in runs]) for name in made}


def _real(proto: onnx.ModelProto, name: str, value: Array) -> Array:
    if value.dtype.kind == "f":
        return value.astype(np.float64)
    scale, zero_point = _scale(proto, name)
    return (value.astype(np.float64) - zero_point) * scale


def _scale(proto: onnx.ModelProto, name: str) -> tuple[float, float]:
    """Scale and zero point of a tensor of integers, both for the whole tensor."""
    node = producers(proto.graph)[name]
    if node.op_type in _MOVING:
        return _scale(proto, node.input[0])
    slot = _SCALES[node.op_type]
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scale, zero_point = (constants[given].item() for given in node.input[slot : slot + 2])
    return float(scale), float(zero_point)
