"""Which constants of a file train: by the place where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from tests import graphs
from tests.graphs import Array, node, samples, value, weight
from tests.trainer.constants_of import found, roles, weight_of
from tests.trainer.on_torch import loaded

IMAGES = [value("x", ["N", 3, 5, 7])]


@pytest.mark.parametrize(
    ("nodes", "shapes", "trains"),
    [
        ([node("MatMul", ["x", "w"], ["y"])], {"w": (6, 4)}, {"w"}),
        ([node("MatMul", ["w", "x"], ["y"])], {"w": (4, 5)}, {"w"}),
        ([node("Gemm", ["x", "w", "b"], ["y"])], {"w": (6, 4), "b": (4,)}, {"w", "b"}),
        ([node("Gemm", ["w", "x"], ["y"], transB=1)], {"w": (4, 6)}, {"w"}),
        ([node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])], {"w": (6, 4), "b": (4,)}, {"w", "b"}),
        ([node("MatMul", ["x", "w"], ["h"]), node("Sub", ["b", "h"], ["y"])], {"w": (6, 4), "b": (4,)}, {"w", "b"}),
        ([node("MatMul", ["x", "w"], ["h"]), node("Mul", ["h", "k"], ["y"])], {"w": (6, 4), "k": ()}, {"w"}),
        ([node("MatMul", ["x", "w"], ["h"]), node("PRelu", ["h", "s"], ["y"])], {"w": (6, 4), "s": (4,)}, {"w", "s"}),
        (
            [node("MatMul", ["x", "w"], ["h"]), node("LayerNormalization", ["h", "s", "b"], ["y"])],
            {"w": (6, 4), "s": (4,), "b": (4,)},
            {"w", "s", "b"},
        ),
        ([node("Sub", ["x", "mean"], ["c"]), node("Div", ["c", "std"], ["n"]), node("MatMul", ["n", "w"], ["y"])],
         {"mean": (6,), "std": (6,), "w": (6, 4)}, {"w"}),
        ([node("Einsum", ["x", "w"], ["y"], equation="ni,io->no")], {"w": (6, 4)}, {"w"}),
        ([node("MatMul", ["x", "w"], ["h"]), node("Max", ["h", "k"], ["y"])], {"w": (6, 4), "k": (4,)}, {"w"}),
    ],
)  # fmt: skip
def test_places(
    nodes: list[onnx.NodeProto], shapes: dict[str, Any], trains: set[str], tmp_path: Path
) -> None:
    weights = {name: weight(i, *shape) for i, (name, shape) in enumerate(shapes.items())}
    x = [value("x", [5, 6])] if nodes[0].input[0] == "w" else None
    module = found(nodes, weights, tmp_path, x)
    assert roles(module) == dict.fromkeys(trains, "trains")
    assert module.constants.trainable == sum(weights[name].size for name in trains)
    assert module.constants.share == 1


def test_convolutions_and_statistics(tmp_path: Path) -> None:
    nodes = [
        node("Sub", ["x", "mean"], ["c0"]),
        node("Conv", ["c0", "w", "b"], ["c"]),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"]),
        node("ConvTranspose", ["n", "u"], ["y"]),
    ]
    weights = {
        "mean": weight(0, 3, 1, 1),
        "w": weight(1, 4, 3, 1, 1),
        "u": weight(2, 4, 2, 2, 2),
        "v": samples(3, 4) + 0.5,
        **{name: weight(i, 4) for i, name in enumerate("bsom")},
    }
    module = found(nodes, weights, tmp_path, IMAGES)
    expected = dict.fromkeys("wbsou", "trains") | dict.fromkeys("mv", "statistics")
    assert roles(module) == expected
    assert weight_of(module, "s").layer == "n"
    assert weight_of(module, "s").shape == (4,)


def test_recurrent_weights(tmp_path: Path) -> None:
    module = loaded(graphs.lstm_net(), tmp_path)
    assert roles(module) == {"w": "trains", "r": "trains", "v": "trains"}


@pytest.mark.parametrize("learnt", [True, False])
def test_first_states_are_weights_if_they_were_learnt(learnt: bool, tmp_path: Path) -> None:
    nodes = [
        node("Expand", ["c", "shape"], ["first c"]),
        node("LSTM", ["x", "w", "r", "", "", "h", "first c"], ["y"], hidden_size=4),
    ]
    weights: dict[str, Array] = {
        "w": weight(0, 1, 16, 3),
        "r": weight(1, 1, 16, 4),
        "h": weight(2, 1, 2, 4) if learnt else np.zeros((1, 2, 4), np.float32),
        "c": weight(3, 1, 1, 4) if learnt else np.zeros(1, np.float32),
        "shape": np.array([1, 2, 4]),
    }
    module = found(nodes, weights, tmp_path, [value("x", [5, 2, 3])])
    names = ["w", "r", *(["h", "c"] if learnt else [])]
    assert roles(module) == dict.fromkeys(names, "trains")


def test_embeddings_and_positions(tmp_path: Path) -> None:
    """Tables that the input reads train, and so do positions that are added; rows of the input do not."""
    nodes = [
        node("Gather", ["table", "ids"], ["tokens"]),
        node("Gather", ["positions", "places"], ["at"]),
        node("Add", ["tokens", "at"], ["h"]),
        node("LayerNormalization", ["h", "one", "shift"], ["n"]),
        node("Gather", ["n", "first"], ["y"], axis=1),
    ]
    weights = {
        "table": weight(0, 9, 4),
        "positions": weight(1, 8, 4),
        "places": np.arange(5),
        "one": weight(2, 4),
        "shift": weight(3, 4),
        "first": np.array(0),
    }
    module = found(nodes, weights, tmp_path, [value("ids", ["N", 5], "int64")])
    assert roles(module) == dict.fromkeys(["table", "positions", "one", "shift"], "trains")
    assert weight_of(module, "positions").layer == "h"


def test_positions_of_a_vision_transformer(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Reshape", ["c", "shape"], ["t"]),
        node("Add", ["t", "positions"], ["y"]),
    ]
    weights = {"w": weight(0, 4, 3, 1, 1), "shape": np.array([0, 4, 35])}
    module = found(nodes, {**weights, "positions": weight(1, 1, 4, 35)}, tmp_path, IMAGES)
    assert roles(module) == {"w": "trains", "positions": "trains"}


def test_a_class_token_trains_and_padding_does_not(tmp_path: Path) -> None:
    """The token is expanded to the batch, and positions are cut to the length of the sequence."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Concat", ["n", "ones"], ["shape"], axis=0),
        node("Expand", ["token", "shape"], ["tokens"]),
        node("Concat", ["tokens", "h", "padding"], ["all"], axis=1),
        node("Shape", ["all"], ["length"], start=1, end=2),
        node("Slice", ["positions", "zero", "length", "axis"], ["at"]),
        node("Add", ["all", "at"], ["y"]),
    ]
    weights = {
        "w": weight(0, 6, 4),
        "ones": np.array([1, 1]),
        "token": weight(1, 1, 1, 4),
        "padding": np.zeros((1, 2, 4), np.float32),
        "positions": weight(2, 1, 9, 4),
        "zero": np.array([0]),
        "axis": np.array([1]),
    }
    module = found(nodes, weights, tmp_path, [value("x", [1, "T", 6])])
    assert roles(module) == dict.fromkeys(["w", "token", "positions"], "trains")
    assert [weight_of(module, n).layer for n in ("token", "positions")] == ["all", "y"]


