"""Constants that were merged are untied; what is quantised, or inside a body, does not train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from tests import graphs
from tests.graphs import Array, model, node, run, samples, value, weight
from tests.trainer.constants_of import found, roles, weight_of
from tests.trainer.on_torch import loaded, require_equal, run_torch

# Equal constants that an exporter merged


def merged(behind: str) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Two layers whose zero biases are one tensor, read directly or through Identity nodes."""
    copies = [node("Identity", ["zero"], ["b1"]), node("Identity", ["zero"], ["b2"])]
    names = (
        ("zero", "zero") if behind == "" else ("b1", "b2") if behind == "both" else ("zero", "b2")
    )
    nodes = [
        *[n for n in copies if n.output[0] in names],
        node("Gemm", ["x", "w1", names[0]], ["h"]),
        node("Gemm", ["h", "w2", names[1]], ["y"]),
    ]
    return nodes, {"w1": weight(0, 6, 4), "w2": weight(1, 4, 4), "zero": np.zeros(4, np.float32)}


@pytest.mark.parametrize(
    ("behind", "uses"),
    [
        ("", {"zero": ("h", 2), "zero.2": ("y", 2)}),
        ("both", {"b1": ("b1", 0), "b2": ("b2", 0)}),
        ("one", {"zero": ("h", 2), "b2": ("b2", 0)}),
    ],
)
def test_merged_zero_biases_are_untied(behind: str, uses: dict[str, Any], tmp_path: Path) -> None:
    nodes, weights = merged(behind)
    module = found(nodes, weights, tmp_path)
    copies = {w.name: w for w in module.constants.weights if w.use}
    assert {name: w.use for name, w in copies.items()} == uses
    assert {w.source for w in copies.values()} == {"zero"}
    assert {w.layer for w in copies.values()} == {"h", "y"}
    module(torch.ones(2, 6)).square().sum().backward()
    first, second = (module.weight(name) for name in copies)
    assert first is not second
    assert first.data_ptr() != second.data_ptr()
    assert not torch.equal(first.grad, second.grad)
    assert module.constants.trainable == sum(p.numel() for p in module.parameters())


def test_names_of_untied_copies_are_new(tmp_path: Path) -> None:
    """ "zero.2" is taken."""
    nodes, weights = merged("")
    nodes[-1].output[0] = "z"
    nodes.append(node("Gemm", ["z", "zero.2", "zero"], ["y"]))
    weights["zero.2"] = weight(2, 4, 4)
    module = found(nodes, weights, tmp_path)
    copies = {w.name for w in module.constants.weights if w.use}
    assert copies == {"zero", "zero.3", "zero.4"}
    np.testing.assert_array_equal(module.weight("zero.2").detach(), weights["zero.2"])


@pytest.mark.parametrize("number", [1.0, 0.5])
def test_other_numbers_that_are_all_alike_are_untied(number: float, tmp_path: Path) -> None:
    nodes, weights = merged("")
    module = found(nodes, {**weights, "zero": np.full(4, number, np.float32)}, tmp_path)
    assert len([w for w in module.constants.weights if w.use]) == 2


def test_numbers_that_differ_stay_tied(tmp_path: Path) -> None:
    nodes, weights = merged("")
    module = found(nodes, {**weights, "zero": weight(5, 4)}, tmp_path)
    assert not [w for w in module.constants.weights if w.use]


# What does not train


def test_quantised_weights_are_frozen(tmp_path: Path) -> None:
    """Their scales, one for each channel, are no weights either; what is kept as floats trains."""
    nodes = [
        node("DequantizeLinear", ["w8", "scale", "zero"], ["w"], axis=1),
        node("MatMul", ["x", "w"], ["h"]),
        node("Add", ["h", "b"], ["y"]),
    ]
    weights: dict[str, Array] = {
        "w8": np.arange(-12, 12).reshape(6, 4).astype(np.int8),
        "scale": samples(0, 4) + 0.1,
        "zero": np.zeros(4, np.int8),
        "b": weight(1, 4),
    }
    module = found(nodes, weights, tmp_path)
    reason = "quantised to int8: harden the float model and quantise again"
    assert roles(module) == {"w8": reason, "b": "trains"}
    assert module.constants.share == 4 / 28
    assert {name for name, _ in module.named_parameters()} == {"b"}


def test_weights_that_are_quantised_on_the_way_train(tmp_path: Path) -> None:
    """As after quantisation-aware training: gradients go straight through the rounding."""
    nodes = [
        node("QuantizeLinear", ["w", "scale", "zero"], ["w8"]),
        node("DequantizeLinear", ["w8", "scale", "zero"], ["wq"]),
        node("MatMul", ["x", "wq"], ["y"]),
    ]
    weights: dict[str, Array] = {
        "w": weight(0, 6, 4),
        "scale": np.asarray(0.01, np.float32),
        "zero": np.asarray(0, np.int8),
    }
    module = found(nodes, weights, tmp_path)
    assert roles(module) == {"w": "trains"}
    module(torch.ones(2, 6)).sum().backward()
    np.testing.assert_allclose(module.weight("w").grad, np.full((6, 4), 2.0))


