"""``OnnxModule``: an ordinary torch module, with views that read tensors inside."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import ModelError, UnsafeModelError
from lsa_trainer import load
from lsa_trainer.module import OnnxModule
from tests import graphs
from tests.graphs import Array, model, node, run, samples, save, save_external, value, weight
from tests.trainer.on_torch import loaded, require_equal, run_torch


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(samples(seed, *shape))


def residual(folder: Path) -> OnnxModule:
    return loaded(graphs.residual_net(), folder)


# Views


def test_a_view_returns_what_it_is_asked_for(tmp_path: Path) -> None:
    x = samples(0, 2, 3, 6, 8)
    view = residual(tmp_path).reading(["r1", "y", "x"])
    found = view(torch.from_numpy(x))
    assert list(found) == ["r1", "y", "x"]
    exposed = run(onnx.ModelProto.FromString(_exposed("r1")), {"x": x})
    np.testing.assert_allclose(found["r1"].detach(), exposed["r1"], rtol=1e-4, atol=1e-5)


def _exposed(name: str) -> bytes:
    proto = graphs.residual_net()
    proto.graph.output.append(value(name, None))
    serialized: bytes = proto.SerializeToString()
    return serialized


def test_a_view_computes_nothing_else(tmp_path: Path) -> None:
    view = residual(tmp_path).reading(["r1"])
    made = [n.target.__name__ for n in view.graph.nodes if n.op == "call_function"]
    assert made == ["conv", "relu", "conv", "relu"]
    assert {name for name, _ in view.named_parameters()} == {"w0", "w1"}
    with pytest.raises(KeyError, match="'wf'"):
        dict(view.named_parameters())["wf"]


def test_a_view_without_what_is_random(tmp_path: Path) -> None:
    """An unread branch that fails is not run."""
    nodes = [
        node("Reshape", ["x", "impossible"], ["bad"]),
        node("Neg", ["x"], ["good"]),
        node("Concat", ["bad", "good"], ["y"], axis=0),
    ]
    weights = {"impossible": np.array([7, 7])}
    proto = model(nodes, [value("x", ["N", 3])], [value("y", None)], weights)
    module = loaded(proto, tmp_path)
    assert module.reading(["good"])(tensor(2, 3))["good"].shape == (2, 3)
    with pytest.raises(RuntimeError, match="shape"):
        module(tensor(2, 3))


def test_views_share_parameters_and_the_mode(tmp_path: Path) -> None:
    module = residual(tmp_path)
    module.train()
    view = module.reading(["r2"])
    assert view.training
    assert view.weight("w0") is module.weight("w0")
    x = tensor(2, 3, 6, 8)
    before = view(x)["r2"].detach()
    with torch.no_grad():
        module.weight("w0").mul_(2)
    assert not torch.equal(view(x)["r2"], before)
    view(x)["r2"].sum().backward()
    assert module.weight("w0").grad is not None
    # What the view does not read is reached by name all the same.
    assert view.weight("wf") is module.weight("wf")


def test_a_tensor_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no tensor 'r9' to read: .* `lsa-onnx layers`"):
        residual(tmp_path).reading(["r1", "r9"])


def test_a_weight_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="'w9'"):
        residual(tmp_path).weight("w9")


def test_tensor_names_are_in_the_order_of_the_graph(tmp_path: Path) -> None:
    proto = graphs.residual_net()
    made = [n.output[0] for n in proto.graph.node]
    assert loaded(proto, tmp_path).tensor_names == ["x", *made]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual_net", "transformer", "lstm_net"])
def test_compiled(name: str, tmp_path: Path) -> None:
    """Under ``torch.compile``, with batches of several sizes, views included."""
    proto = getattr(graphs, name)()
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    view = loaded(proto, tmp_path).reading(["y"])
    compiled = torch.compile(view, backend="aot_eager", fullgraph=True)
    for count in (2, 3, 5):
        x = tensor(count, *shape).requires_grad_()
        given = x.detach().clone().requires_grad_()
        ours, plain = compiled(x)["y"], view(given)["y"]
        torch.testing.assert_close(ours, plain)
        ours.square().sum().backward()
        plain.square().sum().backward()
        torch.testing.assert_close(x.grad, given.grad)


# Copies, state and types


def test_a_deep_copy_is_on_its_own(tmp_path: Path) -> None:
    module = residual(tmp_path)
    x = tensor(2, 3, 6, 8)
    before = module(x).detach()
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    torch.testing.assert_close(module(x), before)
    assert copied(x).abs().max() == 0
    assert copied.weight("w0") is dict(copied.named_parameters())["w0"]
    view = copy.deepcopy(module.reading(["r1"]))
    assert list(view(x)) == ["r1"]
    assert view.weight("w0") is not module.weight("w0")


def masked_net() -> onnx.ModelProto:
    """A mask of pixels, a convolution, and a BatchNormalization."""
    nodes = [
        node("Mul", ["x", "mask"], ["m"]),
        node("Conv", ["m", "w"], ["c"]),
        node("BatchNormalization", ["c", "s", "b", "mean", "var"], ["n"]),
        node("Relu", ["n"], ["y"]),
    ]
    weights = {
        "mask": samples(0, 5, 7),
        "w": weight(1, 4, 3, 3, 3),
        "s": weight(2, 4),
        "b": weight(3, 4),
        "mean": weight(4, 4),
        "var": samples(5, 4) + 0.5,
    }
    return model(nodes, [value("x", ["N", 3, 5, 7])], [value("y", None)], weights)


def test_the_state_has_weights_and_statistics_but_no_constants(tmp_path: Path) -> None:
    module = loaded(masked_net(), tmp_path)
    assert set(module.state_dict()) == {"w", "s", "b", "mean", "var"}
    assert set(copy.deepcopy(module).state_dict()) == set(module.state_dict())
    assert set(module.reading(["y"]).state_dict()) == set(module.state_dict())
    assert set(module.statistics()) == {"mean", "var"}
    assert {w.name for w in module.trained()} == {"w", "s", "b"}


def test_statistics_move_in_training_mode_alone(tmp_path: Path) -> None:
    module = loaded(masked_net(), tmp_path)
    before = {name: each.clone() for name, each in module.statistics().items()}
    module(tensor(2, 3, 5, 7))
    assert all(torch.equal(before[name], each) for name, each in module.statistics().items())
    module.train()
    module.reading(["n"])(tensor(2, 3, 5, 7))
    assert not any(torch.equal(before[name], each) for name, each in module.statistics().items())


def test_to_double_and_back(tmp_path: Path) -> None:
    proto = masked_net()
    module = loaded(proto, tmp_path)
    x = tensor(2, 3, 5, 7)
    before = module(x).detach()
    view = module.double().reading(["c"])
    wide = module(x.double())
    assert (wide.dtype, view(x.double())["c"].dtype) == (torch.float64, torch.float64)
    assert module.statistics()["mean"].dtype == torch.float64
    torch.testing.assert_close(wide.float(), before)
    module.float()
    torch.testing.assert_close(module(x), before)
    require_equal(module, proto, {"x": x.numpy()})


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
        module(tensor(3, 3, 5, 7))


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
        require_equal(as_it_is, proto, {"x": x})


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
