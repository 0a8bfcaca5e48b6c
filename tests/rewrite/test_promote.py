"""An inner tensor as an input: what comes behind it, fed with what comes before it, is the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import dependents, producers, true_inputs
from lsa_onnx.rewrite.promote import front, promote, with_constants
from tests import graphs, tokens
from tests.graphs import FLOAT, node, value

Array = NDArray[Any]


def input_names(proto: onnx.ModelProto) -> list[str]:
    return [v.name for v in true_inputs(proto.graph)]


def initializers(proto: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in proto.graph.initializer}


def outputs_of(proto: onnx.ModelProto) -> list[str]:
    return [v.name for v in proto.graph.output]


def assert_cut(proto: onnx.ModelProto, tensor: str, feeds: dict[str, Array]) -> onnx.ModelProto:
    """Both halves are valid, and together the model; returns the second."""
    before = proto.SerializeToString()
    first, second = front(proto, tensor), promote(proto, tensor, FLOAT, None)
    assert proto.SerializeToString() == before
    assert outputs_of(first) == [tensor]
    assert outputs_of(second) == outputs_of(proto)
    inner = graphs.run(first, {name: feeds[name] for name in input_names(first)})
    fed = {**feeds, **inner}
    wanted = graphs.run(proto, feeds)
    for optimised in (False, True):
        found = graphs.run(
            second, {name: fed[name] for name in input_names(second)}, optimised=optimised
        )
        for name, expected in wanted.items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
    return second


def test_embeddings_by_hand() -> None:
    second = assert_cut(tokens.sum_net(), "emb", {"ids": np.array([[0, 2], [1, 1]])})
    assert input_names(second) == ["emb"]
    assert initializers(second) == {"axis"}
    x = np.array([[[1, 0], [0.5, 0.25]], [[-1, 2], [4, 8]]], np.float32)
    found = graphs.run(second, {"emb": x})["y"]
    np.testing.assert_array_equal(found, [[1.5, 0.25], [3, 10]])
    (first,) = graphs.run(front(tokens.sum_net(), "emb"), {"ids": np.array([[2, 0]])}).values()
    np.testing.assert_array_equal(first, [[[7, 11], [1, 2]]])


def test_the_declared_type_and_shape_are_those_given() -> None:
    proto = promote(tokens.sum_net(), "emb", FLOAT, ["N", 2, None])
    kind = proto.graph.input[0].type.tensor_type
    assert kind.elem_type == FLOAT
    assert [d.dim_param or d.dim_value for d in kind.shape.dim] == ["N", 2, 0]
    onnx.checker.check_model(proto, full_check=True)


@pytest.mark.parametrize("own_mask", [True, False])
def test_ids_stay_where_a_mask_is_made_of_them(own_mask: bool) -> None:
    ids, mask = tokens.tokens(0, 4)
    feeds = {"ids": ids, "mask": mask} if own_mask else {"ids": ids}
    second = assert_cut(tokens.attention_net(own_mask=own_mask), "emb", feeds)
    assert input_names(second) == ["emb", "mask" if own_mask else "ids"]
    assert "table" not in initializers(second)
    x = graphs.samples(1, 4, 7, tokens.WIDTH)
    held = {"mask": mask} if own_mask else {"ids": ids}
    found = graphs.run(second, {"emb": x, **held})["y"]
    np.testing.assert_allclose(found, tokens.attended(x, mask), rtol=1e-4, atol=1e-5)


def test_a_table_that_is_read_again_stays() -> None:
    proto = tokens.sum_net()
    proto.graph.node.append(node("MatMul", ["y", "tt"], ["tied"]))
    proto.graph.node.insert(1, node("Transpose", ["table"], ["tt"], perm=[1, 0]))
    proto.graph.output[0].CopyFrom(value("tied", ["N", 3]))
    second = assert_cut(proto, "emb", {"ids": np.array([[0, 2], [1, 1]])})
    assert initializers(second) == {"table", "axis"}


def test_what_nobody_ever_read_stays() -> None:
    feeds = {"ids": np.array([[0, 2]]), "unread": np.zeros((1, 4), np.float32)}
    second = assert_cut(tokens.sum_net(extra=True), "emb", feeds)
    # "loose" is no part of the front: it could be scored, and needs the ids.
    assert input_names(second) == ["emb", "ids", "unread"]
    assert [n.op_type for n in second.graph.node] == ["Neg", "ReduceSum"]


def test_initializers_that_are_listed_as_inputs_go_from_both_lists() -> None:
    proto = graphs.conv_net(opset=8, ir=3)
    feeds = {"x": graphs.samples(0, 2, 3, 5, 7)}
    second = assert_cut(proto, "relu", feeds)
    assert [v.name for v in second.graph.input] == ["relu", "v", "c"]
    assert initializers(second) == {"v", "c"}


def test_a_maker_that_is_needed_for_another_output_stays() -> None:
    nodes = [
        node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        node("Neg", ["a"], ["na"]),
        node("Mul", ["na", "b"], ["y"]),
    ]
    proto = graphs.model(nodes, [value("x", ["N", 4])], [value("y", ["N", 2])], opset=18)
    x = graphs.samples(0, 3, 4)
    for tensor in ("a", "b"):
        second = assert_cut(proto, tensor, {"x": x})
        assert input_names(second) == [tensor, "x"]
    moved = graphs.run(promote(proto, "a", FLOAT, None), {"x": x, "a": 2 * x[:, :2]})["y"]
    np.testing.assert_allclose(moved, -2 * x[:, :2] * x[:, 2:], rtol=1e-6)


def test_a_tensor_that_is_an_output_too() -> None:
    proto = graphs.elu_mlp()
    proto.graph.output.append(value("elu0", ["N", 100]))
    second = assert_cut(proto, "elu0", {"x": graphs.samples(0, 3, 2)})
    assert outputs_of(second) == ["y", "elu0"]


MODELS: list[tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = [
    (graphs.residual_net, (2, 3, 6, 8)),
    (graphs.transformer, (2, 4, 6)),
    (graphs.lstm_net, (2, 5, 3)),
    (graphs.if_net, (1, 5)),
    (graphs.loop_net, (2, 5)),
]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        pytest.param(make, shape, id=make.__name__, marks=[pytest.mark.slow] * (len(shape) == 3))
        for make, shape in MODELS
    ],
)
def test_every_tensor_of_a_model_can_be_cut_at(
    make: Callable[[], onnx.ModelProto], shape: tuple[int, ...]
) -> None:
    proto, x = make(), graphs.samples(1, *shape)
    seen = onnx.shape_inference.infer_shapes(proto).graph.value_info
    floats = {v.name for v in seen if v.type.tensor_type.elem_type == FLOAT}
    wanted = sorted(floats & dependents(proto.graph, ["x"]) & producers(proto.graph).keys())
    assert len(wanted) >= 2
    for tensor in wanted:
        second = assert_cut(proto, tensor, {"x": x})
        kept = [n.name for n in second.graph.node]
        assert kept == [n.name for n in proto.graph.node if n.name in kept]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ("none", "cannot perturb 'none': no node of the main graph makes"),
        ("x", "'x' as an inner tensor: it is an input; use --perturb x"),
        ("w", "'w': no node of the main graph makes"),
        ("fixed", "'fixed': it does not depend on any input"),
        ("y", "'y': no output depends on it"),
        ("size", "'size': no output depends on it"),
    ],
)
def test_what_cannot_be_cut_at(tensor: str, said: str) -> None:
    proto = graphs.conv_net()
    proto.graph.node.insert(0, node("Neg", ["w"], ["fixed"]))
    proto.graph.node.append(node("Shape", ["x"], ["size"]))
    with pytest.raises(ModelError) as of_front:
        front(proto, tensor)
    with pytest.raises(ModelError) as of_rest:
        promote(proto, tensor, FLOAT, None)
    assert said in str(of_front.value)
    assert str(of_rest.value) == str(of_front.value)


@pytest.mark.parametrize("element", ["int64", "bool", "bfloat16"])
def test_only_floats_that_can_be_fed_are_perturbed(element: str) -> None:
    with pytest.raises(ModelError, match=f"'relu': it holds {element} values; accepted are"):
        promote(graphs.conv_net(), "relu", graphs.ELEMENTS[element], None)


@pytest.mark.parametrize("ir", [3, 8])
def test_an_input_becomes_a_constant(ir: int) -> None:
    proto = graphs.two_input_net()
    proto = graphs.model(
        proto.graph.node, proto.graph.input, proto.graph.output,
        {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}, opset=9, ir=ir,
    )  # fmt: skip
    a, b = graphs.samples(0, 3, 5), graphs.samples(1, 1, 3)
    fixed = with_constants(proto, {"b": b})
    assert input_names(fixed) == ["a"]
    wanted = graphs.run(proto, {"a": a, "b": np.repeat(b, 3, 0)})["y"]
    np.testing.assert_allclose(graphs.run(fixed, {"a": a})["y"], wanted, rtol=1e-6)
    with pytest.raises(ModelError, match="no input 'c' to fix; accepted are a, b"):
        with_constants(proto, {"c": b})


def test_a_single_number_stays_one() -> None:
    nodes = [node("Mul", ["x", "s"], ["y"])]
    proto = graphs.model(nodes, [value("x", ["N", 2]), value("s", [])], [value("y", ["N", 2])])
    fixed = with_constants(proto, {"s": np.asarray(3, np.float32)})
    assert list(fixed.graph.initializer[0].dims) == []
    x = np.array([[1, 2]], np.float32)
    np.testing.assert_array_equal(graphs.run(fixed, {"x": x})["y"], [[3, 6]])
