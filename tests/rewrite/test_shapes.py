"""What is known of tensors before a model runs, and what is not claimed to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.rewrite.graph import forget_shape, inferred
from lsa_onnx.rewrite.shapes import KnownShapes
from tests import graphs
from tests.graphs import ELEMENTS, Array, Shape, model, node, run, value, weight


def declared(
    nodes: Sequence[onnx.NodeProto],
    shapes: dict[str, Shape | None],
    dtype: str = "float32",
    **w: Array,
) -> onnx.ModelProto:
    """A model of inputs of these shapes, whose last node makes its output."""
    inputs = [value(name, shape, dtype) for name, shape in shapes.items()]
    return model(nodes, inputs, [value(nodes[-1].output[0], None, dtype)], w, opset=18)


# Dimensions


@pytest.mark.parametrize("batch", ["N", None, 3])
def test_a_free_batch(batch: str | int | None) -> None:
    known = KnownShapes(graphs.conv_net(batch=batch))  # type: ignore[arg-type]
    free = 3 if batch == 3 else None
    assert known.dims("x") == (free, 3, 5, 7)
    assert known.dims("conv") == (free, 4, 3, 5)
    assert known.dims("flat") == (free, 60)
    assert known.dims("y") == (free, 6)
    assert known.dims("w") == (4, 3, 3, 3)
    assert known.dims("nothing") is None
    assert known.rank("nothing") is None
    assert known.element("nothing") is None


def test_the_batch_is_followed_through_arithmetic_on_shapes() -> None:
    known = KnownShapes(graphs.transformer(tokens=4, width=6, heads=2))
    assert known.dims("q_t") == (None, 2, 4, 3)
    # Twice the batch.
    assert known.dims("q_h") == (None, 4, 3)
    assert known.same_shape("qk", "attention")
    assert not known.same_dim("q_h", 0, "x", 0)
    assert known.same_dim("mixed_t", 0, "x", 0)


def test_free_sizes_of_images() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1]),
        node("MaxPool", ["conv"], ["pool"], kernel_shape=[7, 7], strides=[2, 2]),
        node("GlobalAveragePool", ["pool"], ["mean"]),
        node("Flatten", ["mean"], ["y"]),
    ]
    known = KnownShapes(declared(nodes, {"x": ["N", 3, "H", "W"]}, w=weight(0, 4, 3, 3, 3)))
    assert known.dims("conv") == (None, 4, None, None)
    assert known.dims("pool") == (None, 4, None, None)
    assert known.dims("y") == (None, 4)
    assert known.same_dim("x", 2, "conv", 2)
    assert known.same_dim("x", 3, "conv", 3)
    # Height and width are not the same, nor is a size after pooling the one before.
    assert not known.same_dim("x", 2, "conv", 3)
    assert not known.same_dim("conv", 2, "pool", 2)


@pytest.mark.parametrize("count", [3, 8, 40])
def test_free_dimensions_are_told_apart_however_many_there_are(count: int) -> None:
    shape: Shape = ["N", *(f"d{index}" for index in range(count))]
    known = KnownShapes(declared([node("Relu", ["x"], ["y"])], {"x": shape}))
    assert known.dims("y") == (None,) * (count + 1)
    for a in range(count + 1):
        assert [b for b in range(count + 1) if known.same_dim("x", a, "y", b)] == [a]


def test_dimensions_of_one_name_are_equal() -> None:
    shapes: dict[str, Shape | None] = {"a": ["N", "T", 4], "b": ["N", "T", 4], "c": ["N", "S", 4]}
    known = KnownShapes(declared([node("Sum", ["a", "b"], ["y"])], shapes))
    assert known.same_shape("a", "b")
    assert known.same_shape("a", "y")
    assert not known.same_shape("a", "c")


def test_the_batch_is_one_whatever_each_input_calls_it() -> None:
    shapes: dict[str, Shape | None] = {"a": ["N", 4], "b": ["M", 4], "c": [None, 4], "d": [4, "N"]}
    known = KnownShapes(declared([node("Sum", ["a", "b", "c"], ["y"])], shapes))
    assert known.dims("y") == (None, 4)
    assert known.same_shape("a", "y")
    assert known.same_dim("d", 1, "a", 0)


def test_hints_fix_what_is_free() -> None:
    nodes = [node("Flatten", ["x"], ["flat"]), node("MatMul", ["flat", "w"], ["y"])]
    proto = declared(nodes, {"x": ["N", 3, "H", "W"]}, w=weight(0, 3 * 4 * 5, 2))
    known = KnownShapes(proto, {"x": [None, 3, 4, 5]})
    assert known.dims("x") == (None, 3, 4, 5)
    assert known.dims("flat") == (None, 60)
    assert known.dims("y") == (None, 2)
    assert KnownShapes(proto, {"x": [2, 3, 4, 5]}).dims("flat") == (2, 60)


def test_recorded_shapes_of_another_batch_are_not_believed() -> None:
    proto = graphs.conv_net()
    proto.graph.value_info.append(value("conv", [1, 4, 3, 5]))
    proto.graph.output[0].type.CopyFrom(value("y", [1, 6]).type)
    known = KnownShapes(proto)
    assert known.dims("conv") == (None, 4, 3, 5)
    assert known.dims("y") == (None, 6)


def test_weights_that_are_listed_as_inputs_are_no_free_dimensions() -> None:
    known = KnownShapes(graphs.conv_net(8, ir=3))
    assert known.dims("w") == (4, 3, 3, 3)
    assert known.dims("y") == (None, 6)


def test_bodies() -> None:
    known = KnownShapes(graphs.if_net())
    assert known.dims("inner_Neg") == known.dims("inner_Abs") == (None, 4)
    assert known.element("inner_Neg") == ELEMENTS["float32"]
    known = KnownShapes(graphs.loop_net())
    assert known.dims("state") == known.dims("next") == known.dims("y") == (None, 4)


def test_a_batch_that_is_baked_into_a_branch_is_not_believed() -> None:
    proto = graphs.if_net()
    (branching,) = (n for n in proto.graph.node if n.op_type == "If")
    for attribute in branching.attribute:
        (result,) = attribute.g.output
        result.type.CopyFrom(value(result.name, [1, 4]).type)
    known = KnownShapes(proto)
    for name in ("inner_Neg", "inner_Abs", "z", "y"):
        assert known.same_shape(name, "h"), name


def test_aliases() -> None:
    known = KnownShapes(graphs.typed_net("float64"))
    known.alias("new", "h")
    assert known.dims("new") == (None, 4)
    assert known.same_shape("new", "h")
    assert known.element("new") == ELEMENTS["float64"]
    known.alias("newer", "nothing")
    assert known.dims("newer") is None
    assert known.element("newer") is None


# Where free dimensions contradict what the model does with them


def clashing(dtype: str = "float32") -> onnx.ModelProto:
    """Adds inputs whose free dimensions have different names, then reshapes by the sum's shape."""
    nodes = [
        node("Add", ["a", "b"], ["sum"]),
        node("Shape", ["sum"], ["size"]),
        node("Gather", ["size", "zero"], ["batch"]),
        node("Concat", ["batch", "rest"], ["target"], axis=0),
        node("Reshape", ["sum", "target"], ["rows"]),
        node("MatMul", ["rows", "w"], ["y"]),
    ]
    return declared(
        nodes,
        {"a": ["N", "A"], "b": ["N", "B"]},
        dtype,
        zero=np.array([0]),
        rest=np.array([-1, 4]),
        w=weight(0, 4, 5, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_ranks_and_types_behind_a_clash_of_names(dtype: str) -> None:
    proto = clashing("float32" if dtype == "bfloat16" else dtype)
    if dtype == "bfloat16":
        for each in (*proto.graph.input, *proto.graph.output):
            each.type.tensor_type.elem_type = ELEMENTS[dtype]
        proto.graph.initializer[2].data_type = ELEMENTS[dtype]
    known = KnownShapes(proto)
    assert known.dims("sum") == (None, None)
    assert known.dims("rows") == (None, None, 4)
    assert known.dims("y") == (None, None, 5)
    assert {known.element(name) for name in ("sum", "rows", "y")} == {ELEMENTS[dtype]}
    # One of them may be 1 and be repeated, so the sum is as long as neither.
    assert not known.same_dim("sum", 1, "a", 1)
    assert not known.same_dim("sum", 1, "b", 1)
    assert known.same_dim("sum", 0, "a", 0)


def test_a_free_dimension_that_must_be_a_number() -> None:
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Relu", ["m"], ["y"]),
    ]
    proto = declared(
        nodes, {"x": ["N", 3, "H", "W"]}, "float16", w=weight(0, 60, 5, dtype="float16")
    )
    known = KnownShapes(proto)
    assert known.dims("y") == (None, 5)
    assert known.element("m") == known.element("y") == ELEMENTS["float16"]


def test_what_is_filled_in_is_compared_by_name() -> None:
    nodes = [
        node("Add", ["a", "b"], ["sum"]),
        node("Relu", ["sum"], ["r"]),
        node("Mul", ["r", "sum"], ["y"]),
    ]
    known = KnownShapes(declared(nodes, {"a": ["N", "A"], "b": ["N", "B"]}))
    assert known.same_shape("r", "sum")
    assert known.same_shape("y", "sum")
    assert not known.same_shape("sum", "a")


def test_unnamed_dimensions_behind_a_clash_equal_no_others() -> None:
    nodes = [
        node("Add", ["a", "b"], ["sum"]),
        node("NonZero", ["sum"], ["where"]),
        node("NonZero", ["a"], ["other"]),
        node("Cast", ["other"], ["y"], to=ELEMENTS["float32"]),
    ]
    known = KnownShapes(declared(nodes, {"a": ["N", "A"], "b": ["N", "B"]}))
    assert known.dims("where") == (2, None)
    assert known.dims("y") == (2, None)
    assert not known.same_dim("where", 1, "y", 1)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 6)] * 3),
    free=st.sets(st.integers(0, 2)),
    batch=st.integers(1, 4),
)
def test_what_is_claimed_holds_for_every_run(
    sizes: tuple[int, int, int], free: set[int], batch: int
) -> None:
    shape: list[str | int] = [f"d{i}" if i in free else s for i, s in enumerate(sizes)]
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        node("Reshape", ["t", "flat"], ["f"]),
        node("Concat", ["t", "t"], ["c"], axis=2),
        node("ReduceSum", ["c", "axes"], ["s"], keepdims=0),
        node("Add", ["x", "x"], ["a"]),
        node("Shape", ["s"], ["y"]),
    ]
    constants = {"flat": np.array([0, -1]), "axes": np.array([1])}
    names = ["x", "t", "f", "c", "s", "a"]
    outputs = [value(name, None) for name in names[1:]]
    proto = model(nodes, [value("x", ["N", *shape])], outputs, constants, opset=18)
    x = np.zeros((batch, *sizes), np.float32)
    found = {"x": x, **run(proto, {"x": x})}
    known = KnownShapes(proto)
    for a in names:
        dims = known.dims(a) or ()
        assert len(dims) == found[a].ndim
        fixed = [(d, s) for d, s in zip(dims, found[a].shape, strict=True) if d is not None]
        assert all(d == s for d, s in fixed)
        for b in names:
            if known.same_shape(a, b):
                assert found[a].shape == found[b].shape


