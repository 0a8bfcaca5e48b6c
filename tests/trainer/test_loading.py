"""Files as modules: batches that are freed, half precision, external data, local functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import UnsafeModelError
from lsa_trainer import load
from tests import graphs
from tests.graphs import Array, model, node, run, samples, save, save_external, value, weight
from tests.trainer.on_torch import loaded, require_equal, run_torch

# Batches of one


@pytest.mark.parametrize("shape", [(1, 60), (1, -1), (-1, 60)])
def test_a_batch_of_one_is_freed(shape: tuple[int, ...], tmp_path: Path) -> None:
    proto = graphs.fixed_batch_net(shape)
    module = loaded(proto, tmp_path)
    assert module.batch_is_free
    x = samples(0, 3, 3, 5, 7)
    together = run_torch(module, {"x": x})["y"]
    apart = [run(proto, {"x": each[None]})["y"] for each in x]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-4, atol=1e-6)
    require_equal(module, proto, {"x": x[:1]})


def test_a_batch_of_one_is_kept_where_asked(tmp_path: Path) -> None:
    module = loaded(graphs.fixed_batch_net(), tmp_path, free_batch=False)
    assert not module.batch_is_free
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        module(torch.ones(3, 3, 5, 7))


def recurrent_net() -> onnx.ModelProto:
    """An LSTM with states for one sample, and a batch of 1 in its input."""
    nodes = [
        node("Transpose", ["x"], ["seq"], perm=[1, 0, 2]),
        node("LSTM", ["seq", "w", "r", "", "", "h", "c"], ["", "last"], hidden_size=4),
        node("Squeeze", ["last", "axis"], ["y"]),
    ]
    weights: dict[str, Array] = {
        "w": weight(0, 1, 16, 3),
        "r": weight(1, 1, 16, 4),
        "h": weight(2, 1, 1, 4),
        "c": weight(3, 1, 1, 4),
        "axis": np.array([0]),
    }
    return model(nodes, [value("x", [1, 5, 3])], [value("y", [1, 4])], weights)


def mixing_net() -> onnx.ModelProto:
    """Runs on any batch, but a sample's result depends on the others."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["x", "mean"], ["y"]),
    ]
    return model(nodes, [value("x", [1, 3])], [value("y", [1, 3])])


@pytest.mark.parametrize("net", [recurrent_net, mixing_net])
def test_a_batch_that_cannot_be_freed_is_native(net: Any, tmp_path: Path) -> None:
    proto = net()
    module = loaded(proto, tmp_path)
    assert not module.batch_is_free
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    require_equal(module, proto, {"x": samples(0, *shape)})


def test_batches_of_integers_are_told_apart(tmp_path: Path) -> None:
    """Only rows that differ can tell that the first one is used for all."""
    nodes = [
        node("Gather", ["ids", "first"], ["one"], axis=0),
        node("Expand", ["one", "shape"], ["all"]),
        node("Gather", ["table", "all"], ["y"]),
    ]
    weights = {"first": np.array([0]), "shape": np.array([1, 2]), "table": weight(0, 6, 4)}
    proto = model(nodes, [value("ids", [1, 2], "int64")], [value("y", None)], weights)
    assert not loaded(proto, tmp_path).batch_is_free
    nodes = [node("Gather", ["table", "ids"], ["y"])]
    proto = model(nodes, [value("ids", [1, 2], "int64")], [value("y", None)], weights)
    assert loaded(proto, tmp_path).batch_is_free


# Half precision


def half_net(dtype: str) -> onnx.ModelProto:
    """Constants of every kind that names the type: weights, tensors in attributes, casts."""
    element = graphs.ELEMENTS[dtype]
    kind = helper.tensor_dtype_to_np_dtype(element)
    one = numpy_helper.from_array(np.ones(1).astype(kind))
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Shape", ["h"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["ones"], value=one),
        node("MatMul", ["h", "v"], ["m"]),
        node("Cast", ["m"], ["wide"], to=TensorProto.FLOAT),
        node("Softmax", ["wide"], ["p"], axis=-1),
        node("Cast", ["p"], ["narrow"], to=element),
        node("Add", ["ones", "h"], ["raised"]),
        node("MatMul", ["raised", "u"], ["z"]),
        node("Add", ["z", "narrow"], ["y"]),
    ]
    shapes = {"w": (5, 4), "v": (4, 3), "u": (4, 3)}
    weights = {n: weight(i, *s).astype(kind) for i, (n, s) in enumerate(shapes.items())}
    return model(nodes, [value("x", ["N", 5], dtype)], [value("y", ["N", 3], dtype)], weights)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_promoted(dtype: str, tmp_path: Path) -> None:
    proto = half_net(dtype)
    x = samples(0, 3, 5).astype(np.float16 if dtype == "float16" else ml_dtypes.bfloat16)
    module = loaded(proto, tmp_path, promote_half=True)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    single = run_torch(module, {"x": x.astype(np.float32)})["y"]
    assert single.dtype == np.float32
    as_it_is = loaded(proto, tmp_path)
    half = run_torch(as_it_is, {"x": x})["y"]
    assert half.dtype == x.dtype
    np.testing.assert_allclose(single, half.astype(np.float32), atol=2e-2)
    if dtype == "float16":
        np.testing.assert_allclose(half, run(proto, {"x": x})["y"], atol=5e-3)


# Files


@pytest.mark.parametrize("free_batch", [True, False])
def test_external_data(free_batch: bool, tmp_path: Path) -> None:
    proto = graphs.fixed_batch_net()
    path = save_external(proto, tmp_path / "model.onnx")
    module = load(path, free_batch=free_batch)
    require_equal(module, proto, {"x": samples(0, 1, 3, 5, 7)})
    assert {w.name for w in module.trained()} == {"w", "v"}


def test_external_data_elsewhere_is_refused(tmp_path: Path) -> None:
    path = save_external(graphs.conv_net(), tmp_path / "model.onnx")
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../weights.data"
    save(proto, path)
    with pytest.raises(UnsafeModelError, match=r"weights\.data"):
        load(path)


def test_what_is_in_a_local_function_runs_and_does_not_train(tmp_path: Path) -> None:
    inner = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(weight(1, 4, 4))),
        helper.make_node("MatMul", ["a", "k"], ["b"]),
    ]
    function = helper.make_function(
        "my.domain", "Layer", ["a"], ["b"], inner, [helper.make_opsetid("", 17)]
    )
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Layer", ["h"], ["y"], domain="my.domain"),
    ]
    proto = model(
        nodes,
        [value("x", ["N", 5])],
        [value("y", ["N", 4])],
        {"w": weight(0, 5, 4)},
        imports={"my.domain": 1},
        functions=[function],
    )
    module = loaded(proto, tmp_path)
    x = samples(2, 3, 5)
    np.testing.assert_allclose(
        run_torch(module, {"x": x})["y"], run(proto, {"x": x})["y"], rtol=1e-4, atol=1e-6
    )
    w, k = module.constants.weights
    assert (w.name, w.frozen) == ("w", "")
    assert k.frozen.startswith("not in the main graph of the file")
    assert module.constants.share == 20 / 36


def test_initializers_that_are_listed_as_inputs(tmp_path: Path) -> None:
    proto = graphs.conv_net(8, ir=3)
    module = loaded(proto, tmp_path)
    assert module.input_names == ("x",)
    require_equal(module, proto, {"x": samples(0, 3, 3, 5, 7)})
