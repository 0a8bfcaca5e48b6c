"""``compare`` on every builder and on odd models: its sums are those that numpy finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lsa_onnx.rewrite import Comparison, Scored, compare, expose
from tests import graphs
from tests.graphs import Array, model, node, run, samples, value, weight


def squares(a: Array, b: Array, axis: int | None, count: int) -> Array:
    """‖a − b‖², ‖a‖², ‖b‖² per sample in float64, shape (n, 3)."""
    rows = []
    for one in (a.astype(np.float64) - b.astype(np.float64), a, b):
        first = one if axis is None else np.moveaxis(one, axis, 0)
        rows.append((first.astype(np.float64).reshape(count, -1) ** 2).sum(axis=1))
    return np.stack(rows, axis=1)


def returned(twin: Comparison, results: Mapping[str, Array], tensor: str) -> Array:
    names = twin.sums[tensor]
    parts = [results[n] for n in (names.difference, names.clean, names.perturbed)]
    assert all(part.ndim == 1 for part in parts)
    return np.stack(parts, axis=1)


def check(
    proto: onnx.ModelProto,
    scored: Sequence[Scored],
    feeds: Mapping[str, Array],
    perturbed: Mapping[str, Array],
    rtol: float = 1e-5,
) -> None:
    """The twin against numpy on exposed tensors, and against the model on its outputs."""
    before = proto.SerializeToString()
    outputs = [o.name for o in proto.graph.output]
    twin = compare(proto, scored, outputs, list(perturbed))
    assert proto.SerializeToString() == before
    second = {twin.perturbed_inputs[name]: x for name, x in perturbed.items()}
    results = run(twin.model, {**feeds, **second})
    exposed = expose(proto, [item.tensor for item in scored])
    a, b = run(exposed, feeds), run(exposed, {**feeds, **perturbed})
    count = len(next(iter(perturbed.values())))
    for item in scored:
        per_run = 1 if item.batch_axis is None else count
        expected = squares(a[item.tensor], b[item.tensor], item.batch_axis, per_run)
        got = returned(twin, results, item.tensor)
        scale = expected.max(initial=0.0)
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * rtol * scale)
    for name in outputs:
        assert results[name].tobytes() == a[name].tobytes()
        assert results[twin.perturbed_outputs[name]].tobytes() == b[name].tobytes()


NETS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...], list[Scored]]] = {
    "mlp": (graphs.elu_mlp, (3, 2), [Scored("elu0"), Scored("elu2"), Scored("y")]),
    "residual": (graphs.residual_net, (2, 3, 6, 8), [Scored("r0"), Scored("sum"), Scored("r2")]),
    "transformer": (
        graphs.transformer,
        (3, 4, 6),
        [Scored("q_h", 0, 24), Scored("attention", 0, 32), Scored("gelu"), Scored("norm1")],
    ),
    "alone": (graphs.fixed_batch_net, (1, 3, 5, 7), [Scored("relu", None), Scored("y", None, 6)]),
    "lstm": (graphs.lstm_net, (3, 5, 3), [Scored("seq", 1), Scored("last", 1), Scored("state")]),
    "if": (graphs.if_net, (3, 5), [Scored("mean", None), Scored("z", None), Scored("h")]),
    "loop": (graphs.loop_net, (3, 5), [Scored("total"), Scored("h")]),
    "nhwc": (graphs.nhwc_net, (2, 5, 7, 3), [Scored("relu:0"), Scored("hidden:0")]),
}


@pytest.mark.parametrize("net", NETS)
def test_sums_are_numpys(net: str) -> None:
    build, shape, scored = NETS[net]
    proto = build()
    name = proto.graph.input[0].name
    x = samples(1, *shape)
    x_adv = (x + 0.1 * samples(2, *shape) - 0.05).astype(np.float32)
    check(proto, scored, {name: x}, {name: x_adv})


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 18, 21, 23])
@pytest.mark.parametrize("ir", [3, 8])
def test_every_opset_and_ir_version(opset: int, ir: int) -> None:
    x = samples(1, 3, 3, 5, 7)
    proto = graphs.conv_net(opset, ir)
    check(proto, [Scored("conv"), Scored("relu", 0, 60), Scored("y")], {"x": x}, {"x": x * 0.9})
    twin = compare(proto, [Scored("conv")], ["y"])
    declared = {v.name for v in twin.model.graph.input}
    held = {t.name for t in twin.model.graph.initializer}
    assert held <= declared if ir < 4 else not held & declared


def test_half_precision_does_not_overflow_in_the_sum() -> None:
    nodes = [node("Mul", ["x", "k"], ["h"]), node("Relu", ["h"], ["y"])]
    shape: graphs.Shape = ["N", 3, 7]
    proto = model(
        nodes,
        [value("x", shape, "float16")],
        [value("y", shape, "float16")],
        {"k": np.asarray(1000, np.float16)},
    )
    x = np.ones((2, 3, 7), np.float16)
    twin = compare(proto, [Scored("h", 0, None, onnx.TensorProto.FLOAT16)], ["y"])
    results = run(twin.model, {"x": x, twin.perturbed_inputs["x"]: 2 * x})
    np.testing.assert_allclose(returned(twin, results, "h"), [[21e6, 21e6, 84e6]] * 2)


def test_constant_branches_and_shape_arithmetic_are_shared() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Add", ["x", "zeros"], ["h"]),
        node("Abs", ["k"], ["size"]),
        node("Mul", ["h", "size"], ["y"]),
    ]
    proto = model(
        nodes, [value("x", ["N", 5])], [value("y", ["N", 5])], {"k": np.float32(-3).reshape(1)}
    )
    twin = compare(proto, [Scored("y")], ["y"])
    kinds = [n.op_type for n in twin.model.graph.node]
    assert [kinds.count(op) for op in ("Shape", "ConstantOfShape", "Abs", "Mul")] == [1, 1, 1, 2]
    x = samples(0, 3, 5)
    check(proto, [Scored("h"), Scored("y")], {"x": x}, {"x": x + 1})


def test_outputs_that_do_not_move_have_one_name() -> None:
    outputs = [value("y", ["N", 5]), value("k", [2, 3]), value("x", ["N", 5])]
    proto = model(
        [node("Relu", ["x"], ["y"])], [value("x", ["N", 5])], outputs, {"k": weight(0, 2, 3)}
    )
    twin = compare(proto, [Scored("y")], ["y", "k", "x"])
    assert twin.perturbed_outputs["k"] == "k"
    assert twin.perturbed_outputs["x"] == twin.perturbed_inputs["x"]
    x = samples(0, 2, 5)
    check(proto, [Scored("y")], {"x": x}, {"x": x - 1})


def test_a_model_of_another_domain_alone_gets_the_standard_one() -> None:
    scaler = node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0] * 5, scale=[2.0] * 5)
    proto = model(
        [scaler],
        [value("x", ["N", 5])],
        [value("y", ["N", 5])],
        opset=None,
        imports={"ai.onnx.ml": 3},
    )
    x = samples(0, 3, 5)
    check(proto, [Scored("y")], {"x": x}, {"x": x + 1})


def test_optional_inputs_left_out_stay_out() -> None:
    nodes = [node("Clip", ["x", "", "top"], ["h"]), node("Dropout", ["h"], ["y", ""])]
    proto = model(
        nodes, [value("x", ["N", 5])], [value("y", ["N", 5])], {"top": np.asarray(0.5, np.float32)}
    )
    x = samples(0, 3, 5)
    check(proto, [Scored("h"), Scored("y")], {"x": x}, {"x": x - 1})


def test_both_branches_of_an_if_are_rewritten() -> None:
    """The clean branch takes one path, the perturbed one the other."""
    x = samples(1, 3, 5)
    check(graphs.if_net(), [Scored("z", None)], {"x": x}, {"x": -x})


def test_sparse_initializers_are_shared() -> None:
    proto = model(
        [node("MatMul", ["x", "s"], ["h"]), node("Relu", ["h"], ["y"])],
        [value("x", ["N", 5])],
        [value("y", ["N", 4])],
    )
    values = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "s")
    places = numpy_helper.from_array(np.array([0, 5, 11], np.int64), "places")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [5, 4]))
    x = samples(1, 3, 5)
    check(proto, [Scored("h")], {"x": x}, {"x": x + 1})


def test_time_grows_with_depth_and_not_with_its_square() -> None:
    def seconds(length: int) -> float:
        proto = graphs.chain(length)
        scored = [Scored(f"r{index}") for index in range(0, length, 10)]
        started = time.perf_counter()
        compare(proto, scored, ["y"])
        return time.perf_counter() - started

    short = min(seconds(250) for _ in range(3))
    # Ten times the depth: linear work takes ten times as long, quadratic a hundred times.
    # The quicker of two, for what else the machine does must not fail it.
    assert min(seconds(2500) for _ in range(2)) < 40 * short
