"""ONNX graphs as torch graphs: what is computed beforehand, inputs and outputs, and refusals."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_trainer.module import OnnxModule
from lsa_trainer.translation import Unsupported, in_dialect
from tests import graphs
from tests.graphs import Array, model, node, samples, value, weight
from tests.rewrite.whole_models import CASES, SMALL
from tests.trainer.on_torch import loaded, require_equal, run_torch


def calls(module: OnnxModule) -> Counter[str]:
    """How often each function of the operator table, or of the translator, is called."""
    return Counter(n.target.__name__ for n in module.graph.nodes if n.op == "call_function")


def constants(**arrays: Any) -> dict[str, Array]:
    return {name: np.asarray(array) for name, array in arrays.items()}


@pytest.mark.parametrize("name", [*CASES, *SMALL])
def test_every_tensor_of_whole_models(name: str, tmp_path: Path) -> None:
    case = {**CASES, **SMALL}[name]()
    module = loaded(case.proto, tmp_path, free_batch=False)
    require_equal(module, case.proto, case.feeds)


# Shape arithmetic


def flattening(*, through_int32: bool = False) -> list[onnx.NodeProto]:
    """x.reshape(x.shape[0], x.shape[1] * x.shape[2] // 2, 2), as exporters write it."""
    index = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Slice", ["shape", "one_v", "end_v"], ["rest"]),
        node("ReduceProd", ["rest"], ["flat_v"], keepdims=1),
        node("Squeeze", ["flat_v"], ["flat"]),
        node("Div", ["flat", "two"], ["half"]),
        node("Unsqueeze", ["n", "axis"], ["n_v"]),
        node("Unsqueeze", ["half", "axis"], ["half_v"]),
        node("Concat", ["n_v", "half_v", "two_v"], ["target"], axis=0),
    ]
    cast = [
        node("Cast", ["target"], ["as32"], to=TensorProto.INT32),
        node("Cast", ["as32"], ["as64"], to=TensorProto.INT64),
    ]
    name = "as64" if through_int32 else "target"
    return [*index, *(cast if through_int32 else []), node("Reshape", ["x", name], ["y"])]


FLATTENING = constants(zero=0, one_v=[1], end_v=[3], two=2, axis=[0], two_v=[2])


@pytest.mark.parametrize("through_int32", [False, True])
@pytest.mark.parametrize("shape", [["N", 4, 6], ["N", "C", "W"]])
def test_shape_arithmetic_is_folded(shape: list[Any], through_int32: bool, tmp_path: Path) -> None:
    nodes = flattening(through_int32=through_int32)
    proto = model(nodes, [value("x", shape)], [value("y", None)], FLATTENING, opset=18)
    module = loaded(proto, tmp_path)
    for count in (1, 2, 5):
        require_equal(module, proto, {"x": samples(count, count, 4, 6)})
    found = calls(module)
    free = sum(isinstance(d, str) for d in shape)
    assert found == {"size": free, "reshape": 1} | ({"mul": 1, "quotient": 1} if free > 1 else {})
    assert all(not name.startswith("constant") for name, _ in module.named_buffers())


def test_padding_from_sizes_is_truncated_as_onnx_does(tmp_path: Path) -> None:
    """(5 - n) / 2 of either sign, known only when the model runs."""
    nodes = [
        node("Shape", ["x"], ["n"], start=1, end=2),
        node("Sub", ["five", "n"], ["missing"]),
        node("Div", ["missing", "two"], ["pad"]),
        node("Concat", ["zero", "pad", "zero", "pad"], ["pads"], axis=0),
        node("Pad", ["x", "pads"], ["y"]),
    ]
    weights = constants(five=[5], two=[2], zero=[0])
    proto = model(nodes, [value("x", ["N", "W"])], [value("y", None)], weights, opset=18)
    module = loaded(proto, tmp_path)
    for width in (2, 4, 5, 8, 10):
        require_equal(module, proto, {"x": samples(width, 3, width)})
        require_equal(module, proto, {"x": -samples(width, 2, width)})


