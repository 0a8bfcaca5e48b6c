"""How tensors that are not plain floats are read, on numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from lsa_onnx.rewrite.readings import Reading, Readings, add_readings
from tests import graphs
from tests.rewrite.reading import MICROSOFT, X, constant, read, reading, reason, scale, small, zero
from tests.rewrite.typed import types_of

QUANTISE = graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"])
MOVE = graphs.node("Identity", ["q"], ["y"])
# ONNX Runtime returns no array of a small type, so the model's output is another one.
BESIDE = graphs.node("Neg", ["x"], ["beside"])


@pytest.mark.parametrize(
    ("element", "opset", "point", "expected"),
    [
        ("INT8", 10, 0, [[-3.0, -0.5, 0.0, 2.0], [1.0, 6.0, -7.0, 0.0]]),
        ("UINT8", 13, 4, [[-2.0, -0.5, 0.0, 2.0], [1.0, 6.0, -2.0, 0.0]]),
        ("INT16", 21, -7, [[-3.0, -0.5, 0.0, 2.0], [1.0, 6.0, -7.0, 0.0]]),
        ("UINT16", 21, 4, [[-2.0, -0.5, 0.0, 2.0], [1.0, 6.0, -2.0, 0.0]]),
        ("INT4", 21, 0, [[-3.0, -0.5, 0.0, 2.0], [1.0, 3.5, -4.0, 0.0]]),
        ("UINT4", 21, 4, [[-2.0, -0.5, 0.0, 2.0], [1.0, 5.5, -2.0, 0.0]]),
        ("FLOAT8E4M3FN", 19, 0, [[-3.0, -0.5, 0.203125, 2.0], [1.0, 6.0, -7.0, 0.1015625]]),
        ("FLOAT8E5M2", 19, 0, [[-3.0, -0.5, 0.1875, 2.0], [1.0, 6.0, -7.0, 0.09375]]),
    ],
)
def test_a_quantised_tensor_is_read_through_its_scale(
    element: str, opset: int, point: int, expected: list[list[float]]
) -> None:
    tensors = [scale(0.5), zero(getattr(TensorProto, element), point)]
    proto = small([QUANTISE, BESIDE], tensors, opset=opset)
    np.testing.assert_array_equal(read(proto, "q"), expected)
    assert reading(proto, "q").how == "through its scale 's'"
    assert reading(proto, "q").result != "q"


@pytest.mark.parametrize("element", ["INT8", "UINT8", "INT16", "UINT16", "INT4", "UINT4"])
def test_older_opsets_are_read_by_onnx_runtimes_own_dequantizelinear(element: str) -> None:
    node = graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"], domain=MICROSOFT)
    tensors = [scale(0.5), zero(getattr(TensorProto, element), 4)]
    proto = small([node, BESIDE], tensors, opset=12)
    domain = "" if element in ("INT8", "UINT8") else MICROSOFT
    assert reading(proto, "q").nodes[-1].domain == domain
    assert read(proto, "q")[0, 3] == (1.5 if element == "INT4" else 2.0)


def test_a_scale_per_channel_keeps_its_axis() -> None:
    node = graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=-1)
    tensors = [scale(0.5, 1.0, 0.1, 0.25), zero(TensorProto.INT8, 0, 1, 0, 0)]
    expected = [[-3.0, 0.0, 0.2, 2.0], [1.0, 6.0, -7.0, 0.0]]
    np.testing.assert_allclose(read(small([node], tensors), "q"), expected, rtol=1e-6)


def test_a_scale_per_channel_follows_a_transpose_and_is_lost_in_a_reshape() -> None:
    nodes = [
        graphs.node("QuantizeLinear", ["x", "s"], ["q"], axis=-1),
        graphs.node("Transpose", ["q"], ["t"], perm=[1, 0]),
        graphs.node("Reshape", ["t", "flat"], ["r"]),
    ]
    tensors = [scale(0.5, 1.0, 0.1, 0.25), constant("flat", TensorProto.INT64, [-1])]
    proto = small(nodes, tensors)
    expected = [[0.0, 1.0], [0.0, 6.0], [0.2, 0.0], [2.0, 0.0]]
    np.testing.assert_allclose(read(proto, "t"), expected, rtol=1e-6)
    assert reason(proto, "r") == "not floating point (uint8)"


def test_a_scale_per_block_keeps_its_size() -> None:
    node = graphs.node("QuantizeLinear", ["x", "s"], ["q"], axis=1, block_size=2, output_dtype=3)
    proto = small([node], [constant("s", TensorProto.FLOAT, [[0.5, 1.0], [1.0, 0.25]])])
    expected = [[-3.0, -0.5, 0.0, 2.0], [1.0, 6.0, -7.0, 0.0]]
    np.testing.assert_array_equal(read(proto, "q"), expected)


def test_a_scale_in_half_precision_is_widened_first() -> None:
    nodes = [
        graphs.node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        graphs.node("QuantizeLinear", ["h", "s", "z"], ["q"]),
    ]
    tensors = [constant("s", TensorProto.FLOAT16, 600.0), zero(TensorProto.UINT8, 0)]
    values = read(small(nodes, tensors), "q", {"x": np.full((2, 4), 60000, np.float32)})
    np.testing.assert_array_equal(values, np.full((2, 4), 60000))


def test_a_scale_that_is_drawn_from_the_input() -> None:
    nodes = [graphs.node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    proto = small(nodes)
    np.testing.assert_allclose(read(proto, "q"), X, atol=13 / 255)
    assert reason(proto, "z") == "zero point: 'q' is read with it"
    assert reading(proto, "s") == Reading("s", "s", "float32")


def _moves() -> list[Any]:
    tensors = {
        "flat": constant("c", TensorProto.INT64, [-1]),
        "axes": constant("c", TensorProto.INT64, [1]),
        "rows": constant("c", TensorProto.INT64, [1, 0]),
        "pads": constant("c", TensorProto.INT64, [0, 1, 0, 1]),
        "twice": constant("c", TensorProto.INT64, [2, 1]),
        "sizes": constant("c", TensorProto.INT64, [2, 8]),
    }
    on = np.round(X * 2) / 2
    nearest = np.repeat(on, 2, 1)
    rows: list[tuple[str, str, dict[str, Any], graphs.Array]] = [
        ("Reshape", "flat", {}, on.ravel()),
        ("Unsqueeze", "axes", {}, on[:, None]),
        ("Gather", "rows", {}, on[::-1]),
        ("Tile", "twice", {}, np.tile(on, (2, 1))),
        ("Pad", "pads", {}, np.pad(on, ((0, 0), (1, 1)), constant_values=-2.0)),
        ("Transpose", "", {"perm": [1, 0]}, on.T),
        ("Flatten", "", {"axis": 0}, on.reshape(1, -1)),
        ("Resize", "sizes", {"coordinate_transformation_mode": "asymmetric"}, nearest),
    ]
    return [pytest.param(op, tensors.get(c), a, y, id=op) for op, c, a, y in rows]


@pytest.mark.parametrize(("op", "operand", "attributes", "expected"), _moves())
def test_moved_numbers_keep_their_scale(
    op: str, operand: onnx.TensorProto | None, attributes: dict[str, Any], expected: graphs.Array
) -> None:
    empty = ["", ""] if op == "Resize" else []
    inputs = ["q", *empty, *(["c"] if operand else [])]
    tensors = [scale(0.5), zero(TensorProto.UINT8, 4), *([operand] if operand else [])]
    proto = small([QUANTISE, graphs.node(op, inputs, ["m"], **attributes)], tensors)
    # Numbers below the zero point's −2 were cut off.
    np.testing.assert_array_equal(read(proto, "m"), np.maximum(expected, -2.0))


def test_pooled_split_and_clipped_numbers_keep_their_scale() -> None:
    nodes = [
        graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        graphs.node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2]),
        graphs.node("Split", ["p"], ["a", "b"], num_outputs=2, axis=3),
        graphs.node("Clip", ["b", "low"], ["y"]),
    ]
    tensors = [scale(0.5), zero(TensorProto.UINT8, 4), zero(TensorProto.UINT8, 9, name="low")]
    x = np.arange(24, dtype=np.float32).reshape(2, 1, 4, 3)
    proto = small(nodes, tensors, outputs=["a", "y"], shape=["N", 1, 4, 3])
    np.testing.assert_array_equal(read(proto, "p", {"x": x}), x[:, :, 1:, 1:])
    np.testing.assert_array_equal(read(proto, "a", {"x": x}), x[:, :, 1:, 1:2])
    np.testing.assert_array_equal(read(proto, "y", {"x": x}), np.maximum(x[:, :, 1:, 2:], 2.5))


@pytest.mark.parametrize(("other", "joined"), [(0.5, True), (0.25, False)])
def test_joined_tensors_must_agree_on_their_scale(other: float, joined: bool) -> None:
    nodes = [
        graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        graphs.node("QuantizeLinear", ["x", "t", "z"], ["r"]),
        graphs.node("Concat", ["q", "r"], ["c"], axis=0),
    ]
    proto = small(nodes, [scale(0.5), scale(other, name="t"), zero(TensorProto.INT8, 0)])
    if joined:
        np.testing.assert_array_equal(read(proto, "c")[:2], read(proto, "c")[2:])
    else:
        assert reason(proto, "c") == "not floating point (int8)"


def test_a_quantised_tensor_that_the_model_reads_itself_is_scored_there() -> None:
    proto = small(
        [QUANTISE, graphs.node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        [scale(0.5), zero(TensorProto.INT8, 0)],
    )
    assert reason(proto, "q") == "quantised: scored as 'y' after DequantizeLinear"
    assert Readings(proto, types_of(proto)).stand_in("q") == "y"
    assert reading(proto, "y") == Reading("y", "y", "float32")


@pytest.mark.parametrize(
    ("element", "step"),
    [("BFLOAT16", 2**-7), ("FLOAT8E4M3FN", 2**-3), ("FLOAT8E5M2FNUZ", 2**-2)],
)
def test_small_floats_are_cast(element: str, step: float) -> None:
    node = graphs.node("Cast", ["x"], ["q"], to=getattr(TensorProto, element))
    proto = small([node, BESIDE])
    np.testing.assert_allclose(read(proto, "q"), X, rtol=step / 2)
    assert reading(proto, "q").how == "cast to float32"


@pytest.mark.parametrize("element", ["INT64", "INT8", "BOOL", "DOUBLE", "FLOAT16"])
def test_plain_tensors(element: str) -> None:
    proto = small([graphs.node("Cast", ["x"], ["y"], to=getattr(TensorProto, element))])
    dtype = {"DOUBLE": "float64"}.get(element, element.lower())
    found = Readings(proto, types_of(proto)).of("y")
    plain = Reading("y", "y", dtype)
    assert found == (plain if "float" in dtype else f"not floating point ({dtype})")


def test_an_operator_of_another_domain_is_not_taken_for_onnx_s() -> None:
    proto = small([QUANTISE, MOVE], [scale(0.5), zero(TensorProto.INT8, 0)])
    proto.graph.node[0].domain = "vendor"
    types: Any = {"q": ("int8", ["N", 4]), "y": ("int8", ["N", 4])}
    assert Readings(proto, types).of("q") == "not floating point (int8)"
    assert Readings(proto, types).of("y") == "not floating point (int8)"


def test_a_type_that_no_dequantizelinear_takes_says_so() -> None:
    proto = small([QUANTISE], [scale(0.5), zero(TensorProto.INT8, 0)])
    found = Readings(proto, {"q": ("uint2", ["N", 4])}).of("q")
    assert found == "quantised: no DequantizeLinear of opset 21 takes uint2"


def _chain(length: int, seed: int) -> onnx.ModelProto:
    """Casts to bfloat16 and back, some of them reading an earlier tensor, some nodes unused."""
    rng = np.random.default_rng(seed)
    nodes, floats = [], ["x"]
    for index in range(length):
        source = floats[int(rng.integers(len(floats)))]
        nodes += [
            graphs.node("Cast", [source], [f"b{index}"], to=TensorProto.BFLOAT16),
            graphs.node("Cast", [f"b{index}"], [f"f{index}"], to=TensorProto.FLOAT),
        ]
        floats.append(f"f{index}")
    return small([*nodes, graphs.node("Neg", [floats[-1]], ["y"])])


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 6), seed=st.integers(0, 99), chosen=st.integers(0, 63))
def test_readings_keep_the_order_topological(length: int, seed: int, chosen: int) -> None:
    proto = _chain(length, seed)
    before = proto.SerializeToString()
    readings = Readings(proto, types_of(proto))
    picked = [f"b{index}" for index in range(length) if chosen >> index & 1]
    found = [readings.of(tensor) for tensor in reversed(picked)]
    extended = add_readings(proto, [each for each in found if isinstance(each, Reading)])
    assert proto.SerializeToString() == before
    known = {"x"}
    for node in extended.graph.node:
        assert known.issuperset(node.input)
        known.update(node.output)
    assert len(extended.graph.node) == len(proto.graph.node) + len(picked)
    assert [o.name for o in extended.graph.output] == ["y"]


def test_a_reading_that_is_given_twice_or_needs_no_nodes_adds_none() -> None:
    proto = small([QUANTISE, MOVE], [scale(0.5), zero(TensorProto.INT8, 0)])
    once = add_readings(proto, [reading(proto, "q")])
    twice = add_readings(proto, [reading(proto, "q"), reading(proto, "q")])
    assert len(once.graph.node) == 3
    assert twice == once
    assert add_readings(proto, [Reading("x", "x", "float32")]) == proto


def test_names_that_are_taken_are_avoided() -> None:
    proto = small([QUANTISE, graphs.node("Identity", ["q"], ["q__read"])], [scale(0.5), zero(3, 0)])
    found = reading(proto, "q")
    assert found.result not in {"q", "q__read"}
    read(proto, "q")


def test_domains_are_imported_when_a_reading_needs_them() -> None:
    node = graphs.node("QuantizeLinear", ["x", "s", "z"], ["q"], domain=MICROSOFT)
    proto = small([node], [scale(0.5), zero(TensorProto.INT16, 4)], opset=13)
    found = reading(proto, "q")
    del proto.opset_import[:]
    imported = {o.domain: o.version for o in add_readings(proto, [found]).opset_import}
    assert imported == {MICROSOFT: 1}
