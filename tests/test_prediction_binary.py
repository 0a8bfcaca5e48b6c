"""One score per sample that tells two classes apart: which output holds it, where its logit is, what it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.model import load_model
from lsa_onnx.prediction import (
    Decision,
    Head,
    binary_advice,
    find_head,
    find_score,
    model_head,
    predicted_classes,
)
from tests import graphs
from tests.binary_models import FORMS, Form, logits, points, scorer

if TYPE_CHECKING:
    import onnx

X, _ = points(40)
CLASSES = (logits(X) > 0).astype(np.int64).tolist()


def chain(*ops: str, shape: graphs.Shape = ("N", 1), dtype: str = "float32") -> onnx.ModelProto:
    """``ops`` one after another on "x" of shape (n, 1), the last of which makes "y"."""
    constants: dict[str, dict[str, Any]] = {
        "Clip": {"low": np.float32(1e-6), "high": np.float32(1 - 1e-6)},
        "Unsqueeze": {"axis": np.array([2], np.int64)},
        "Reshape": {"all": np.array([-1], np.int64)},
        "QuantizeLinear": {"unit": np.float32(1 / 255), "zero": np.uint8(0)},
        "DequantizeLinear": {"unit": np.float32(1 / 255), "zero": np.uint8(0)},
    }
    attributes: dict[str, dict[str, Any]] = {"Cast": {"to": graphs.ELEMENTS[dtype]}}
    nodes, current = [], "x"
    for index, op in enumerate(ops):
        name = "y" if index == len(ops) - 1 else f"t{index}"
        read = [current, *constants.get(op, {})]
        nodes.append(graphs.node(op, read, [name], **attributes.get(op, {})))
        current = name
    weights = {
        name: np.asarray(array) for op in ops for name, array in constants.get(op, {}).items()
    }
    inputs = [graphs.value("x", ["N", 1])]
    return graphs.model(nodes, inputs, [graphs.value("y", shape, dtype)], weights)


@pytest.mark.parametrize("form", FORMS)
def test_a_score_is_read_as_what_it_is(form: Form) -> None:
    proto = scorer(form)
    head = find_score(proto)
    assert head is not None
    probability = "probability" in form
    assert (head.output, head.kind, head.binary) == ("y", "score", True)
    assert head.logits == ("z" if probability else "y")
    assert head.threshold == (0.5 if probability else 0.0)
    assert head.found == (
        "behind Sigmoid of output 'y', class 1 above 0.5"
        if probability
        else "output 'y' itself, class 1 above 0"
    )
    classes = predicted_classes(head, graphs.run(proto, {"x": X}))
    assert classes is not None
    assert (str(classes.dtype), classes.tolist()) == ("int64", CLASSES)
    assert 0 < sum(CLASSES) < len(CLASSES)


@pytest.mark.parametrize(
    ("ops", "logits", "threshold"),
    [
        (("Sigmoid",), "x", 0.5),
        (("Relu", "Sigmoid"), "t0", 0.5),
        (("Sigmoid", "Clip"), "x", 0.5),
        (("Sigmoid", "Cast"), "x", 0.5),
        (("Sigmoid", "Reshape", "Identity"), "x", 0.5),
        (("Sigmoid", "QuantizeLinear", "DequantizeLinear"), "x", 0.5),
        # Nothing here says that it is a probability.
        (("Clip",), "y", 0.0),
        (("Sigmoid", "Log"), "y", 0.0),
    ],
)
def test_what_a_probability_may_pass(ops: tuple[str, ...], logits: str, threshold: float) -> None:
    proto = chain(*ops, shape=["N"] if "Reshape" in ops else ["N", 1])
    head = find_score(proto)
    assert head is not None
    assert (head.logits, head.threshold) == (logits, threshold)
    found = predicted_classes(head, graphs.run(proto, {"x": np.array([[-3], [4]], np.float32)}))
    assert found is not None
    assert len(found) == 2
    if threshold and ops[0] == "Sigmoid":
        assert found.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("shape", "found", "certain"),
    [
        (["N", 1], True, True),
        (["N"], True, True),
        ([1, 1], True, True),
        (["N", 1, 1, 1], True, True),
        (["N", "scores"], True, False),
        (None, True, False),
        ([], True, False),
        (["N", 2], False, False),
        (["N", 1, 4], False, False),
        (["N", 4, "width"], False, False),
    ],
)
def test_which_shapes_hold_one_score(
    shape: graphs.Shape | None, found: bool, certain: bool
) -> None:
    nodes = [graphs.node("Relu", ["x"], ["y"])]
    proto = graphs.model(nodes, [graphs.value("x", shape)], [graphs.value("y", shape)])
    assert (find_score(proto) is not None) == found
    assert (find_score(proto, declared=True) is not None) == certain


def test_the_output_behind_a_sigmoid_is_preferred() -> None:
    proto = scorer("probability")
    proto.graph.output.insert(0, graphs.value("z", ["N", 1]))
    proto.graph.output.insert(0, graphs.value("fc1", ["N", "wide"]))
    head = find_score(proto)
    assert head is not None
    assert (head.output, head.logits, head.threshold) == ("y", "z", 0.5)


@pytest.mark.parametrize(
    ("values", "threshold", "expected"),
    [
        (np.array([[-0.1], [0.0], [0.1]]), 0.0, [0, 0, 1]),
        (np.array([0.49, 0.5, 0.51], np.float16), 0.5, [0, 0, 1]),
        (np.array([[[-np.inf]], [[np.inf]], [[np.nan]]]), 0.0, [0, 1, 0]),
        (np.array([[0.1, 0.9]]), 0.0, None),
        (np.float32(1), 0.0, None),
        (np.array(["cat"]), 0.0, None),
    ],
)
def test_what_a_score_says(values: Any, threshold: float, expected: list[int] | None) -> None:
    head = Head("y", "score", "y", "", threshold=threshold)
    classes = predicted_classes(head, {"y": values})
    assert (None if classes is None else classes.tolist()) == expected


@pytest.mark.parametrize("decision", get_args(Decision))
def test_the_user_says_how_two_scores_are_read(tmp_path: Path, decision: Decision) -> None:
    proto = scorer()
    proto.graph.output.append(graphs.value("fc0", ["N", 16]))
    model = load_model(str(graphs.save(proto, tmp_path / "m.onnx")))
    head = model_head(model, decision)
    seen = None if head is None else (head.output, head.kind, head.lowest_wins)
    expected = {
        "max": ("fc0", "scores", False),
        "min": ("fc0", "scores", True),
        "binary": ("y", "score", False),
        "none": None,
    }
    assert seen == expected[decision]


def test_a_regressor_of_several_outputs_has_no_class_if_the_user_says_so(tmp_path: Path) -> None:
    proto = graphs.conv_net()
    model = load_model(str(graphs.save(proto, tmp_path / "m.onnx")))
    assert find_head(proto) is not None
    assert model_head(model, "none") is None


def test_without_such_an_output_the_user_is_told(tmp_path: Path) -> None:
    nodes = [graphs.node("Softmax", ["x"], ["y"], axis=1), graphs.node("ArgMax", ["y"], ["k"])]
    outputs = [graphs.value("y", ["N", 3]), graphs.value("k", [1, 3], "int64")]
    proto = graphs.model(nodes, [graphs.value("x", ["N", 3])], outputs)
    model = load_model(str(graphs.save(proto, tmp_path / "m.onnx")))
    pattern = r"^--decision binary needs an output of one float .*'y' \['N', 3\] float32, 'k' .*use --decision max"
    with pytest.raises(DataError, match=pattern) as caught:
        model_head(model, "binary")
    assert "\n" not in str(caught.value)


def test_advice_is_given_where_one_score_is_declared(tmp_path: Path) -> None:
    one = load_model(str(graphs.save(scorer(), tmp_path / "one.onnx")))
    assert binary_advice(one) == "if 'y' is the score of two classes, give --decision binary; "
    many = load_model(str(graphs.save(graphs.conv_net(), tmp_path / "many.onnx")))
    assert binary_advice(many) == ""
