"""Readings of integer sums, and of the models that ONNX Runtime's quantiser writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.readings import Reading, Readings, add_readings
from tests import graphs, quantised
from tests.rewrite.reading import (
    MICROSOFT,
    constant,
    read,
    reading,
    reason,
    scale,
    small,
    zero,
)
from tests.rewrite.typed import types_of

WEIGHTS = [[1, -2], [3, 4], [-5, 6], [7, -8]]
X = np.array([[-3.0, -0.5, 0.0, 2.0], [1.0, 6.0, -7.0, 0.5]], np.float32)


def product(*before: onnx.NodeProto, after: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    """``before`` makes "q" with zero point "z"; a product "m" with constant weights; ``after``."""
    multiply = graphs.node("MatMulInteger", ["q", "w", "z"], ["m"])
    tensors = [constant("w", TensorProto.INT8, WEIGHTS), scale(0.5, name="t")]
    if any(node.op_type == "QuantizeLinear" for node in before):
        tensors += [scale(0.5), zero(TensorProto.INT8, 1)]
    return small([*before, multiply, *after], tensors)


STATIC = graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"])
DRAWN = graphs.node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
CAST = graphs.node("Cast", ["m"], ["f"], to=TensorProto.FLOAT)


def test_sums_in_a_fixed_unit_are_cast_and_scaled() -> None:
    proto = product(STATIC)
    np.testing.assert_array_equal(read(proto, "m", {"x": X}), X @ np.asarray(WEIGHTS))
    how = "cast to float32, times its scale 's', in a fixed unit, which cancels in a relative error"
    assert reading(proto, "m").how == how


def test_floats_of_sums_in_a_fixed_unit_are_read_as_they_are() -> None:
    assert reading(product(STATIC, after=(CAST,)), "f") == Reading("f", "f", "float32")


def test_sums_of_a_drawn_scale_are_scaled_before_they_are_read() -> None:
    proto = product(DRAWN, after=(CAST,))
    expected = X @ np.asarray(WEIGHTS, np.float32)
    for tensor in ("m", "f"):
        np.testing.assert_allclose(read(proto, tensor, {"x": X}), expected, atol=0.5)
        # Twice the input: twice the values, though all integers stay the same.
        doubled = read(proto, tensor, {"x": 2 * X})
        np.testing.assert_allclose(doubled, 2 * read(proto, tensor, {"x": X}), rtol=1e-6)


@pytest.mark.parametrize("between", [(), ("Add",), ("Unsqueeze",)])
def test_sums_that_the_model_scales_itself_are_scored_there(between: tuple[str, ...]) -> None:
    tensors = {"Add": constant("b", TensorProto.INT32, [1, 2])}
    tensors |= {"Unsqueeze": constant("b", TensorProto.INT64, [0])}
    steps = [graphs.node(op, ["m", "b"], ["k"]) for op in between]
    after = (
        *steps,
        graphs.node("Cast", ["k" if between else "m"], ["f"], to=TensorProto.FLOAT),
        graphs.node("Mul", ["s", "t"], ["u"]),
        graphs.node("Mul", ["f", "u"], ["y"]),
    )
    proto = product(DRAWN, after=after)
    proto.graph.initializer.extend(tensors[op] for op in between)
    where = "integer accumulator: scored as 'y' through its scale"
    for tensor in ("m", "f", *(["k"] if between else [])):
        assert reason(proto, tensor) == where
        assert Readings(proto, types_of(proto)).stand_in(tensor) == "y"
    assert reading(proto, "y") == Reading("y", "y", "float32")


def test_a_scale_in_two_factors_is_followed_to_the_drawn_one() -> None:
    after = (CAST, graphs.node("Mul", ["f", "t"], ["g"]), graphs.node("Mul", ["g", "s"], ["y"]))
    proto = product(DRAWN, after=after)
    where = "integer accumulator: scored as 'y' through its scale"
    assert [reason(proto, tensor) for tensor in "mfg"] == [where] * 3


def test_a_gate_is_not_taken_for_a_scale() -> None:
    after = (
        CAST,
        graphs.node("ReduceMax", ["x"], ["g"]),
        graphs.node("Mul", ["f", "g"], ["y"]),
    )
    assert Readings(product(DRAWN, after=after), {}).stand_in("m") is None


def test_sums_of_hand_made_integers_have_an_unknown_unit() -> None:
    before = (
        graphs.node("ReduceMax", ["x"], ["top"]),
        graphs.node("Div", ["x", "top"], ["d"]),
        graphs.node("Cast", ["d"], ["q"], to=TensorProto.INT8),
    )
    proto = small(
        [*before, graphs.node("MatMulInteger", ["q", "w"], ["m"])],
        [constant("w", TensorProto.INT8, WEIGHTS)],
    )
    assert reason(proto, "m") == "integer accumulator: the scale of 'q' is not known"


def test_sums_of_rounded_inputs_count_in_a_fixed_unit() -> None:
    before = graphs.node("Cast", ["x"], ["q"], to=TensorProto.INT8)
    proto = small(
        [before, graphs.node("MatMulInteger", ["q", "w"], ["m"])],
        [constant("w", TensorProto.INT8, WEIGHTS)],
    )
    how = "cast to float32, in a fixed unit, which cancels in a relative error"
    assert reading(proto, "m").how == how
    expected = np.trunc(X) @ np.asarray(WEIGHTS)
    np.testing.assert_array_equal(read(proto, "m", {"x": X}), expected)


def test_products_of_two_representations_take_both_scales() -> None:
    nodes = [
        DRAWN,
        graphs.node("Transpose", ["q"], ["r"], perm=[1, 0]),
        graphs.node("MatMulInteger", ["q", "r", "z", "z"], ["m"]),
    ]
    proto = small(nodes)
    np.testing.assert_allclose(read(proto, "m", {"x": X}), X @ X.T, atol=1.5)
    assert reading(proto, "m").how == "cast to float32, times its scale 's' and its scale 's'"


def test_convolution_sums() -> None:
    nodes = [DRAWN, graphs.node("ConvInteger", ["q", "w", "z"], ["m"])]
    weights = np.arange(-4, 4).reshape(2, 1, 2, 2)
    proto = small(nodes, [constant("w", TensorProto.INT8, weights)], shape=["N", 1, 2, 3])
    x = graphs.samples(1, 2, 1, 2, 3)
    plain = graphs.model(
        [graphs.node("Conv", ["x", "w"], ["y"])],
        [graphs.value("x", ["N", 1, 2, 3])],
        [graphs.value("y", None)],
        {"w": weights.astype(np.float32)},
    )
    expected = graphs.run(plain, {"x": x})["y"]
    np.testing.assert_allclose(read(proto, "m", {"x": x}), expected, atol=0.05)


def qlinear(op: str, count: int, **attributes: Any) -> onnx.ModelProto:
    """ONNX Runtime's quantised ``op`` of ``count`` operands, all "q"; the result has scale "t"."""
    inputs = ["q", "s", "z"] * count + ["t", "v"]
    node = graphs.node(op, inputs, ["y"], domain=MICROSOFT, **attributes)
    quantise = graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"])
    tensors = [scale(1 / 16), scale(1 / 32, name="t")]
    tensors += [zero(TensorProto.UINT8, 128), zero(TensorProto.UINT8, 96, name="v")]
    return small([quantise, node], tensors, shape=["N", 2, 3, 4])


