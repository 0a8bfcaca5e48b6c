"""Adjoints of normalisations against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import model, node, value
from tests.rewrite.gradients import check, pulled_back
from tests.rewrite.vjp.cases import (
    KNOWLEDGE,
    Array,
    adjoint,
    adjoints,
    drawn,
    one_node,
    positive,
    runtime_takes,
    verify,
)


def statistics(channels: int, dtype: str = "float64") -> dict[str, Array]:
    """Scale, bias, mean and variance."""
    made = {
        "scale": drawn(1, (channels,)),
        "bias": drawn(2, (channels,)),
        "mean": drawn(3, (channels,)),
        "variance": positive(4, (channels,)),
    }
    return {name: array.astype(dtype) for name, array in made.items()}


# Batch normalisation


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)])
def test_batch_normalisation(shape: tuple[int, ...], knowledge: str) -> None:
    verify("BatchNormalization", {"x": drawn(0, shape)}, weights=statistics(3), knowledge=knowledge)


def test_batch_normalisation_adds_its_epsilon() -> None:
    weights = {
        "scale": np.array([6, 2], np.float32),
        "bias": np.zeros(2, np.float32),
        "mean": np.zeros(2, np.float32),
        "variance": np.array([8, 0], np.float32),
    }
    found = adjoint("BatchNormalization", np.ones((1, 2, 2)), weights=weights, epsilon=1.0)
    np.testing.assert_allclose(found, [[[2, 2], [2, 2]]])


def test_batch_normalisation_of_half_precision_with_single_statistics() -> None:
    x = drawn(0, (2, 3, 4))
    weights = statistics(3, "float32")
    half = adjoint("BatchNormalization", x, dtype=np.float16, weights=weights)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, adjoint("BatchNormalization", x, weights=weights), rtol=1e-2)


def test_batch_normalisation_in_training_mode_is_refused() -> None:
    feeds, weights = {"x": np.zeros((2, 3, 4))}, statistics(3)
    proto = one_node("BatchNormalization", feeds, weights=weights, training_mode=1)
    proto.graph.node[0].output.extend(["new_mean", "new_variance"])
    with pytest.raises(MissingRules) as caught:
        pulled_back(proto, ["x"])
    assert "training mode" in caught.value.nodes[0].reason


@pytest.mark.parametrize("knowledge", ["fixed", "free"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 5)])
def test_batch_normalisation_by_computed_statistics(shape: tuple[int, ...], knowledge: str) -> None:
    verify("BatchNormalization", {"x": drawn(0, shape), **statistics(3)}, knowledge=knowledge)


def test_batch_normalisation_by_one_computed_statistic() -> None:
    known = statistics(3)
    feeds = {"x": drawn(0, (2, 3, 4)), "mean": known.pop("mean")}
    order = ["x", "scale", "bias", "mean", "variance"]
    verify("BatchNormalization", feeds, weights=known, inputs=order)


# Over the last axes


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("axis", [None, -1, -2])
@pytest.mark.parametrize("biased", [False, True])
def test_layer_normalisation(axis: int | None, biased: bool, knowledge: str) -> None:
    shape = (2, 3, 4)[axis or -1 :]
    feeds = {"x": drawn(0, (2, 3, 4)), "scale": drawn(1, shape)}
    feeds |= {"bias": drawn(2, shape)} if biased else {}
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    verify("LayerNormalization", feeds, knowledge=knowledge, coarse=True, **attributes)


@pytest.mark.parametrize("axis", [1, 2])
def test_layer_normalisation_from_an_axis_counted_from_the_front(axis: int) -> None:
    weights = {"scale": drawn(1, (2, 3, 4)[axis:])}
    feeds = {"x": drawn(0, (2, 3, 4))}
    verify("LayerNormalization", feeds, weights=weights, axis=axis, epsilon=0.1, coarse=True)


@pytest.mark.parametrize("outputs", [["z", "mean"], ["z", "", "root"], ["z", "mean", "root"]])
@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalisation_whose_moments_are_used(outputs: list[str], axis: int) -> None:
    nodes = [
        node("LayerNormalization", ["x", "scale"], outputs, axis=axis, epsilon=0.1),
        node("Sum", [name for name in outputs if name], ["y"]),
    ]
    weights = {"scale": drawn(1, (2, 4, 3)[axis:]).astype(np.float32)}
    proto = model(nodes, [value("x", ["N", 4, 3])], [value("y", None)], weights, opset=18)
    feeds = {"x": drawn(0, (2, 4, 3)).astype(np.float32)}
    check(proto, feeds, ["x"], step=1e-2, tolerance=1e-2)


def test_moments_of_a_layer_normalisation_alone() -> None:
    nodes = [node("LayerNormalization", ["x", "scale"], ["z", "mean", "root"], epsilon=0.5)]
    nodes.append(node("Mul", ["mean", "root"], ["y"]))
    weights = {"scale": np.ones(2, np.float32)}
    proto = model(nodes, [value("x", ["N", 2])], [value("y", None)], weights, opset=18)
    found = adjoints(proto, {"x": np.array([[1, 2]], np.float32)})["x"]
    # m = 1.5, r = 1 / √(¼ + ½): r dm is r / 2 for each x, and m dr is −m r³ (x − m) / 2.
    r, m = 0.75**-0.5, 1.5
    np.testing.assert_allclose(found, [[r / 2 + m * r**3 / 4, r / 2 - m * r**3 / 4]], rtol=1e-5)


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("axis", [None, -1, -2])
def test_rms_normalisation(axis: int | None, knowledge: str) -> None:
    feeds = {"x": drawn(0, (2, 3, 4)), "scale": drawn(1, (2, 3, 4)[axis or -1 :])}
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    verify("RMSNormalization", feeds, knowledge=knowledge, opset=23, coarse=True, **attributes)


# Over groups of channels


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)])
def test_instance_normalisation(shape: tuple[int, ...], knowledge: str) -> None:
    feeds = {"x": drawn(0, shape), "scale": drawn(1, (3,)), "bias": drawn(2, (3,))}
    verify("InstanceNormalization", feeds, knowledge=knowledge, coarse=True)


def test_instance_normalisation_of_single_numbers_is_flat() -> None:
    weights = {"scale": np.ones(3, np.float32), "bias": np.zeros(3, np.float32)}
    found = adjoint("InstanceNormalization", drawn(0, (2, 3, 1)), weights=weights)
    np.testing.assert_array_equal(found, np.zeros((2, 3, 1)))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 4, 2, 3)])
def test_group_normalisation(groups: int, opset: int, shape: tuple[int, ...]) -> None:
    scales = 4 if opset == 21 else groups
    feeds = {"x": drawn(0, shape), "scale": drawn(1, (scales,)), "bias": drawn(2, (scales,))}
    verify("GroupNormalization", feeds, opset=opset, num_groups=groups, coarse=True)


HALF: list[tuple[str, int, dict[str, Any]]] = [
    ("LayerNormalization", 18, {}),
    ("RMSNormalization", 23, {}),
    ("InstanceNormalization", 18, {}),
    ("GroupNormalization", 21, {"num_groups": 1}),
]


def half_feeds(kind: str) -> dict[str, Array]:
    """Numbers whose squares are beyond what half precision holds."""
    feeds = {"x": (drawn(0, (2, 3, 3)) * 400).astype(np.float16), "scale": np.ones(3, np.float16)}
    if kind != "RMSNormalization":
        feeds["bias"] = np.zeros(3, np.float16)
    return feeds


@pytest.mark.parametrize(("kind", "opset", "attributes"), HALF)
def test_large_numbers_in_half_precision(kind: str, opset: int, attributes: dict[str, Any]) -> None:
    if not runtime_takes(opset):
        pytest.skip(f"this ONNX Runtime does not run opset {opset}")
    feeds = half_feeds(kind)
    single = {name: array.astype(np.float32) for name, array in feeds.items()}
    arriving = drawn(5, (2, 3, 3))
    proto, exact = (one_node(kind, f, opset=opset, **attributes) for f in (feeds, single))
    wanted = adjoints(exact, single, arriving)
    for name, found in adjoints(proto, feeds, arriving).items():
        assert found.dtype == np.float16
        scale = np.abs(wanted[name]).max()
        np.testing.assert_allclose(found / scale, wanted[name] / scale, atol=2e-2)


# The CPU provider computes in single precision anyway; others do what the graph says.
@pytest.mark.parametrize(("kind", "opset", "attributes"), [*HALF, ("LRN", 18, {"size": 3})])
def test_statistics_are_taken_in_single_precision(
    kind: str, opset: int, attributes: dict[str, Any]
) -> None:
    feeds = {"x": np.ones((2, 3, 4, 4), np.float16)} if kind == "LRN" else half_feeds(kind)
    pulled, *_ = pulled_back(one_node(kind, feeds, opset=opset, **attributes), ["x"])
    inferred = onnx.shape_inference.infer_shapes(pulled, check_type=True, strict_mode=True)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    means = [n for n in pulled.graph.node if n.op_type in ("AveragePool", "ReduceMean")]
    assert means
    assert {types[n.output[0]] for n in means} == {onnx.TensorProto.FLOAT}


# Others


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("p", [None, 1, 2])
def test_lp_normalisation(p: int | None, axis: int | None, knowledge: str) -> None:
    attributes: dict[str, Any] = {n: v for n, v in {"p": p, "axis": axis}.items() if v is not None}
    verify("LpNormalization", {"x": drawn(0, (2, 3, 4))}, knowledge=knowledge, **attributes)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalisation_of_zeros_is_flat(p: int) -> None:
    found = adjoint("LpNormalization", np.array([[0, 0], [3, 4]]), p=p)
    assert np.isfinite(found).all()
    assert found[0].tolist() == [0, 0]


LRN: dict[str, Any] = {"alpha": 0.9, "beta": 0.6, "bias": 1.5}


# As many samples as channels: ONNX's reference evaluator counts the one for the other.
@pytest.mark.parametrize("knowledge", KNOWLEDGE)
@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalisation(size: int, channels: int, knowledge: str) -> None:
    feeds = {"x": drawn(0, (channels, channels, 2, 3)) / 4}
    verify("LRN", feeds, knowledge=knowledge, size=size, **LRN)


# The reference evaluator alone takes even sizes, which look further ahead than back.
def test_local_response_normalisation_over_an_even_number_of_channels() -> None:
    feeds = {"x": drawn(0, (5, 5, 2, 3)) / 4}
    check(one_node("LRN", feeds, size=4, **LRN), feeds)


def test_local_response_normalisation_by_hand() -> None:
    # y = x / (1 + x²): dx = (1 − x²) / (1 + x²)².
    x = np.array([0, 1, 2, 3]).reshape(1, 2, 1, 2)
    found = adjoint("LRN", x, size=1, alpha=1.0, beta=1.0, bias=1.0)
    np.testing.assert_allclose(found.ravel(), [1, 0, -3 / 25, -8 / 100], atol=1e-6)