# Element types


def test_types_by_the_constraints_of_operators_alone() -> None:
    nodes = [
        node("Odd", ["x"], ["odd"], domain="test"),
        node("Add", ["odd", "x"], ["sum"]),
        node("Where", ["flag", "odd", "sum"], ["chosen"]),
        node("Concat", ["odd", "chosen"], ["joined"], axis=0),
        node("Split", ["joined"], ["one", "two"], axis=0, num_outputs=2),
        node("CastLike", ["odd", "small"], ["cast"]),
        node("Greater", ["one", "two"], ["larger"]),
        node("Odder", ["cast"], ["unknown"], domain="test"),
        node("Relu", ["unknown"], ["y"]),
    ]
    inputs = [value("x", ["N", 3], "float64"), value("flag", ["N", 3], "bool")]
    small = {"small": np.zeros(1, np.float16)}
    proto = model(
        nodes, inputs, [value("y", None, "float16")], small, opset=18, imports={"test": 1}
    )
    proto.graph.output[0].type.Clear()
    known = KnownShapes(proto)
    for name in ("sum", "chosen", "joined", "one", "two"):
        assert known.element(name) == ELEMENTS["float64"]
    assert known.element("cast") == ELEMENTS["float16"]
    assert known.element("larger") == ELEMENTS["bool"]
    assert known.element("odd") is None
    assert known.element("y") is None


def test_types_alone_come_without_shapes() -> None:
    known = KnownShapes.types_alone(clashing("float16"))
    assert known.element("y") == known.element("sum") == ELEMENTS["float16"]
    assert known.dims("a") is None
    assert known.rank("y") is None


def test_a_vector_that_is_said_to_be_endless_takes_no_memory() -> None:
    """onnx keeps an entry for each of its elements where it follows values."""
    body = [node("Abs", ["x"], ["v"]), node("Unsqueeze", ["v", "first"], ["u"])]
    proto = model(
        [*body, node("Relu", ["u"], ["y"])],
        [value("x", ["N"])],
        [value("y", None)],
        {"first": np.asarray([0], np.int64)},
    )
    proto.graph.value_info.append(value("v", [2**53 + 1]))
    found = {entry.name for entry in inferred(proto).graph.value_info}
    assert "u" in found


def test_what_is_no_tensor_stays_what_it_is() -> None:
    many = onnx.helper.make_tensor_sequence_value_info("q", onnx.TensorProto.FLOAT, [2])
    forget_shape(many)
    assert many.type.WhichOneof("value") == "sequence_type"
    one = value("x", [2, 3])
    forget_shape(one)
    assert one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert not one.type.tensor_type.HasField("shape")