def test_a_tied_embedding_stays_tied(tmp_path: Path) -> None:
    nodes = [
        node("Gather", ["table", "ids"], ["h"]),
        node("Transpose", ["table"], ["columns"], perm=[1, 0]),
        node("MatMul", ["h", "columns"], ["y"]),
    ]
    module = found(nodes, {"table": weight(0, 9, 4)}, tmp_path, [value("ids", ["N"], "int64")])
    (table,) = module.constants.weights
    assert (table.name, table.use, table.trains) == ("table", None, True)
    module(torch.tensor([1, 3])).sum().backward()
    rows = module.weight("table").grad
    assert rows is not None
    assert bool((rows != 0).all())


def test_weights_in_constant_nodes(tmp_path: Path) -> None:
    nodes = [
        node("Constant", [], ["w"], value=numpy_helper.from_array(weight(0, 6, 4))),
        node("Constant", [], ["half"], value_float=0.5),
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "half"], ["y"]),
    ]
    module = found(nodes, {}, tmp_path)
    assert roles(module) == {"w": "trains"}
    assert weight_of(module, "w").source == "w"


def test_weights_behind_moves_and_arithmetic_of_constants(tmp_path: Path) -> None:
    """A kernel put together of parts, and one with a norm of its own (weight normalisation)."""
    nodes = [
        node("Concat", ["a", "b"], ["ab"], axis=0),
        node("Reshape", ["ab", "shape"], ["flat"]),
        node("Transpose", ["flat"], ["w"], perm=[1, 0]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Pow", ["v", "two"], ["squares"]),
        node("ReduceSum", ["squares", "axis"], ["sum"]),
        node("Add", ["sum", "tiny"], ["sure"]),
        node("Sqrt", ["sure"], ["norm"]),
        node("Div", ["v", "norm"], ["unit"]),
        node("Mul", ["unit", "g"], ["u"]),
        node("MatMul", ["h", "u"], ["y"]),
    ]
    weights = {
        "a": weight(0, 6, 2),
        "b": weight(1, 6, 2),
        "shape": np.array([4, 6]),
        "v": weight(2, 4, 5),
        "g": weight(3, 5),
        "two": np.asarray(2, np.float32),
        "tiny": np.asarray(1e-6, np.float32),
        "axis": np.array([0]),
    }
    module = found(nodes, weights, tmp_path)
    assert roles(module) == dict.fromkeys(["a", "b", "v", "g"], "trains")
    assert [weight_of(module, name).layer for name in "abvg"] == ["h", "h", "y", "y"]
    module(torch.ones(2, 6)).square().sum().backward()
    assert all(module.weight(name).grad is not None for name in "abvg")


def test_a_weight_of_a_single_number(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    module = found(nodes, {"w": weight(0, 1, 1)}, tmp_path, [value("x", ["N", 1])])
    assert roles(module) == {"w": "trains"}


def test_a_masked_attention_keeps_its_mask_where_it_is_computed(tmp_path: Path) -> None:
    """A mask through Where is no weight, whatever is chosen."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Where", ["mask", "h", "low"], ["s"]),
        node("Softmax", ["s"], ["y"]),
    ]
    weights = {"w": weight(0, 6, 4), "mask": np.array([True, True, False, True])}
    module = found(nodes, {**weights, "low": np.full(4, -1e9, np.float32)}, tmp_path)
    assert roles(module) == {"w": "trains"}


MASKS = {
    "infinite": np.triu(np.full((4, 4), -np.inf, np.float32), 1),
    "large": np.triu(np.full((4, 4), -1e9, np.float32), 1),
    "of Swin": np.array([0, 0, -100, -100], np.float32),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_that_is_added_does_not_train(mask: Array, tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Add", ["h", "mask"], ["s"]),
        node("Softmax", ["s"], ["y"]),
    ]
    module = found(nodes, {"w": weight(0, 6, 4), "mask": mask}, tmp_path, [value("x", [4, 6])])
    assert roles(module) == {"w": "trains"}


def test_a_mask_that_is_multiplied_does_not_train(tmp_path: Path) -> None:
    """As in GPT-2: s·m − 10⁴ (1 − m), where m holds ones up to the diagonal."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "m"], ["kept"]),
        node("Sub", ["one", "m"], ["rest"]),
        node("Mul", ["rest", "much"], ["away"]),
        node("Sub", ["kept", "away"], ["y"]),
    ]
    one, much = (np.array(number, np.float32) for number in (1, 1e4))
    numbers = {"m": np.tri(4, dtype=np.float32), "one": one, "much": much}
    module = found(nodes, {"w": weight(0, 6, 4), **numbers}, tmp_path, [value("x", [4, 6])])
    assert roles(module) == {"w": "trains"}


@pytest.mark.parametrize("bias", [[0, 1, 0, 1], [0, -3, 0, -3], [-200, 1, 0, 0], [5, -200, 5, 5]])
def test_a_bias_of_round_numbers_is_no_mask(bias: list[float], tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])]
    module = found(nodes, {"w": weight(0, 6, 4), "b": np.array(bias, np.float32)}, tmp_path)
    assert roles(module) == {"w": "trains", "b": "trains"}