@pytest.mark.parametrize("convolves", [False, True])
def test_gradients_reach_the_input_of_a_dynamically_quantised_layer(
    convolves: bool, tmp_path: Path
) -> None:
    """As through the layer in floats, and the numbers are those of the runtime."""
    kind, places = ("ConvInteger", (6, 3, 2, 2)) if convolves else ("MatMulInteger", (6, 4))
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node(kind, ["q", "w8", "z"], ["i"]),
        node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]
    w8 = np.random.default_rng(0).integers(-9, 9, places).astype(np.int8)
    shape = (2, 3, 5, 7) if convolves else (2, 6)
    proto = model(nodes, [value("x", ["N", *shape[1:]])], [value("y", None)], {"w8": w8})
    module = loaded(proto, tmp_path)
    assert roles(module) == {"w8": "quantised to int8: harden the float model and quantise again"}
    x = samples(1, *shape) - 0.3
    theirs = run(proto, {"x": x})["y"]
    np.testing.assert_allclose(run_torch(module, {"x": x})["y"], theirs, rtol=1e-4, atol=1e-5)
    given = torch.from_numpy(x).requires_grad_()
    module(given).sum().backward()
    plain = torch.from_numpy(x).requires_grad_()
    w = torch.from_numpy(w8).float()
    (torch.conv2d(plain, w) if convolves else plain @ w).sum().backward()
    torch.testing.assert_close(given.grad, plain.grad)


def test_weights_in_a_body_are_frozen(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        inner = [node("MatMul", ["h", f"inner {name}"], [f"o_{name}"])]
        result = [helper.make_tensor_value_info(f"o_{name}", 1, None)]
        tensor = numpy_helper.from_array(weight(3, 4, 4), f"inner {name}")
        return helper.make_graph(inner, name, [], result, [tensor])

    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("ReduceMean", ["h"], ["mean"], keepdims=0),
        node("Greater", ["mean", "zero"], ["up"]),
        node("If", ["up"], ["y"], then_branch=branch("a"), else_branch=branch("b"), name="choice"),
    ]
    weights = {"w": weight(0, 6, 4), "zero": np.asarray(0, np.float32)}
    module = found(nodes, weights, tmp_path)
    reason = "inside the body of If 'choice'"
    assert roles(module) == {"w": "trains", "inner a": reason, "inner b": reason}
    assert module.constants.share == 24 / (24 + 16 + 16)
    assert weight_of(module, "inner a").layer == "y"


def sparse(name: str, array: Array) -> onnx.SparseTensorProto:
    places = np.flatnonzero(array)
    values = numpy_helper.from_array(array.reshape(-1)[places], name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(places), array.shape)


@pytest.mark.parametrize("as_node", [False, True])
def test_a_weight_that_is_stored_sparse_is_frozen(as_node: bool, tmp_path: Path) -> None:
    u = np.diag(np.array([1, -2, 0, 4], np.float32))
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "u"], ["y"])]
    if as_node:
        nodes.insert(0, node("Constant", [], ["u"], sparse_value=sparse("u", u)))
    proto = model(nodes, [value("x", ["N", 6])], [value("y", None)], {"w": weight(0, 6, 4)})
    if not as_node:
        proto.graph.sparse_initializer.append(sparse("u", u))
    module = loaded(proto, tmp_path)
    reason = "stored sparse, where trained values have no place: store it dense to train it"
    assert roles(module) == {"w": "trains", "u": reason}
    assert module.constants.share == 24 / (24 + 16)
    x = samples(1, 3, 6)
    np.testing.assert_allclose(run_torch(module, {"x": x})["y"], x @ weight(0, 6, 4) @ u, rtol=1e-5)
    if not as_node:
        require_equal(module, proto, {"x": x})


def test_statistics_that_are_stored_sparse_cannot_move(tmp_path: Path) -> None:
    weights = {"s": weight(0, 6), "b": weight(1, 6), "v": samples(2, 6) + 0.5}
    norm = node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    proto = model([norm], [value("x", ["N", 6])], [value("y", None)], weights)
    proto.graph.sparse_initializer.append(sparse("m", np.array([0, 0, 0.5, 0, 0, 1], np.float32)))
    module = loaded(proto, tmp_path)
    require_equal(module, proto, {"x": samples(3, 4, 6)})
    with pytest.raises(ModelError, match="statistics 'm' cannot move: they are stored sparse"):
        module.constants.require_movable()


def test_no_weights_at_all(tmp_path: Path) -> None:
    module = found([node("Tanh", ["x"], ["y"])], {}, tmp_path)
    assert (module.constants.trainable, module.constants.share) == (0, 0)
    assert module.trained() == {}


def test_trained_gives_values_by_weight(tmp_path: Path) -> None:
    proto = graphs.conv_net()
    module = loaded(proto, tmp_path)
    for tensor in proto.graph.initializer:
        np.testing.assert_array_equal(
            module.trained()[weight_of(module, tensor.name)], numpy_helper.to_array(tensor)
        )
    require_equal(module, proto, {"x": samples(0, 2, 3, 5, 7)})
