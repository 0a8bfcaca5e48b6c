"""What rules have at hand: names, constants, shapes that are known or not, sums over broadcasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.vjp import Names, Tape
from lsa_onnx.rewrite.vjp.registry import RuleRefused
from tests.graphs import ELEMENTS, Array, Shape, model, node, run, value

FULL, FREE, UNKNOWN = "full", "free", "unknown"
KNOWLEDGE = [FULL, FREE, UNKNOWN]


def proto_of(
    shapes: dict[str, Shape | None],
    dtype: str = "float32",
    constants: dict[str, Array] | None = None,
) -> onnx.ModelProto:
    nodes = [node("Identity", [name], [f"{name}_out"]) for name in shapes]
    inputs = [value(name, shape, dtype) for name, shape in shapes.items()]
    outputs = [value(f"{name}_out", None, dtype) for name in shapes]
    return model(nodes, inputs, outputs, constants, opset=18)


def tape_of(proto: onnx.ModelProto) -> Tape:
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    return Tape(KnownShapes(proto), Names("__t"), constants, opset=18)


def declared(array: Array, knowledge: str, name: str) -> Shape | None:
    if knowledge == UNKNOWN:
        return None
    if knowledge == FREE:
        # Free first dimensions would all be the batch.
        return [*array.shape[:1], *(f"{name}{axis}" for axis in range(1, array.ndim))]
    return array.shape


def computed(
    feeds: dict[str, Array], knowledge: str, write: Callable[[Tape], str]
) -> tuple[Array, Tape]:
    """What the nodes that ``write`` writes make of ``feeds``, and the tape."""
    proto = proto_of({n: declared(x, knowledge, n) for n, x in feeds.items()})
    tape = tape_of(proto)
    result = write(tape)
    proto.graph.node.extend([*tape.nodes, node("Identity", [result], ["found"])])
    proto.graph.initializer.extend(tape.names.initializers)
    del proto.graph.output[:]
    proto.graph.output.append(onnx.ValueInfoProto(name="found"))
    return np.asarray(run(proto, feeds)["found"]), tape


# Names and constants


def test_names_are_new() -> None:
    names = Names("__t")
    made = [names.fresh("Add") for _ in range(3)] + [names.fresh("Mul")]
    assert len(set(made)) == 4
    assert all("__t" in name for name in made)


def test_equal_constants_are_one() -> None:
    tape = tape_of(proto_of({"x": ["N"]}))
    assert tape.ints(1, 2) == tape.constant(np.array([1, 2]), np.int64) == tape.ints(1, 2)
    different = [
        tape.ints(1, 2),
        tape.ints(2, 1),
        tape.constant([[1, 2]], np.int64),
        tape.constant([1, 2], np.int32),
        tape.constant([1, 2], np.float32),
        tape.constant(1, np.int64),
        tape.ints(1),
        tape.ints(),
    ]
    assert len(set(different)) == len(different) == len(tape.names.initializers)
    assert tape.child().ints(1, 2) == tape.ints(1, 2)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3)])
def test_constants_keep_their_shape(shape: tuple[int, ...]) -> None:
    tape = tape_of(proto_of({"x": ["N"]}))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    tape.constant(array)
    (tensor,) = tape.names.initializers
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), array)
    assert tuple(tensor.dims) == shape


def test_negative_zero_is_a_constant_of_its_own() -> None:
    tape = tape_of(proto_of({"x": ["N"]}))
    assert tape.constant(0.0, np.float32) != tape.constant(-0.0, np.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_scalars_have_the_type_of_a_tensor(dtype: str) -> None:
    tape = tape_of(proto_of({"x": ["N"]}, dtype))
    tape.scalar(0.5, "x")
    assert tape.names.initializers[0].data_type == tape.element("x") == ELEMENTS[dtype]


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_adjoints_of_whole_numbers_are_floats(dtype: str) -> None:
    tape = tape_of(proto_of({"x": ["N"]}, dtype))
    assert tape.element("x") == tape.element("nothing") == TensorProto.FLOAT
    assert tape.dtype("x") == np.float32


def test_values_are_those_of_constants_inside_the_model() -> None:
    proto = proto_of({"x": ["N"]}, constants={"c": np.array([1.5]), "out": np.array([2.5])})
    proto.graph.initializer[1].data_location = TensorProto.EXTERNAL
    tape = tape_of(proto)
    assert np.asarray(tape.value("c")).tolist() == [1.5]
    assert [tape.value(name) for name in ("out", "x", "", None)] == [None] * 4


# Nodes


def test_attributes_that_are_none_are_left_out() -> None:
    tape = tape_of(proto_of({"x": ["N"]}))
    first = tape.op("Cast", "x", to=TensorProto.DOUBLE, saturate=None)
    outputs = tape.ops("Split", first, outputs=2, axis=0, num_outputs=2)
    kinds = [(n.op_type, list(n.output), [a.name for a in n.attribute]) for n in tape.nodes]
    assert kinds == [
        ("Cast", [first], ["to"]),
        ("Split", outputs, ["axis", "num_outputs"]),
    ]
    assert len({n.name for n in tape.nodes}) == 2


def test_nodes_of_a_body_are_its_own() -> None:
    tape = tape_of(proto_of({"x": ["N"]}))
    inner = tape.child()
    made = {inner.op("Neg", "x"), tape.op("Neg", "x")}
    assert len(made) == 2
    assert len(tape.nodes) == len(inner.nodes) == 1
    assert inner.known is tape.known


def test_sums_of_adjoints() -> None:
    feeds: dict[str, Array] = {
        n: np.full((2, 3), i, np.float32) for n, i in zip("abc", (1, 10, 100), strict=True)
    }
    found, tape = computed(feeds, FULL, lambda t: t.sum(["a", "b", "c"]))
    assert found.tolist() == np.full((2, 3), 111.0).tolist()
    assert tape.sum(["a"]) == "a"


# Shapes


def test_known_shapes_are_constants_and_unknown_ones_are_read_once() -> None:
    proto = proto_of({"fixed": [2, 3], "free": ["N", 3], "scalar": [], "unknown": None})
    tape = tape_of(proto)
    assert tape.shape_of("fixed") == tape.ints(2, 3)
    assert tape.shape_of("scalar") == tape.ints()
    assert not tape.nodes
    for name in ("free", "unknown"):
        assert tape.shape_of(name) == tape.shape_of(name)
    assert [n.op_type for n in tape.nodes] == ["Shape", "Shape"]


def test_fixed_dimensions() -> None:
    tape = tape_of(proto_of({"x": ["N", 3, 4], "u": None}))
    assert tape.fixed_dims("x", 1) == (3, 4)
    for name, start in (("x", 0), ("u", 0), ("u", 1), ("u", 2)):
        with pytest.raises(RuleRefused, match=f"the shape of '{name}' is not known"):
            tape.fixed_dims(name, start)
    assert [tape.axis(a, "x") for a in (0, 2, -1, -3)] == [0, 2, 2, 0]
    assert tape.axis(1, "u") == 1
    with pytest.raises(RuleRefused, match="the rank of 'u' is not known"):
        tape.axis(-1, "u")


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize(
    ("shape", "flat"), [((2, 3), (3, 2)), ((0, 3), (3, 0)), ((), (1,)), ((1,), ()), ((4,), (2, 2))]
)
def test_reshaping_like(knowledge: str, shape: tuple[int, ...], flat: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    feeds: dict[str, Array] = {
        "x": np.arange(size, dtype=np.float32).reshape(flat),
        "like": np.zeros(shape, np.float32),
    }
    found, _ = computed(feeds, knowledge, lambda t: t.reshape_like("x", "like"))
    np.testing.assert_array_equal(found, feeds["x"].reshape(shape))


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
def test_expanding_and_zeros(knowledge: str) -> None:
    feeds: dict[str, Array] = {
        "x": np.array([[1], [2]], np.float32),
        "like": np.ones((3, 2, 4), np.float32),
    }
    found, _ = computed(feeds, knowledge, lambda t: t.expand_like("x", "like"))
    np.testing.assert_array_equal(found, np.broadcast_to(feeds["x"], (3, 2, 4)))
    zeros, _ = computed(feeds, knowledge, lambda t: t.zeros_like("like"))
    np.testing.assert_array_equal(zeros, np.zeros((3, 2, 4)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_zeros_have_the_type_of_the_adjoint(dtype: str) -> None:
    tape = tape_of(proto_of({"x": [2]}, dtype))
    assert tape.zero_tensor("x").data_type == tape.element("x")


# Broadcasts


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@settings(max_examples=25, deadline=None)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=1, max_side=3),
    seed=st.integers(0, 99),
)
def test_adjoints_are_summed_to_the_shape_of_an_operand(
    knowledge: str, shapes: Any, seed: int
) -> None:
    small, _ = shapes.input_shapes
    adjoint = np.random.default_rng(seed).integers(-9, 9, shapes.result_shape).astype(np.float32)
    feeds: dict[str, Array] = {
        "adjoint": adjoint,
        "operand": np.zeros(small, np.float32),
        "result": np.zeros(adjoint.shape, np.float32),
    }
    found, _ = computed(feeds, knowledge, lambda t: t.unbroadcast("adjoint", "operand", "result"))
    lead = adjoint.ndim - len(small)
    repeated = [a for a, s in enumerate((1,) * lead + small) if s == 1]
    wanted = adjoint.sum(tuple(repeated), keepdims=True).reshape(small)
    np.testing.assert_array_equal(found, wanted)


def test_what_is_known_to_have_one_shape_is_left_alone() -> None:
    tape = tape_of(proto_of({"a": ["N", "T"], "b": ["N", "T"], "c": ["N", "S"]}))
    assert tape.unbroadcast("g", "a", "b") == "g"
    assert not tape.nodes
    # One of the two may turn out to be 1.
    assert tape.unbroadcast("g", "a", "c") != "g"


def test_the_batch_of_an_operand_is_not_summed() -> None:
    tape = tape_of(proto_of({"x": ["N", 1, 4], "y": ["N", 3, 4]}))
    tape.unbroadcast("g", "x", "y")
    (total,) = tape.nodes
    axes = next(t for t in tape.names.initializers if t.name == total.input[1])
    assert numpy_helper.to_array(axes).tolist() == [1]
    assert helper.get_node_attr_value(total, "keepdims") == 1


# What is left out


@pytest.mark.parametrize("guarded", [True, False])
def test_nan_is_replaced_only_where_the_model_may_leave_it_out(guarded: bool) -> None:
    x = np.array([1, np.nan, -2], np.float32)

    def write(tape: Tape) -> str:
        tape.guard({"x"} if guarded else set())
        return tape.without_nan("x")

    found, tape = computed({"x": x}, FULL, write)
    np.testing.assert_array_equal(found, [1, 0, -2] if guarded else x)
    assert bool(tape.nodes) == guarded
