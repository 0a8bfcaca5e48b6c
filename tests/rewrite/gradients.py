"""Holds written adjoints to central differences, in double precision.

``check`` differentiates a model whose outputs are weighted by random numbers, runs the result on
ONNX Runtime (on ONNX's reference evaluator where the runtime has no double kernel), and compares it
with numeric derivatives of the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lsa_onnx.rewrite.graph import opset, subgraphs, true_inputs, unused_suffix
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import Names, Tape, sweep
from tests import graphs

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]

FLOATS = (TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
STEP = 1e-6
# Above this many elements, random directions are taken instead of every single element.
MOST_ELEMENTS = 80
DIRECTIONS = 24


def runner(proto: onnx.ModelProto) -> Run:
    """Runs ``proto`` on ONNX Runtime, else on the reference evaluator."""
    names = [value.name for value in proto.graph.output]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session: Any = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # noqa: BLE001 - the runtime documents no class of error
        session = ReferenceEvaluator(proto)

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        given = {name: np.asarray(array) for name, array in feeds.items()}
        return dict(zip(names, session.run(names, given), strict=True))

    return run


def pulled_back(
    proto: onnx.ModelProto,
    wrt: Sequence[str],
    *,
    straight_through: bool = False,
) -> tuple[onnx.ModelProto, dict[str, str], dict[str, str]]:
    """A model that returns the adjoints of ``wrt`` for given adjoints of the float outputs.

    Returns:
        It, input → output with its adjoint, and output → input for its adjoint.
    """
    names = Names(unused_suffix(proto.graph, "__grad"))
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    known = KnownShapes(proto)
    tape = Tape(
        known,
        names,
        constants,
        opset=opset(proto),
        straight_through=straight_through,
    )
    outputs = [value.name for value in proto.graph.output if known.element(value.name) in FLOATS]
    seeds = {name: names.fresh("seed") for name in outputs}
    found = sweep(tape, list(proto.graph.node), seeds, list(wrt))
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    result.graph.node.extend(tape.nodes)
    gradients = {name: names.fresh("gradient") for name in found}
    for name, adjoint in found.items():
        result.graph.node.append(helper.make_node("Identity", [adjoint], [gradients[name]]))
    result.graph.initializer.extend(names.initializers)
    for name, seed in seeds.items():
        element = known.element(name) or TensorProto.DOUBLE
        result.graph.input.append(helper.make_tensor_value_info(seed, element, None))
    del result.graph.output[:]
    for name in found:
        shape = next(v for v in proto.graph.input if v.name == name).type.tensor_type
        value = helper.make_tensor_value_info(gradients[name], shape.elem_type, None)
        result.graph.output.append(value)
    return result, gradients, seeds


def check(
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    wrt: Sequence[str] | None = None,
    *,
    seed: int = 0,
    tolerance: float = 1e-5,
    step: float = STEP,
) -> None:
    """Assert that written and numeric derivatives agree.

    Args:
        proto: A double model whose default opset is at least 18.
        feeds: A point at which it is smooth.
        wrt: Inputs to check; all double ones by default.
        seed: Of the output weights and directions.
        tolerance: Largest error, relative to the largest derivative.
        step: Of the central differences.
    """
    inputs = [value.name for value in true_inputs(proto.graph)]
    names = list(wrt) if wrt is not None else [n for n in inputs if feeds[n].dtype == np.float64]
    model, gradients, seeds = pulled_back(proto, names)
    forward, backward = runner(proto), runner(model)
    rng = np.random.default_rng(seed)
    values = forward(feeds)
    weights = {
        name: rng.standard_normal(values[name].shape).astype(values[name].dtype) for name in seeds
    }
    given = {seeds[name]: weight for name, weight in weights.items()}
    written = backward({**feeds, **given})

    def weighted(point: Mapping[str, Array]) -> float:
        run = forward(point)
        return float(
            sum((run[n].astype(np.float64) * weight).sum() for n, weight in weights.items())
        )

    for name in names:
        assert name in gradients, f"no adjoint reaches {name!r}"
        gradient = written[gradients[name]]
        assert gradient.shape == feeds[name].shape
        assert gradient.dtype == feeds[name].dtype
        for direction in _directions(feeds[name].shape, rng):
            moved = (step * direction).astype(feeds[name].dtype)
            ahead = weighted({**feeds, name: feeds[name] + moved})
            behind = weighted({**feeds, name: feeds[name] - moved})
            numeric = (ahead - behind) / (2 * step)
            scale = max(1.0, float(np.abs(gradient).max(initial=0.0)), abs(numeric))
            error = abs(float((gradient * direction).sum()) - numeric)
            assert error <= tolerance * scale, (name, numeric, float((gradient * direction).sum()))


def _directions(shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
    size = int(np.prod(shape))
    if size <= MOST_ELEMENTS:
        return [row.reshape(shape) for row in np.eye(size)]
    return [rng.standard_normal(shape) for _ in range(DIRECTIONS)]


def check_on_runtime(
    proto: onnx.ModelProto, feeds: Mapping[str, Array], *, tolerance: float = 1e-4
) -> None:
    """Assert that adjoints in single precision, optimised by ONNX Runtime, equal those in double.

    Args:
        proto: A double model, as for ``check``.
        feeds: Where to compare.
        tolerance: Largest error, relative to the largest derivative.
    """
    single = _in_single(proto)
    names = [name for name, array in feeds.items() if array.dtype == np.float64]
    exact, gradients, seeds = pulled_back(proto, names)
    # Rules may write other nodes, whose names differ, for another precision.
    model, narrow_gradients, _ = pulled_back(single, names)
    rng = np.random.default_rng(0)
    values = runner(proto)(feeds)
    given = {**feeds, **{seeds[name]: rng.standard_normal(values[name].shape) for name in seeds}}
    wanted = runner(exact)(given)
    narrow = {n: x.astype(np.float32) if x.dtype == np.float64 else x for n, x in given.items()}
    found = graphs.run(model, narrow, optimised=True)
    for name, gradient in gradients.items():
        exactly, roughly = wanted[gradient], found[narrow_gradients[name]]
        scale = max(1.0, float(np.abs(exactly).max(initial=0.0)))
        np.testing.assert_allclose(roughly, exactly, rtol=0, atol=tolerance * scale)


def _in_single(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in single precision, bodies included."""
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    _narrow(copied.graph)
    return copied


def _narrow(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in graph.initializer:
        _narrow_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            _narrow_tensor(attribute.t)
            if node.op_type == "Cast" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
        for body in subgraphs(node):
            _narrow(body)


def _narrow_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
