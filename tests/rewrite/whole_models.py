"""Whole models, inputs at which they are smooth, and their tensors in double precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto

from lsa_onnx.rewrite import expose
from tests import graphs
from tests.conformance.retyped import retyped
from tests.graphs import Array, model, node, samples, value, weight
from tests.rewrite.gradients import Run, runner

OPSETS = (7, 9, 11, 12, 13, 18, 20, 22)


@dataclass
class Case:
    """A model, inputs at which it is smooth, and its logits."""

    proto: onnx.ModelProto
    feeds: dict[str, Array]
    logits: str = "y"
    layer: str | None = None
    batch_axis: int | None = 0
    elements: int | None = None
    # One of them is not what the model says.
    wrong: int = 1
    coarse: bool = False
    _runs: dict[str, Run] = field(default_factory=dict)

    @property
    def labels(self) -> Array:
        """The classes that the model says, but for the second best of one sample."""
        best = np.argsort(-self.read(self.logits, self.feeds), axis=1)
        return np.where(np.arange(len(best)) == self.wrong, best[:, 1], best[:, 0])

    def read(self, name: str, feeds: Mapping[str, Array]) -> Array:
        """A tensor of the untouched model, one row per sample."""
        dtype = np.float32 if self.coarse else np.float64
        found = self._run(name)({n: np.asarray(x, dtype) for n, x in feeds.items()})[name]
        found = found.astype(np.float64)
        if name == self.logits:
            return np.asarray(found.reshape(1, -1) if self.batch_axis is None else found)
        count = 1 if self.batch_axis is None else len(next(iter(feeds.values())))
        return np.asarray(np.moveaxis(found, self.batch_axis or 0, 0).reshape(count, -1))

    def _run(self, name: str) -> Run:
        if name not in self._runs:
            exposed = expose(self.proto, [name])
            self._runs[name] = runner(
                exposed if self.coarse else retyped(exposed, TensorProto.DOUBLE)
            )
        return self._runs[name]


def batch_net() -> onnx.ModelProto:
    """Logits and a layer whose samples lie on axis 1."""
    weights = {"w": weight(0, 5, 8), "v": weight(1, 8, 4)}
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[1, 0]),
        node("Transpose", ["t"], ["b"], perm=[1, 0]),
        node("MatMul", ["b", "v"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], weights)


def unbatched_net() -> onnx.ModelProto:
    weights = {"w": weight(0, 5, 8), "v": weight(1, 8, 4)}
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["a"]),
        node("MatMul", ["a", "v"], ["y"]),
    ]
    return model(nodes, [value("x", [5])], [value("y", [4])], weights)


def probabilities_net() -> onnx.ModelProto:
    """The model returns a softmax; the logits are a tensor inside."""
    proto = graphs.conv_net()
    proto.graph.node[-1].output[0] = "z"
    proto.graph.node.append(node("Softmax", ["z"], ["y"], axis=-1, name="softmax"))
    return proto


def conv_case(opset: int) -> Case:
    return Case(graphs.conv_net(opset), {"x": samples(1, 3, 3, 5, 7)}, layer="relu")


CASES: dict[str, Callable[[], Case]] = {
    "mnist": lambda: Case(graphs.mnist_cnn(20, 22), {"x": samples(0, 3, 1, 20, 22)}, layer="r1"),
    **{f"conv opset {opset}": partial(conv_case, opset) for opset in OPSETS},
    "conv IR 3": lambda: Case(
        graphs.conv_net(8, ir=3), {"x": samples(1, 3, 3, 5, 7)}, layer="conv"
    ),
    "probabilities": lambda: Case(probabilities_net(), {"x": samples(1, 3, 3, 5, 7)}, "z", "relu"),
    "residual": lambda: Case(graphs.residual_net(), {"x": samples(2, 3, 3, 6, 8)}, layer="r1"),
    "transformer": lambda: Case(
        graphs.transformer(),
        {"x": samples(3, 3, 4, 6)},
        layer="attention",
        elements=2 * 4 * 4,
        coarse=True,
    ),
    "nhwc": lambda: Case(graphs.nhwc_net(), {"x:0": samples(4, 3, 5, 7, 3)}, "y:0", layer="conv:0"),
    "loop": lambda: Case(graphs.loop_net(), {"x": samples(15, 3, 5)}, layer="total"),
    "if": lambda: Case(graphs.if_net(), {"x": samples(6, 3, 5)}, layer="z"),
    "samples on axis 1": lambda: Case(
        batch_net(), {"x": samples(7, 3, 5)}, layer="t", batch_axis=1
    ),
    "fixed batch": lambda: Case(
        graphs.fixed_batch_net(), {"x": samples(8, 1, 3, 5, 7)}, layer="relu"
    ),
    "no batch": lambda: Case(unbatched_net(), {"x": samples(9, 5)}, layer="h", batch_axis=None),
}
SMALL: dict[str, Callable[[], Case]] = {
    # Two or three classes: no DLR.
    "lstm": lambda: Case(graphs.lstm_net(), {"x": samples(0, 3, 5, 3)}, layer="state", coarse=True),
    "two inputs": lambda: Case(
        graphs.two_input_net(),
        {"a": samples(1, 3, 5), "b": samples(2, 3, 3)},
        layer="both",
    ),
    "double": lambda: Case(
        graphs.typed_net("float64"), {"x": samples(4, 3, 5, dtype="float64")}, layer="r"
    ),
}
