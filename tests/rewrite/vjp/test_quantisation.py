"""Adjoints of quantisation: those of the identity, but for what is clipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import Array, Shape, model, node, run, value
from tests.rewrite.gradients import pulled_back

if TYPE_CHECKING:
    import onnx

RANGES = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint4": (0, 15),
    "int4": (-8, 7),
}
SHAPE = (2, 3, 4)


def integers(dtype: str, *numbers: int) -> Array:
    return np.array(numbers, helper.tensor_dtype_to_np_dtype(getattr(TensorProto, dtype.upper())))


def there_and_back(
    shape: Shape | None,
    scale: Array,
    zero: Array | None,
    *,
    dtype: str = "float32",
    opset: int = 21,
    between: Sequence[onnx.NodeProto] = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """QuantizeLinear to "q", nodes ``between`` that make "r" of it, DequantizeLinear."""
    points = {"zero": zero} if zero is not None else {}
    names = ["scale", *points]
    nodes = [
        node("QuantizeLinear", ["x", *names], ["q"], **attributes),
        *between,
        node("DequantizeLinear", ["r" if between else "q", *names], ["y"], **attributes),
    ]
    weights = {"scale": scale, **points}
    inputs, outputs = [value("x", shape, dtype)], [value("y", None, dtype)]
    return model(nodes, inputs, outputs, weights, opset=opset, ir=10)


def adjoint(proto: onnx.ModelProto, x: Array, seed: float | Array = 1.0) -> Array:
    """The adjoint of "x" on the optimised runtime, and that its model can be loaded as it is."""
    pulled, gradients, seeds = pulled_back(proto, ["x"])
    y = run(proto, {"x": x})["y"]
    given = {seeds["y"]: np.broadcast_to(seed, y.shape).astype(y.dtype)}
    plain, optimised = (
        run(pulled, {"x": x, **given}, optimised=how)[gradients["x"]] for how in (False, True)
    )
    np.testing.assert_allclose(plain, optimised, rtol=1e-5, atol=1e-6)
    return np.asarray(optimised)


# Without a zero point, whose type the result would have, it is uint8.
@pytest.mark.parametrize(
    ("name", "with_zero"), [*((name, True) for name in RANGES), ("uint8", False)]
)
def test_one_scale_and_what_it_clips(name: str, with_zero: bool) -> None:
    low, high = RANGES[name]
    offset = 3 if with_zero else 0
    zero = integers(name, offset)[0] if with_zero else None
    scale = np.float32(0.25)
    steps = np.array([low - 2, low - 0.75, low, low + 1, high - 1, high, high + 0.75, high + 2])
    x = ((steps - offset) * scale).astype(np.float32)
    proto = there_and_back(["N"], np.array(scale), None if zero is None else np.array(zero))
    # The lowest and the highest number are not clipped: nothing else would round to them.
    assert adjoint(proto, x, 2.0).tolist() == [0, 0, 2, 2, 2, 2, 0, 0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), axis=st.integers(-3, 2), free=st.booleans())
def test_a_scale_per_entry_of_an_axis(seed: int, axis: int, free: bool) -> None:
    rng = np.random.default_rng(seed)
    count = SHAPE[axis]
    scale = rng.uniform(0.01, 0.1, count).astype(np.float32)
    zero = rng.integers(-100, 100, count).astype(np.int8)
    along = [count if a == axis % 3 else 1 for a in range(3)]
    s, z = scale.reshape(along), zero.reshape(along).astype(np.float32)
    # A quarter of a step beside a whole number, so that rounding is not what decides.
    steps = rng.integers(-160, 160, SHAPE) + 0.25
    steps[0, 0, :2] = 0.25, 150.25
    x, g = ((steps - z) * s).astype(np.float32), rng.standard_normal(SHAPE).astype(np.float32)
    shape: Shape = ["N", "A", "B"] if free else SHAPE
    found = adjoint(there_and_back(shape, scale, zero, axis=axis), x, g)
    inside = (steps >= -128.5) & (steps <= 127.5)
    np.testing.assert_allclose(found, np.where(inside, g, 0), rtol=1e-5)
    assert inside.any()
    assert not inside.all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_differences_over_many_steps_are_the_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, zero = np.array(rng.uniform(0.001, 0.002), np.float32), np.array(40, np.uint8)
    x = rng.uniform(-0.03, 0.2, (2, 5)).astype(np.float32)
    proto = there_and_back(["N", 5], scale, zero)
    found = adjoint(proto, x)
    reach = np.float32(20 * scale)
    ahead, behind = (run(proto, {"x": x + s * reach})["y"] for s in (1, -1))
    low, high = -40.5 * scale, 215.5 * scale
    smooth = (np.abs(x - low) > reach) & (np.abs(x - high) > reach)
    numeric = (ahead - behind) / (2 * reach)
    # Each end may be rounded by half a step: one in forty.
    np.testing.assert_allclose(found[smooth], numeric[smooth], atol=0.03)


# Before opset 19, scales are float32.
@pytest.mark.parametrize(
    ("opset", "dtype"),
    [(18, "float32"), *((opset, d) for opset in (19, 21, 23) for d in ("float32", "float16"))],
)
def test_types_of_numbers_and_versions(opset: int, dtype: str) -> None:
    x = np.array([[-40, 0.5, 1], [2, 3, 900]], dtype)
    zero, scale = np.array(128, np.uint8), np.array(0.25, dtype)
    found = adjoint(there_and_back(["N", 3], scale, zero, dtype=dtype, opset=opset), x, 0.5)
    assert found.dtype == dtype
    assert found.tolist() == [[0, 0.5, 0.5], [0.5, 0.5, 0]]


MOVEMENT: dict[str, tuple[list[Any], dict[str, Array]]] = {
    "Transpose": ([node("Transpose", ["q"], ["r"], perm=[0, 2, 1])], {}),
    "Reshape": ([node("Reshape", ["q", "c"], ["r"])], {"c": np.array([2, -1])}),
    "Slice": (
        [node("Slice", ["q", "c", "d", "e"], ["r"])],
        {"c": np.array([1]), "d": np.array([3]), "e": np.array([2])},
    ),
    "Concat": ([node("Concat", ["q", "q"], ["r"], axis=1)], {}),
    "Gather": ([node("Gather", ["q", "c"], ["r"], axis=2)], {"c": np.array([2, 0, 2])}),
    "Identity": ([node("Identity", ["q"], ["r"])], {}),
    "Squeeze": (
        [node("Unsqueeze", ["q", "c"], ["u"]), node("Squeeze", ["u", "c"], ["r"])],
        {"c": np.array([1])},
    ),
}


@pytest.mark.parametrize("name", MOVEMENT)
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_quantised_numbers_are_carried_along(name: str, kind: str) -> None:
    between, constants = MOVEMENT[name]
    x = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    zero, scale = integers(kind, 3).reshape(()), np.array(0.02, np.float32)
    proto = there_and_back(["N", *SHAPE[1:]], scale, zero, between=between)
    proto.graph.initializer.extend(
        helper.make_tensor(n, TensorProto.INT64, c.shape, c) for n, c in constants.items()
    )
    # The same nodes on the numbers themselves.
    renamed = [node("Identity", ["x"], ["q"], name="n_in"), *between]
    plain = model(
        [*renamed, node("Identity", ["r"], ["y"], name="n_out")],
        [value("x", ["N", *SHAPE[1:]])],
        [value("y", None)],
        constants,
        opset=21,
        ir=10,
    )
    g = np.random.default_rng(1).standard_normal(run(plain, {"x": x})["y"].shape)
    np.testing.assert_allclose(adjoint(proto, x, g), adjoint(plain, x, g), rtol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_largest_quantised_numbers(kind: str, strides: list[int]) -> None:
    # Whole numbers of steps, so that quantisation changes no order.
    x = np.random.default_rng(0).permutation(96).reshape(2, 1, 6, 8).astype(np.float32)
    pool = node("MaxPool", ["q"], ["r"], kernel_shape=[2, 2], strides=strides)
    zero = integers(kind, 7).reshape(())
    proto = there_and_back(["N", 1, 6, 8], np.array(1, np.float32), zero, between=[pool])
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=strides)
    plain = model([pool], [value("x", ["N", 1, 6, 8])], [value("y", None)], opset=21, ir=10)
    g = np.random.default_rng(1).standard_normal(run(plain, {"x": x})["y"].shape)
    np.testing.assert_allclose(adjoint(proto, x, g), adjoint(plain, x, g), rtol=1e-5)


@pytest.mark.parametrize("x", [[[-1, 0.5, 2]], [[0, 0, 0]], [[0.1, 3, 7], [0.2, 0.3, 0.4]]])
def test_a_scale_that_the_tensor_sets(x: list[list[float]]) -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    proto = model(nodes, [value("x", ["N", 3])], [value("y", None)], opset=21, ir=10)
    found = adjoint(proto, np.array(x, np.float32), 2.0)
    np.testing.assert_allclose(found, np.full_like(found, 2), rtol=1e-6)


def test_a_scale_per_block_is_refused() -> None:
    scale, zero = np.ones((2, 2), np.float32), np.zeros((2, 2), np.int8)
    proto = there_and_back(["N", 4], scale, zero, axis=1, block_size=2)
    with pytest.raises(MissingRules) as caught:
        pulled_back(proto, ["x"])
    reasons = [(missing.node.op_type, missing.reason) for missing in caught.value.nodes]
    assert reasons == [
        ("QuantizeLinear", "it has a scale per block"),
        ("DequantizeLinear", "it has a scale per block"),
    ]
