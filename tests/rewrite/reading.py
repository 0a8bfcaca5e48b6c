"""Small models for readings, and the values that a reading has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.readings import Reading, Readings, add_readings
from tests import graphs
from tests.rewrite.typed import types_of

MICROSOFT = "com.microsoft"
X = np.array([[-3.0, -0.5, 0.2, 2.0], [1.0, 6.0, -7.0, 0.1]], np.float32)


def small(
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 21,
    outputs: Sequence[str] = (),
    shape: graphs.Shape = ("N", 4),
) -> onnx.ModelProto:
    """Floats "x" → ``nodes``; returns what the last node makes unless ``outputs`` say otherwise."""
    names = outputs or nodes[-1].output[:1]
    proto = graphs.model(
        nodes,
        [graphs.value("x", shape)],
        [onnx.ValueInfoProto(name=name) for name in names],
        opset=opset,
        ir=10,
        imports={MICROSOFT: 1},
    )
    proto.graph.initializer.extend(tensors)
    return proto


def constant(name: str, element: int, values: Any) -> onnx.TensorProto:
    array = np.asarray(values)
    return helper.make_tensor(name, element, array.shape, array.ravel().tolist())


def scale(*values: float, name: str = "s") -> onnx.TensorProto:
    return constant(name, TensorProto.FLOAT, values[0] if len(values) == 1 else values)


def zero(element: int, *values: int, name: str = "z") -> onnx.TensorProto:
    return constant(name, element, values[0] if len(values) == 1 else values)


def reading(proto: onnx.ModelProto, tensor: str) -> Reading:
    found = Readings(proto, types_of(proto)).of(tensor)
    assert isinstance(found, Reading), found
    return found


def reason(proto: onnx.ModelProto, tensor: str) -> str:
    found = Readings(proto, types_of(proto)).of(tensor)
    assert isinstance(found, str), found
    return found


def read(
    proto: onnx.ModelProto, tensor: str, feeds: Mapping[str, graphs.Array] | None = None
) -> Any:
    """The values of ``tensor``, after a check that reading it changes nothing, optimised or not."""
    found = reading(proto, tensor)
    observed = expose(add_readings(proto, [found]), [found.result])
    results = []
    for optimised in (False, True):
        before = graphs.run(proto, feeds or {"x": X}, optimised=optimised)
        after = graphs.run(observed, feeds or {"x": X}, optimised=optimised)
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value)
        results.append(after[found.result])
    np.testing.assert_array_equal(*results)
    assert results[0].dtype == found.dtype
    return results[0]
