"""Which output tells the class, where its logits are, and what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.prediction import Head, find_head, predicted_classes
from tests import graphs


def headed(*nodes: onnx.NodeProto, shape: graphs.Shape, dtype: str = "float32") -> onnx.ModelProto:
    """A MatMul "z" to 4 scores, then ``nodes`` that make "y" of it."""
    weights = {"w": graphs.weight(0, 5, 4), "k": np.array([3], np.int64)}
    every = [graphs.node("MatMul", ["x", "w"], ["z" if nodes else "y"]), *nodes]
    inputs = [graphs.value("x", ["N", 5])]
    return graphs.model(every, inputs, [graphs.value("y", shape, dtype)], weights)


def predict(proto: onnx.ModelProto, x: graphs.Array) -> tuple[Head, list[int]]:
    head = find_head(proto)
    assert head is not None
    classes = predicted_classes(head, graphs.run(proto, {"x": x}))
    assert classes is not None
    return head, classes.tolist()


X = graphs.samples(1, 7, 5) - 0.5
CLASSES = (X @ graphs.weight(0, 5, 4)).argmax(1).tolist()


@pytest.mark.parametrize(
    ("nodes", "shape", "dtype", "kind", "logits", "found"),
    [
        ([], ["N", 4], "float32", "scores", "y", "output 'y' itself"),
        ([("Softmax", {"axis": 1})], ["N", 4], "float32", "scores", "z", "behind Softmax of"),
        ([("LogSoftmax", {"axis": 1})], ["N", 4], "float32", "scores", "z", "behind LogSoftmax of"),
        (
            [("ArgMax", {"axis": 1, "keepdims": 0})],
            ["N"],
            "int64",
            "class",
            "z",
            "behind ArgMax of",
        ),
        ([("ArgMax", {"axis": 1})], ["N", 1], "int64", "class", "z", "behind ArgMax of"),
        (
            [("Softmax", {"axis": 1}), ("ArgMax", {"axis": 1, "keepdims": 0})],
            ["N"],
            "int64",
            "class",
            "z",
            "behind ArgMax, Softmax of",
        ),
    ],
)
def test_a_class_is_read_behind_common_heads(
    nodes: list[tuple[str, dict[str, Any]]],
    shape: list[int | str | None],
    dtype: str,
    kind: str,
    logits: str,
    found: str,
) -> None:
    made = []
    for index, (op, attributes) in enumerate(nodes):
        source = "z" if index == 0 else f"s{index}"
        target = "y" if index == len(nodes) - 1 else f"s{index + 1}"
        made.append(graphs.node(op, [source], [target], **attributes))
    head, classes = predict(headed(*made, shape=shape, dtype=dtype), X)
    assert (head.output, head.kind, head.logits) == ("y", kind, logits)
    assert head.found.startswith(found)
    assert classes == CLASSES
    assert len(set(classes)) > 1


def test_topk_ranks_classes_by_its_indices() -> None:
    top = graphs.node("TopK", ["z", "k"], ["best", "y"], axis=1)
    head, classes = predict(headed(top, shape=["N", 3], dtype="int64"), X)
    assert (head.kind, head.logits) == ("ranking", "z")
    assert classes == CLASSES


@pytest.mark.parametrize("attributes", [{"largest": 0}, {"sorted": 0}, {"axis": 0}])
def test_a_topk_that_does_not_put_the_best_first_names_no_class(attributes: dict[str, int]) -> None:
    top = graphs.node("TopK", ["z", "k"], ["best", "y"], **{"axis": 1, **attributes})
    assert find_head(headed(top, shape=["N", 3], dtype="int64")) is None


def test_the_values_of_a_topk_name_no_class() -> None:
    top = graphs.node("TopK", ["z", "k"], ["y", "indices"], axis=1)
    assert find_head(headed(top, shape=["N", 3])) is None


def test_an_argmax_over_the_batch_names_no_class() -> None:
    node = graphs.node("ArgMax", ["z"], ["y"], axis=0, keepdims=0)
    assert find_head(headed(node, shape=[4], dtype="int64")) is None


def test_a_regressor_has_no_class() -> None:
    assert find_head(graphs.elu_mlp()) is None


def test_segmentation_has_no_class() -> None:
    weights = {"w": graphs.weight(0, 4, 3, 1, 1)}
    nodes = [
        graphs.node("Conv", ["x", "w"], ["z"]),
        graphs.node("Softmax", ["z"], ["y"], axis=1),
    ]
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 3, 5, 7])], [graphs.value("y", ["N", 4, 5, 7])], weights
    )
    assert find_head(proto) is None


def pooled(*spatial: int | str) -> onnx.ModelProto:
    """A convolution to 4 maps over (n, 3, 5, 7), and their mean, declared as (n, 4, ``spatial``)."""
    nodes = [
        graphs.node("Conv", ["x", "w"], ["z"]),
        graphs.node("GlobalAveragePool", ["z"], ["y"]),
    ]
    outputs = [graphs.value("y", ["N", 4, *spatial])]
    weights = {"w": graphs.weight(0, 4, 3, 2, 2)}
    return graphs.model(nodes, [graphs.value("x", ["N", 3, 5, 7])], outputs, weights)


def test_scores_may_be_an_image_of_one_pixel() -> None:
    x = graphs.samples(1, 7, 3, 5, 7) - 0.5
    head, classes = predict(pooled(1, 1), x)
    assert (head.kind, head.logits, head.found) == ("scores", "y", "output 'y' itself")
    scores = graphs.run(pooled(1, 1), {"x": x})["y"]
    assert classes == [int(np.argmax(sample[:, 0, 0])) for sample in scores]
    assert len(set(classes)) > 1


@pytest.mark.parametrize("shape", [("h", "w"), (1, "w"), (2, 1)])
def test_an_image_of_more_pixels_has_no_class(shape: tuple[int | str, ...]) -> None:
    assert find_head(pooled(*shape)) is None


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (["N", 12, 1, 1, 1], True),
        (["N", "classes", 1, 1], True),
        (["N", 12, 1], False),
        (["N", 1, 1, 1], False),
        (["N", 1], False),
        (["N"], False),
        ([], False),
    ],
)
def test_which_shapes_are_scores(shape: graphs.Shape, found: bool) -> None:
    """A forecast of twelve steps is (n, 12, 1): its largest value is no class."""
    nodes = [graphs.node("Relu", ["x"], ["y"])]
    proto = graphs.model(nodes, [graphs.value("x", shape)], [graphs.value("y", shape)])
    assert (find_head(proto) is not None) == found


def test_a_head_behind_a_softmax_is_preferred_to_a_matrix() -> None:
    proto = headed(graphs.node("Softmax", ["z"], ["y"], axis=1), shape=["N", 4])
    proto.graph.output.insert(0, graphs.value("z", ["N", 4]))
    head = find_head(proto)
    assert head is not None
    assert (head.output, head.logits) == ("y", "z")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("scores", np.array([[0.1, 0.9], [2.0, 1.0]]), [1, 0]),
        ("scores", np.array([[[[0.1]], [[0.9]]], [[[2.0]], [[1.0]]]]), [1, 0]),
        ("class", np.array([3, 1]), [3, 1]),
        ("ranking", np.array([[3, 1], [0, 2]]), [3, 0]),
        ("scores", np.array([[0.1], [0.9]]), None),
        ("class", np.array([[3, 1], [0, 2]]), None),
        ("scores", np.zeros((2, 4, 5, 7)), None),
        ("scores", np.zeros((0, 4)), None),
        ("class", np.array(["cat", "dog"]), None),
        ("scores", np.float32(1), None),
    ],
)
def test_what_an_output_says(kind: Any, values: Any, expected: list[int] | None) -> None:
    classes = predicted_classes(Head("y", kind, None, ""), {"y": values})
    assert (None if classes is None else classes.tolist()) == expected


COSTS = np.array([[0.3, 0.1, 0.2], [-5.0, 4.0, -6.0], [1.0, 1.0, 2.0]])


def test_the_lowest_score_wins_where_scores_are_costs() -> None:
    cheapest = Head("y", "scores", "y", "", lowest_wins=True)
    found = predicted_classes(cheapest, {"y": COSTS})
    assert found is not None
    assert found.tolist() == [1, 2, 0]
    assert found.dtype == np.int64


@pytest.mark.parametrize("lowest_wins", [False, True])
@pytest.mark.parametrize("op", [None, "Softmax", "LogSoftmax"])
def test_how_scores_are_read_is_the_users_to_say(op: str | None, lowest_wins: bool) -> None:
    nodes = [graphs.node(op, ["z"], ["y"], axis=1)] if op else []
    proto = headed(*nodes, shape=["N", 4])
    head = find_head(proto, lowest_wins=lowest_wins)
    assert head is not None
    assert head.lowest_wins == lowest_wins
    assert head.found.endswith(", the lowest score wins") == lowest_wins
    classes = predicted_classes(head, graphs.run(proto, {"x": X}))
    assert classes is not None
    scores = X @ graphs.weight(0, 5, 4)
    expected = scores.argmin(1) if lowest_wins else scores.argmax(1)
    assert classes.tolist() == expected.tolist()


@pytest.mark.parametrize(("op", "lowest"), [("ArgMax", False), ("ArgMin", True)])
@pytest.mark.parametrize("said", [False, True])
def test_a_model_that_chooses_the_class_itself_is_believed(
    op: str, lowest: bool, said: bool
) -> None:
    """Its answer is the class, whatever the user says of scores; the graph tells how it was chosen."""
    node = graphs.node(op, ["z"], ["y"], axis=1, keepdims=0)
    proto = headed(node, shape=["N"], dtype="int64")
    head = find_head(proto, lowest_wins=said)
    assert head is not None
    assert (head.kind, head.logits, head.lowest_wins) == ("class", "z", lowest)
    assert "lowest score wins" not in head.found
    classes = predicted_classes(head, graphs.run(proto, {"x": X}))
    assert classes is not None
    scores = X @ graphs.weight(0, 5, 4)
    assert classes.tolist() == (scores.argmin(1) if lowest else scores.argmax(1)).tolist()


def test_an_output_without_a_type_is_no_head() -> None:
    proto = graphs.conv_net()
    proto.graph.node.append(graphs.node("ArgMax", ["y"], ["place"], axis=1))
    proto.graph.output.append(onnx.ValueInfoProto(name="place"))
    head = find_head(proto)
    assert head is not None
    assert head.output == "y"
