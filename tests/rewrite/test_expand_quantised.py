"""Quantised operators as float ones between steps of quantisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.graphs import Array, samples, weight
from tests.rewrite.expansion import MICROSOFT, check

# Where rounding decides, a quantised result may differ by one step.
STEP = 1.001


def scale(value: float | list[float]) -> Array:
    return np.asarray(value, np.float32)


def point(value: int | list[int], dtype: str = "uint8") -> Array:
    return np.asarray(value, dtype)


def integers(seed: int, *shape: int, dtype: str = "uint8") -> Array:
    """All of uint8, but 7 bits of int8: products of larger ones overflow in kernels for AVX2."""
    low, high = (0, 256) if dtype == "uint8" else (-64, 64)
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_qlinear_conv(per_channel: bool, bias: bool) -> None:
    constants: dict[str, Array] = {
        "xs": scale(0.02),
        "xz": point(120),
        "w": integers(1, 3, 2, 3, 2, dtype="int8"),
        "ws": scale([0.01, 0.02, 0.005] if per_channel else 0.01),
        "wz": point([0, 0, 0] if per_channel else 0, "int8"),
        "ys": scale(0.3),
        "yz": point(100),
    }
    if bias:
        constants["b"] = np.array([900, -700, 100], np.int32)
    feeds = {"x": integers(0, 2, 2, 5, 7)}
    check("QLinearConv", feeds, constants, tolerance=STEP, pads=[1, 0, 1, 0], strides=[2, 1])


def test_qlinear_conv_of_nhwc_images() -> None:
    constants: dict[str, Array] = {
        "xs": scale(0.02),
        "xz": point(120),
        "w": integers(1, 3, 2, 3, 2),
        "ws": scale(0.01),
        "wz": point(128),
        "ys": scale(0.3),
        "yz": point(100),
    }
    feeds = {"x": integers(0, 2, 5, 7, 2)}
    check("QLinearConv", feeds, constants, tolerance=STEP, domain=MICROSOFT, channels_last=1)


@pytest.mark.parametrize("per_column", [False, True])
def test_qlinear_matmul(per_column: bool) -> None:
    constants: dict[str, Array] = {
        "as": scale(0.02),
        "az": point(120),
        "b": integers(1, 4, 3, dtype="int8"),
        "bs": scale([0.01, 0.02, 0.03] if per_column else 0.01),
        "bz": point([0, 1, 2] if per_column else 3, "int8"),
        "ys": scale(0.05),
        "yz": point(90),
    }
    check("QLinearMatMul", {"a": integers(0, 2, 5, 4)}, constants, tolerance=STEP)


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("per_column", [False, True])
def test_qgemm(trans: int, floats: bool, per_column: bool) -> None:
    constants: dict[str, Array] = {
        "as": scale(0.02),
        "az": point(120),
        "b": integers(1, *((3, 4) if trans else (4, 3)), dtype="int8"),
        "bs": scale([0.01, 0.02, 0.03] if per_column else 0.01),
        "bz": point([0, 1, 2] if per_column else 3, "int8"),
        "c": np.array([500, -800, 20], np.int32),
    }
    if not floats:
        constants |= {"ys": scale(0.05), "yz": point(90)}
    feeds = {"a": integers(0, 2, 4)}
    tolerance = 1e-5 if floats else STEP
    check("QGemm", feeds, constants, tolerance=tolerance, domain=MICROSOFT, transB=trans, alpha=0.5)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_qlinear_arithmetic(op: str, dtype: str) -> None:
    constants: dict[str, Array] = {"as": scale(0.02), "bs": scale(0.03), "ys": scale(0.06)}
    constants |= {name: point(7 + i, dtype) for i, name in enumerate(("az", "bz", "yz"))}
    order = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    feeds = {"a": integers(0, 2, 3, 5, dtype=dtype), "b": integers(1, 3, 5, dtype=dtype)}
    check(op, feeds, constants, order=order, tolerance=STEP, domain=MICROSOFT)


@pytest.mark.parametrize(
    ("op", "options", "shape"),
    [
        ("QLinearSigmoid", {}, (2, 5)),
        ("QLinearLeakyRelu", {"alpha": 0.3}, (2, 5)),
        ("QLinearSoftmax", {"opset": 13, "axis": -1}, (2, 5)),
        ("QLinearSoftmax", {"opset": 12, "axis": 1}, (2, 3, 4)),
        ("QLinearGlobalAveragePool", {}, (2, 3, 5, 7)),
        ("QLinearGlobalAveragePool", {"channels_last": 1}, (2, 5, 7, 3)),
        (
            "QLinearAveragePool",
            {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 1]},
            (2, 3, 5, 7),
        ),
        (
            "QLinearAveragePool",
            {"kernel_shape": [2, 3], "channels_last": 1, "count_include_pad": 1, "pads": [1] * 4},
            (2, 5, 7, 3),
        ),
    ],
)
def test_a_quantised_function_of_one_tensor(
    op: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    constants = {"xs": scale(0.04), "xz": point(110), "ys": scale(0.02), "yz": point(3)}
    check(op, {"x": integers(0, *shape)}, constants, tolerance=STEP, domain=MICROSOFT, **options)


def test_absent_zero_points_are_zeros_of_the_type_of_the_data() -> None:
    feeds, constants = (
        {"x": integers(0, 2, 5, dtype="int8")},
        {"xs": scale(0.02), "ys": scale(0.03)},
    )
    order = ["x", "xs", "", "ys", ""]
    real = np.where(feeds["x"] < 0, 0.01, 1) * feeds["x"] * 0.02
    expected = {"y": np.round(real / 0.03).astype(np.int8)}
    check(
        "QLinearLeakyRelu",
        feeds,
        constants,
        order=order,
        tolerance=STEP,
        domain=MICROSOFT,
        expected=expected,
    )


def test_qlinear_concat() -> None:
    constants = {"ys": scale(0.05), "yz": point(9), "as": scale(0.02), "az": point(120)}
    constants |= {"bs": scale(0.04), "bz": point(7)}
    feeds = {"a": integers(0, 2, 3), "b": integers(1, 2, 4)}
    order = ["ys", "yz", "a", "as", "az", "b", "bs", "bz"]
    check("QLinearConcat", feeds, constants, order=order, tolerance=STEP, domain=MICROSOFT, axis=1)


def test_qlinear_where() -> None:
    constants = {"as": scale(0.02), "az": point(120), "bs": scale(0.04), "bz": point(7)}
    constants |= {"ys": scale(0.05), "yz": point(9)}
    feeds = {"if": samples(2, 2, 3) > 0.5, "a": integers(0, 2, 3), "b": integers(1, 2, 3)}
    order = ["if", "a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    check("QLinearWhere", feeds, constants, order=order, tolerance=STEP, domain=MICROSOFT)


def test_dynamic_quantize_linear() -> None:
    outputs = ["y", "scale", "zero"]
    check("DynamicQuantizeLinear", {"x": weight(0, 3, 5)}, outputs=outputs, tolerance=STEP)


@pytest.mark.parametrize("points", [(), ("xz",), ("xz", "wz")])
def test_conv_integer_is_exact(points: tuple[str, ...]) -> None:
    every = {"xz": point(100), "wz": point(3)}
    constants = {"w": integers(1, 3, 2, 3, 2)} | {name: every[name] for name in points}
    check("ConvInteger", {"x": integers(0, 2, 2, 5, 7)}, constants, tolerance=0, pads=[1, 0, 0, 1])


@pytest.mark.parametrize(
    "points", [{}, {"az": point(100)}, {"az": point(9), "bz": point([1, 2, 3], "int8")}]
)
def test_matmul_integer_is_exact(points: dict[str, Array]) -> None:
    constants = {"b": integers(1, 4, 3, dtype="int8")} | points
    check("MatMulInteger", {"a": integers(0, 2, 5, 4)}, constants, tolerance=0)


@pytest.mark.parametrize("extra", [[], ["az"], ["az", "bz", "bias"]])
def test_matmul_integer_to_float(extra: list[str]) -> None:
    every = {"az": point(100), "bz": point([1, 2, 3], "int8"), "bias": weight(5, 3)}
    constants: dict[str, Array] = {
        "b": integers(1, 4, 3, dtype="int8"),
        "as": scale(0.02),
        "bs": scale([0.01, 0.02, 0.03]),
    } | {name: every[name] for name in extra}
    check("MatMulIntegerToFloat", {"a": integers(0, 2, 5, 4)}, constants, domain=MICROSOFT)


@pytest.mark.parametrize("bias", [False, True])
def test_dynamic_quantize_matmul(bias: bool) -> None:
    constants = {"b": integers(1, 4, 3, dtype="int8"), "bs": scale(0.02), "bz": point(2, "int8")}
    constants |= {"c": weight(2, 3)} if bias else {}
    check("DynamicQuantizeMatMul", {"a": weight(0, 2, 5, 4)}, constants, domain=MICROSOFT)


@pytest.mark.parametrize("causal", [0, 1])
def test_quantised_attention(causal: int) -> None:
    feeds = {"x": integers(0, 2, 4, 6), "mask": np.array([3, 2], np.int32)}
    constants = {"w": integers(1, 6, 18, dtype="int8"), "b": weight(2, 18), "xs": scale(0.02)}
    constants |= {"ws": scale(0.01), "xz": point(128), "wz": point(0, "int8")}
    check(
        "QAttention",
        feeds,
        constants,
        order=["x", "w", "b", "xs", "ws", "mask", "xz", "wz"],
        domain=MICROSOFT,
        num_heads=2,
        unidirectional=causal,
    )


def test_onnx_runtimes_own_spelling_of_quantisation() -> None:
    constants = {"s": scale(0.02), "z": point(100)}
    check("QuantizeLinear", {"x": weight(0, 2, 5)}, constants, domain=MICROSOFT)
    check("DequantizeLinear", {"x": integers(0, 2, 5)}, constants, domain=MICROSOFT)


@pytest.mark.parametrize("points", [None, "packed", "plain"])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_of_four_bits(points: str | None, bias: bool) -> None:
    rows, depth, block = 5, 40, 16
    blocks = -(-depth // block)
    constants: dict[str, Array] = {
        "w": integers(0, rows, blocks, block // 2),
        "s": samples(1, rows, blocks) + 0.5,
    }
    if points == "packed":
        constants["z"] = integers(2, rows, -(-blocks // 2))
    elif points == "plain":
        constants["z"] = weight(2, rows, blocks) * 9
    if bias:
        constants["b"] = weight(3, rows)
    order = ["x", "w", "s", "z" if points else "", "", *(["b"] if bias else [])]
    check(
        "MatMulNBits",
        {"x": weight(4, 2, 3, depth)},
        constants,
        order=order,
        domain=MICROSOFT,
        K=depth,
        N=rows,
        block_size=block,
        bits=4,
    )


def test_max_pool_of_nhwc_images() -> None:
    options: dict[str, Any] = {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 1]}
    feeds = {"x": integers(0, 2, 5, 7, 3)}
    check("NhwcMaxPool", feeds, tolerance=0, domain=MICROSOFT, **options)
