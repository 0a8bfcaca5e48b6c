"""Bodies for control-flow nodes in double precision, and checks of models that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.graphs import Shape, model, value
from tests.rewrite.gradients import check, check_on_runtime

Array = NDArray[Any]
DOUBLE = "float64"


def double(seed: int, *shape: int) -> Array:
    """Normal values."""
    return np.random.default_rng(seed).standard_normal(shape)


def body(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
) -> onnx.GraphProto:
    """A body of double tensors whose shapes are not declared."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    starts, ends = ([value(n, None, DOUBLE) for n in names] for names in (inputs, outputs))
    return helper.make_graph(list(nodes), "body", starts, ends, tensors)


def loop_body(
    nodes: Sequence[onnx.NodeProto],
    states: Sequence[str],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
) -> onnx.GraphProto:
    """The body of a Loop with inputs "i", "go" and ``states``, and outputs "go_on" and ``outputs``."""
    graph = body(nodes, states, outputs, constants)
    inputs = [value("i", [], "int64"), value("go", [], "bool"), *graph.input]
    results = [value("go_on", [], "bool"), *graph.output]
    for field, values in ((graph.input, inputs), (graph.output, results)):
        # Copied first: deleting what the list refers to would empty it.
        copies = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in values]
        del field[:]
        field.extend(copies)
    return graph


def checked(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    outputs: Sequence[str] = ("y",),
    weights: Mapping[str, Array] | None = None,
    *,
    shapes: Mapping[str, Shape] | None = None,
    wrt: Sequence[str] | None = None,
) -> None:
    """Hold the adjoints of all double inputs to central differences, and those in single to them.

    Args:
        nodes: Of the main graph.
        feeds: Its inputs.
        outputs: Its outputs, of unknown shapes.
        weights: Its initializers.
        shapes: Declared for inputs, where those are not the shapes of the feeds.
        wrt: The inputs to differentiate by, if not all double ones.
    """
    declared = {name: array.shape for name, array in feeds.items()} | dict(shapes or {})
    inputs = [value(n, declared[n], str(x.dtype)) for n, x in feeds.items()]
    results = [value(name, None, DOUBLE) for name in outputs]
    proto = model(nodes, inputs, results, weights, opset=18)
    check(proto, feeds, wrt)
    check_on_runtime(proto, feeds)