def test_what_shape_arithmetic_cannot_settle_is_a_tensor(tmp_path: Path) -> None:
    """The square root of a size, and a mask of positions."""
    nodes = [
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Cast", ["n"], ["n_f"], to=TensorProto.FLOAT),
        node("Sqrt", ["n_f"], ["root"]),
        node("Div", ["x", "root"], ["scaled"]),
        node("Squeeze", ["n"], ["end"]),
        node("Range", ["zero", "end", "one"], ["rows"]),
        node("Unsqueeze", ["rows", "axis"], ["column"]),
        node("Cast", ["column"], ["column_f"], to=TensorProto.FLOAT),
        node("Add", ["scaled", "column_f"], ["y"]),
    ]
    weights = constants(zero=0, one=1, axis=[1])
    proto = model(nodes, [value("x", ["N", 3])], [value("y", None)], weights, opset=18)
    module = loaded(proto, tmp_path)
    for count in (1, 4):
        require_equal(module, proto, {"x": samples(count, count, 3)})


def test_nodes_of_constants_are_computed_once(tmp_path: Path) -> None:
    nodes = [
        node("Exp", ["k"], ["e"]),
        node("ConstantOfShape", ["size"], ["zeros"]),
        node("Concat", ["e", "zeros"], ["both"], axis=0),
        node("Mul", ["x", "both"], ["y"]),
    ]
    weights = {"k": samples(0, 3), "size": np.array([2])}
    proto = model(nodes, [value("x", ["N", 5])], [value("y", ["N", 5])], weights)
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": samples(1, 2, 5)})
    assert calls(module) == {"mul": 1}


def test_random_numbers_are_drawn_in_every_run(tmp_path: Path) -> None:
    nodes = [
        node("RandomNormal", [], ["noise"], shape=[4, 5]),
        node("Add", ["x", "noise"], ["y"]),
    ]
    proto = model(nodes, [value("x", [4, 5])], [value("y", [4, 5])])
    module = loaded(proto, tmp_path)
    feeds = {"x": samples(0, 4, 5)}
    assert not np.array_equal(run_torch(module, feeds)["y"], run_torch(module, feeds)["y"])


# Inputs and outputs


def test_inputs_of_several_types_and_an_output_that_is_an_input(tmp_path: Path) -> None:
    nodes = [
        node("Gather", ["table", "ids"], ["rows"]),
        node("Where", ["mask", "rows", "x"], ["y"]),
    ]
    inputs = [
        value("ids", ["N"], "int64"),
        value("mask", ["N", 1], "bool"),
        value("x", ["N", 4]),
        value("unused", ["N"]),
    ]
    outputs = [value("y", ["N", 4]), value("ids", ["N"], "int64"), value("rows", ["N", 4])]
    proto = model(nodes, inputs, outputs, {"table": weight(0, 6, 4)})
    module = loaded(proto, tmp_path)
    assert module.input_names == ("ids", "mask", "x", "unused")
    feeds = {
        "ids": np.array([5, 0, 3]),
        "mask": np.array([[True], [False], [True]]),
        "x": samples(1, 3, 4),
        "unused": samples(2, 3),
    }
    require_equal(module, proto, feeds)
    y, ids, _rows = module(*(torch.from_numpy(feeds[name]) for name in module.input_names))
    assert (y.shape, ids.tolist()) == ((3, 4), [5, 0, 3])