@pytest.mark.parametrize(
    ("op", "count", "attributes", "expected"),
    [
        ("QLinearAdd", 2, {}, lambda x: x + x),
        ("QLinearMul", 2, {}, lambda x: x * x),
        ("QLinearSigmoid", 1, {}, lambda x: 1 / (1 + np.exp(-x))),
        ("QLinearLeakyRelu", 1, {"alpha": 0.25}, lambda x: np.where(x < 0, x / 4, x)),
        ("QLinearGlobalAveragePool", 1, {}, lambda x: x.mean((2, 3), keepdims=True)),
        (
            "QLinearAveragePool",
            1,
            {"kernel_shape": [1, 2]},
            lambda x: (x[..., 1:] + x[..., :-1]) / 2,
        ),
        (
            "QLinearSoftmax",
            1,
            {"axis": -1, "opset": 13},
            lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_onnx_runtimes_quantised_operators(
    op: str, count: int, attributes: dict[str, Any], expected: Any
) -> None:
    x = graphs.samples(3, 2, 2, 3, 4) * 2 - 1
    got = read(qlinear(op, count, **attributes), "y", {"x": x})
    rounded = np.round(x * 16) / 16
    np.testing.assert_allclose(got, expected(rounded), atol=1 / 32)


def test_joined_and_chosen_quantised_tensors() -> None:
    nodes = [
        graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        graphs.node(
            "QLinearConcat", ["t", "v", *["q", "s", "z"] * 2], ["c"], domain=MICROSOFT, axis=0
        ),
        graphs.node("Greater", ["x", "s"], ["large"]),
        graphs.node(
            "QLinearWhere",
            ["large", "q", "s", "z", "q", "s", "z", "t", "v"],
            ["w"],
            domain=MICROSOFT,
        ),
    ]
    tensors = [scale(0.5), scale(0.25, name="t"), zero(TensorProto.UINT8, 128)]
    proto = small(nodes, [*tensors, zero(TensorProto.UINT8, 64, name="v")], outputs=["c", "w"])
    np.testing.assert_array_equal(read(proto, "c", {"x": X}), np.concatenate([X, X]))
    np.testing.assert_array_equal(read(proto, "w", {"x": X}), X)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_quantised_gemm_returns_floats_when_it_has_no_scale(scaled: bool) -> None:
    inputs = ["q", "s", "z", "w", "t", "o", "", *(["t", "z"] if scaled else [])]
    gemm = graphs.node("QGemm", inputs, ["y"], domain=MICROSOFT)
    tensors = [scale(0.5), zero(TensorProto.INT8, 0), scale(1.0, name="t")]
    tensors += [constant("w", TensorProto.INT8, WEIGHTS), zero(TensorProto.INT8, 0, name="o")]
    proto = small([STATIC, gemm], tensors)
    expected = X @ np.asarray(WEIGHTS)
    got = read(proto, "y", {"x": X})
    np.testing.assert_allclose(got, expected, atol=0.5)
    assert bool(reading(proto, "y").nodes) == scaled


def _every_reading(proto: onnx.ModelProto) -> tuple[list[Reading], dict[str, str]]:
    types = types_of(proto)
    readings = Readings(proto, types)
    found = {tensor: readings.of(tensor) for tensor in types}
    reasons = {tensor: each for tensor, each in found.items() if isinstance(each, str)}
    return [each for each in found.values() if isinstance(each, Reading)], reasons


@pytest.mark.parametrize("kind", ["pairs", "per channel", "operators", "dynamic"])
def test_reading_every_tensor_changes_no_answer(kind: str) -> None:
    shape = (3, 3, 6, 8)
    plain = graphs.residual_net()
    proto = {
        "pairs": lambda: quantised.static(plain, shape),
        "per channel": lambda: quantised.static(plain, shape, per_channel=True),
        "operators": lambda: quantised.static(plain, shape, pairs=False),
        "dynamic": lambda: quantised.dynamic(plain),
    }[kind]()
    found, reasons = _every_reading(proto)
    observed = expose(add_readings(proto, found), [each.result for each in found])
    x = {"x": graphs.samples(9, *shape)}
    for optimised in (False, True):
        before = graphs.run(proto, x, optimised=optimised)["y"]
        np.testing.assert_array_equal(graphs.run(observed, x, optimised=optimised)["y"], before)
    elsewhere = ("quantised: scored as", "integer accumulator: scored as", "zero point:")
    constants = {t for t in reasons if not reasons[t].startswith(elsewhere)}
    assert not constants & {t for node in proto.graph.node for t in node.output}


def test_the_readings_of_a_quantised_network_are_near_the_floats() -> None:
    shape = (4, 3, 6, 8)
    plain = graphs.residual_net()
    proto = quantised.static(plain, shape, pairs=False)
    found, _ = _every_reading(proto)
    by_name = {each.tensor: each for each in found}
    layers = {"c0_quantized": "r0", "c1_quantized": "r1", "sum_quantized": "r2"}
    observed = expose(add_readings(proto, found), [by_name[name].result for name in layers])
    x = {"x": graphs.samples(0, *shape)}
    got, expected = graphs.run(observed, x), graphs.run(expose(plain, layers.values()), x)
    for name, layer in layers.items():
        error = np.linalg.norm(got[by_name[name].result] - expected[layer])
        assert error < 0.03 * np.linalg.norm(expected[layer])
