"""Activations, fused operators and poolings, written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from lsa_onnx.rewrite.expand import expand
from tests import graphs
from tests.graphs import Array, weight
from tests.rewrite.expansion import MICROSOFT, check, one_node, operators

# From far below to far above what exp can hold in single precision.
WIDE = np.concatenate([weight(0, 3, 7).ravel() * 4, [-200.0, -90.0, 90.0, 200.0, 0.0]])
X = WIDE.astype(np.float32).reshape(2, 13)
IMAGES = weight(1, 2, 4, 6, 8)


@pytest.mark.parametrize(
    ("op", "opset", "attributes"),
    [
        ("Celu", 18, {"alpha": 1.7}),
        ("Elu", 18, {"alpha": 0.6}),
        ("Gelu", 20, {}),
        ("Gelu", 20, {"approximate": "tanh"}),
        ("HardSigmoid", 18, {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", 18, {}),
        ("LeakyRelu", 18, {"alpha": 0.2}),
        ("LogSoftmax", 18, {"axis": 0}),
        ("Mish", 18, {}),
        ("Selu", 18, {}),
        ("Selu", 18, {"alpha": 1.1, "gamma": 2.0}),
        ("Shrink", 18, {"lambd": 0.7, "bias": 0.2}),
        ("Softmax", 18, {"axis": 0}),
        ("Softplus", 18, {}),
        ("Softsign", 18, {}),
        ("Swish", 24, {"alpha": 0.7}),
        ("ThresholdedRelu", 18, {"alpha": 0.5}),
    ],
)
def test_an_activation_equals_its_kernel(op: str, opset: int, attributes: dict[str, Any]) -> None:
    check(op, {"x": X}, version=opset, **attributes)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_constants_have_the_type_of_the_data(dtype: str) -> None:
    x = weight(3, 2, 5, dtype=dtype)
    check("Selu", {"x": x}, tolerance=1e-2 if dtype == "float16" else 1e-7)


def test_softplus_of_a_large_number_is_that_number() -> None:
    proto = one_node("Softplus", {"x": X}, {}, ["x"])
    changed = expand(proto, lambda n: n.op_type != "Softplus")
    x = np.array([[1000.0, -1000.0]], np.float32)
    assert graphs.run(changed, {"x": x})["y"].tolist() == [[1000.0, 0.0]]


@pytest.mark.parametrize("op", ["Gelu", "QuickGelu", "FastGelu"])
def test_a_microsoft_activation_equals_its_kernel(op: str) -> None:
    check(op, {"x": X}, domain=MICROSOFT)


@pytest.mark.parametrize("op", ["BiasGelu", "FastGelu"])
def test_a_bias_is_added_first(op: str) -> None:
    check(op, {"x": X}, {"b": weight(2, 13)}, domain=MICROSOFT)


def test_bias_split_gelu_scales_the_first_half_by_the_second() -> None:
    x, bias = weight(0, 2, 3, 6), weight(1, 6)
    left, right = np.split((x + bias).astype(np.float64), 2, axis=-1)
    gelu = right * 0.5 * (1 + np.vectorize(math.erf)(right / math.sqrt(2)))
    expected = {"y": (left * gelu).astype(np.float32)}
    check("BiasSplitGelu", {"x": x}, {"b": bias}, domain=MICROSOFT, expected=expected)


def test_bias_add_adds_both() -> None:
    x, bias, skip = weight(0, 2, 3, 4), weight(1, 4), weight(2, 2, 3, 4)
    expected = {"y": x + bias + skip}
    check(
        "BiasAdd",
        {"x": x, "s": skip},
        {"b": bias},
        order=["x", "b", "s"],
        domain=MICROSOFT,
        expected=expected,
    )


def test_prelu_has_a_slope_per_channel() -> None:
    check("PRelu", {"x": IMAGES}, {"slope": weight(2, 4, 1, 1)})


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"])
def test_a_reduction_equals_its_kernel(op: str, keepdims: int) -> None:
    check(op, {"x": IMAGES}, {"axes": np.array([1, -1])}, keepdims=keepdims)
    check(op, {"x": IMAGES}, keepdims=keepdims)


def test_reduce_log_sum_exp_does_not_overflow() -> None:
    proto = one_node(
        "ReduceLogSumExp", {"x": X}, {"axes": np.array([1])}, ["x", "axes"], keepdims=0
    )
    changed = expand(proto, lambda n: n.op_type != "ReduceLogSumExp")
    x = np.array([[500.0, 500.0], [-500.0, -500.0]], np.float32)
    got = graphs.run(changed, {"x": x})["y"]
    assert got == pytest.approx([500 + math.log(2), -500 + math.log(2)], rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [
        ("Relu", None),
        ("Tanh", None),
        ("Sigmoid", None),
        ("LeakyRelu", [0.3]),
        ("Clip", [-0.4, 0.5]),
        ("HardSigmoid", [0.3, 0.6]),
    ],
)
def test_fused_conv_equals_its_kernel(activation: str, parameters: list[float] | None) -> None:
    extra: dict[str, Any] = {} if parameters is None else {"activation_params": parameters}
    check(
        "FusedConv",
        {"x": IMAGES},
        {"w": weight(2, 6, 2, 3, 3), "b": weight(3, 6)},
        domain=MICROSOFT,
        activation=activation,
        group=2,
        pads=[1, 0, 1, 2],
        strides=[2, 1],
        **extra,
    )


def test_fused_conv_adds_its_sum_before_the_activation() -> None:
    check(
        "FusedConv",
        {"x": IMAGES, "z": weight(5, 2, 5, 4, 6)},
        {"w": weight(2, 5, 4, 3, 3), "b": weight(3, 5)},
        order=["x", "w", "b", "z"],
        domain=MICROSOFT,
        activation="Relu",
    )


@pytest.mark.parametrize("op", ["NhwcConv", "NhwcFusedConv"])
def test_a_convolution_of_nhwc_images(op: str) -> None:
    weights = {"w": weight(2, 5, 4, 3, 3), "b": weight(3, 5)}
    plain = one_node("Conv", {"x": IMAGES}, weights, ["x", "w", "b"], pads=[1, 1, 0, 0])
    y = graphs.run(plain, {"x": IMAGES})["y"]
    options: dict[str, Any] = {"activation": "Relu"} if op == "NhwcFusedConv" else {}
    expected = {"y": (np.maximum(y, 0) if options else y).transpose(0, 2, 3, 1)}
    feeds = {"x": np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))}
    check(op, feeds, weights, domain=MICROSOFT, expected=expected, pads=[1, 1, 0, 0], **options)


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Tanh"])
def test_fused_gemm_equals_its_kernel(activation: str) -> None:
    extra: dict[str, Any] = {"activation_alpha": 0.2} if activation == "LeakyRelu" else {}
    check(
        "FusedGemm",
        {"x": weight(0, 3, 5)},
        {"w": weight(1, 4, 5), "c": weight(2, 4)},
        domain=MICROSOFT,
        activation=activation,
        transB=1,
        alpha=0.7,
        beta=1.3,
        **extra,
    )


@pytest.mark.parametrize(
    ("left", "right", "options"),
    [
        ((2, 3, 4), (2, 4, 5), {"alpha": 0.3}),
        ((2, 4, 3), (2, 4, 5), {"transA": 1}),
        ((2, 3, 4), (2, 5, 4), {"transB": 1, "alpha": 2.0}),
        ((3, 2, 4), (2, 4, 5), {"transBatchA": 1}),
        ((4, 2, 3), (5, 2, 4), {"transA": 1, "transBatchA": 1, "transB": 1, "transBatchB": 1}),
    ],
)
def test_fused_matmul_equals_its_kernel(
    left: tuple[int, ...], right: tuple[int, ...], options: dict[str, Any]
) -> None:
    feeds = {"a": weight(0, *left), "b": weight(1, *right)}
    check("FusedMatMul", feeds, domain=MICROSOFT, **options)


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("GlobalAveragePool", {}),
        ("GlobalMaxPool", {}),
        ("GlobalLpPool", {"p": 3}),
        ("GlobalLpPool", {"p": 1}),
        ("LpPool", {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 1]}),
        ("LpPool", {"kernel_shape": [3, 2], "p": 3, "auto_pad": "SAME_UPPER"}),
        ("LpPool", {"kernel_shape": [2, 2], "p": 1, "dilations": [2, 3]}),
        ("LRN", {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 1.5}),
        ("LRN", {"size": 5, "alpha": 0.5}),
        ("SpaceToDepth", {"blocksize": 2}),
        ("DepthToSpace", {"blocksize": 2}),
        ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}),
    ],
)
def test_an_operator_of_images_equals_its_kernel(op: str, options: dict[str, Any]) -> None:
    check(op, {"x": IMAGES}, **options)


def test_a_window_beyond_the_padding_is_left_alone() -> None:
    options: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    proto = one_node("LpPool", {"x": IMAGES}, {}, ["x"], **options)
    assert operators(expand(proto, lambda n: False).graph) == {"LpPool"}


@pytest.mark.parametrize("op", ["Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 3])
def test_an_operator_of_many_operands(op: str, count: int) -> None:
    feeds: dict[str, Array] = {f"x{i}": weight(i, 2, 3) for i in range(count)}
    check(op, feeds)


def test_dropout_does_nothing_at_inference() -> None:
    check("Dropout", {"x": X}, {"ratio": np.asarray(0.4, np.float32)})


def test_dropout_that_may_train_is_left_alone() -> None:
    constants = {"ratio": np.asarray(0.4, np.float32), "train": np.asarray(True)}
    proto = one_node("Dropout", {"x": X}, constants, ["x", "ratio", "train"])
    assert operators(expand(proto, lambda n: False).graph) == {"Dropout"}


def test_constants_of_one_value_are_one_initializer() -> None:
    nodes = [graphs.node("Gelu", ["x"], ["a"]), graphs.node("Gelu", ["a"], ["y"])]
    x = graphs.value("x", ["N", 3])
    changed = expand(
        graphs.model(nodes, [x], [graphs.value("y", ["N", 3])], opset=20),
        lambda n: n.op_type != "Gelu",
    )
    values = [numpy_helper.to_array(t).tobytes() for t in changed.graph.initializer]
    assert len(values) == len(set(values)) == 3