def test_outputs_that_are_constants(tmp_path: Path) -> None:
    """A weight, a constant, and one that a node makes of constants."""
    nodes = [
        node("Gemm", ["x", "w"], ["y"]),
        node("Add", ["k", "k"], ["twice"]),
    ]
    outputs = [
        value("y", ["N", 3]),
        value("w", [4, 3]),
        value("k", [2], "int64"),
        value("twice", [2], "int64"),
    ]
    weights = {"w": weight(0, 4, 3), "k": np.array([3, 4])}
    proto = model(nodes, [value("x", ["N", 4])], outputs, weights)
    module = loaded(proto, tmp_path)
    _y, w, k, twice = module(torch.ones(2, 4))
    np.testing.assert_array_equal(w.detach().numpy(), weights["w"])
    assert (k.tolist(), twice.tolist()) == ([3, 4], [6, 8])


def test_an_initializer_that_nobody_reads(tmp_path: Path) -> None:
    proto = graphs.conv_net()
    proto.graph.initializer.append(numpy_helper.from_array(weight(9, 5), "left over"))
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": samples(0, 2, 3, 5, 7)})
    assert set(module.state_dict()) == {"w", "v", "c"}


def test_a_scalar_input(tmp_path: Path) -> None:
    nodes = [node("Mul", ["x", "k"], ["y"])]
    proto = model(nodes, [value("x", ["N", 3]), value("k", [])], [value("y", ["N", 3])])
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": samples(0, 2, 3), "k": np.asarray(0.5, np.float32)})


# What cannot be run


def test_all_nodes_that_cannot_be_run_are_named_at_once() -> None:
    inner = helper.make_graph(
        [helper.make_node("Special", ["h"], ["i"], "inner one", domain="my.domain")],
        "body",
        [],
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, None)],
    )
    nodes = [
        node("Special", ["x"], ["h"], name="first", domain="my.domain"),
        helper.make_node("Special", ["h"], ["g"], domain="my.domain"),
        node("ReduceMax", ["g"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["yes"]),
        node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner),
        node("Cast", ["z"], ["y"], to=TensorProto.INT4, name="as four bits"),
    ]
    weights, imports = constants(zero=np.float32(0)), {"my.domain": 1}
    x, y = value("x", ["N", 3]), value("y", None)
    proto = model(nodes, [x], [y], weights, imports=imports, opset=21)
    with pytest.raises(Unsupported) as caught:
        in_dialect(proto)
    reasons = {(m.node.name or m.node.output[0]): m.reason for m in caught.value.nodes}
    assert set(reasons) == {"first", "g", "inner one", "as four bits"}
    assert reasons["first"] == "not in the operator table"
    assert reasons["as four bits"] == "element type INT4 is not supported"
    text = str(caught.value)
    assert text.startswith(
        "5 nodes cannot be run in PyTorch: my.domain::Special 'first' (not in the"
    )
    assert "my.domain::Special 'g'" in text
    assert "\n" not in text


def test_a_long_list_is_cut_short_but_kept() -> None:
    nodes = [node("Special", ["x"], [f"y{i}"], domain="my.domain") for i in range(11)]
    proto = model(nodes, [value("x", ["N"])], [value("y10", None)], imports={"my.domain": 1})
    with pytest.raises(Unsupported, match=re.escape("11 nodes cannot be run in PyTorch")) as caught:
        in_dialect(proto)
    assert len(caught.value.nodes) == 11
    assert "and 3 more" in str(caught.value)


@pytest.mark.parametrize("name", ["words", "fixed words"])
def test_text_is_refused(name: str) -> None:
    nodes = [node("Equal", ["words", "fixed words"], ["y"])]
    text = helper.make_tensor_value_info("words", TensorProto.STRING, ["N"])
    proto = model(nodes, [text], [value("y", ["N"], "bool")], opset=19)
    fixed = numpy_helper.from_array(np.array(["a"], object), "fixed words")
    proto.graph.initializer.append(fixed)
    if name == "fixed words":
        proto.graph.node[0].input[0] = "fixed words"
        proto.graph.input[0].CopyFrom(value("words", ["N"]))
    with pytest.raises(ModelError, match=f"tensor '{name}' holds text"):
        in_dialect(proto)
