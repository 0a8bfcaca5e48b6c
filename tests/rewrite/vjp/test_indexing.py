"""Adjoints of picking by index and putting in its place, against differences of the operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.rewrite.vjp import MissingRules
from tests.rewrite.gradients import check, check_on_runtime, pulled_back, runner
from tests.rewrite.vjp.one_node import Array, check_node, normal, one_node

FREE = pytest.mark.parametrize("free", [False, True])
CONSTANT = pytest.mark.parametrize("constant", [True, False])
# Tuples of indices must have a known length, see test_tuples_of_unknown_length_are_refused.
TUPLES = pytest.mark.parametrize(
    ("constant", "free"), [(True, True), (True, False), (False, False)]
)


def ints(*numbers: Any) -> Any:
    return np.array(numbers, np.int64)


def picked(
    kind: str, x: Array, indices: Array, constant: bool, free: bool, **attributes: Any
) -> None:
    """Check an operator that reads ``x`` at ``indices``."""
    feeds, constants = {"x": x}, {"i": indices}
    if constant:
        check_node(kind, feeds, constants, free=free, **attributes)
    else:
        check_node(kind, feeds | constants, free=free, **attributes)


# Of axes of length 5: one, a run, steps, a permutation, from the end, repeated, of rank 0 and 2.
INDICES = [
    ints(3),
    ints(1, 2, 3),
    ints(0, 2, 4),
    ints(1, 3),
    ints(4, 2, 0, 1, 3),
    ints(-1, 1),
    ints(1, 1, 4, -1, 1, 0),
    np.array(2),
    np.array(-1),
    ints([0, 3], [4, 1]),
    ints([0, 1, 1], [4, 1, -5]),
]


@FREE
@CONSTANT
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("indices", INDICES)
def test_gather(indices: Array, axis: int, constant: bool, free: bool) -> None:
    shape = [2, 3, 4]
    shape[axis] = 5
    picked("Gather", normal(0, *shape), indices, constant, free, axis=axis)


def test_gather_with_narrow_indices() -> None:
    x = normal(1, 2, 5)
    picked("Gather", x, np.array([4, 0, 4], np.int32), constant=False, free=True, axis=1)


def test_gather_of_one_entry_is_one_padding() -> None:
    """The class token of a vision transformer."""
    proto = one_node("Gather", {"x": normal(2, 2, 5, 3)}, {"i": np.array(0)}, axis=1)
    written, *_ = pulled_back(proto, ["x"])
    assert [n.op_type for n in written.graph.node] == ["Gather", "Reshape", "Pad", "Identity"]


@FREE
@CONSTANT
@settings(max_examples=8, deadline=None)
@given(axis=st.integers(-3, 2), length=st.integers(1, 6), seed=st.integers(0, 99))
def test_gather_elements(constant: bool, free: bool, axis: int, length: int, seed: int) -> None:
    shape = [2, 3, 4]
    counted = [2, 2, 3]
    size, counted[axis] = shape[axis], length
    indices = np.random.default_rng(seed).integers(-size, size, counted)
    picked("GatherElements", normal(seed, *shape), indices, constant, free, axis=axis)


def tuples(seed: int, lengths: tuple[int, ...], *shape: int) -> NDArray[np.int64]:
    """Tuples of indices into axes of these lengths, from either end; some repeat."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(-size, size, shape) for size in lengths], axis=-1)


@TUPLES
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("shape", [(7,), (2, 3)])
def test_gather_nd(shape: tuple[int, ...], depth: int, constant: bool, free: bool) -> None:
    indices = tuples(depth, (2, 3, 4)[:depth], *shape)
    picked("GatherND", normal(3, 2, 3, 4), indices, constant, free)


@TUPLES
@pytest.mark.parametrize(("batch_dims", "shape"), [(1, (2, 5)), (1, (2, 2, 2)), (2, (2, 3, 4))])
def test_gather_nd_in_batches(
    batch_dims: int, shape: tuple[int, ...], constant: bool, free: bool
) -> None:
    lengths = (2, 3, 4, 2)[batch_dims : batch_dims + 1]
    indices = tuples(4, lengths, *shape)
    picked("GatherND", normal(5, 2, 3, 4, 2), indices, constant, free, batch_dims=batch_dims)


@pytest.mark.parametrize("kind", ["GatherND", "ScatterND"])
def test_tuples_of_unknown_length_are_refused(kind: str) -> None:
    feeds = {"x": normal(6, 2, 3), "i": ints([0], [1])}
    attributes: dict[str, Any] = {}
    if kind == "ScatterND":
        feeds["u"] = normal(6, 2, 3)
        attributes["reduction"] = "mul"
    with pytest.raises(MissingRules) as caught:
        pulled_back(one_node(kind, feeds, free=True, **attributes), ["x"])
    reasons = [missing.reason for missing in caught.value.nodes]
    assert reasons == ["it is not known how many axes are indexed"]


def apart(seed: int, *shape: int) -> Array:
    """Values of either sign that are at least 0.1 from 0 and from each other."""
    size = int(np.prod(shape))
    rng = np.random.default_rng(seed)
    values: Array = (rng.permutation(size) + 1) * rng.choice([-0.1, 0.1], size)
    return values.reshape(shape)


def check_scatter(kind: str, feeds: dict[str, Array], constant: bool, **how: Any) -> None:
    """Check the adjoints of both the data ``x`` and the updates ``u``; indices are ``i``."""
    constants = {"i": feeds["i"]} if constant else {}
    given = {name: array for name, array in feeds.items() if name not in constants}
    proto = one_node(kind, given, constants, inputs=["x", "i", "u"], **how)
    # A product is not linear: a small step.
    check(proto, given)
    check_on_runtime(proto, given)


REDUCTIONS = pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])


@FREE
@CONSTANT
@REDUCTIONS
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter_elements_with_repetitions(
    axis: int, reduction: str, constant: bool, free: bool
) -> None:
    shape, size = [2, 3, 4], [2, 2, 3]
    size[axis] = 5
    rng = np.random.default_rng(7)
    indices = rng.integers(-shape[axis], shape[axis], size)
    values = apart(8, 24 + int(np.prod(size)))
    feeds = {"x": values[:24].reshape(shape), "i": indices, "u": values[24:].reshape(size)}
    check_scatter("ScatterElements", feeds, constant, axis=axis, reduction=reduction, free=free)


@FREE
@CONSTANT
@pytest.mark.parametrize("axis", [1, -1])
def test_scatter_elements_that_replaces(axis: int, constant: bool, free: bool) -> None:
    rng = np.random.default_rng(9)
    length = 3 if axis == 1 else 4
    rows = [rng.permutation(length)[:2] - length * (i % 2) for i in range(6)]
    indices = np.array(rows).reshape(2, 3, 2)
    if axis == 1:
        indices = indices.transpose(0, 2, 1)
    feeds = {"x": normal(10, 2, 3, 4), "i": indices, "u": normal(11, *indices.shape)}
    check_scatter("ScatterElements", feeds, constant, axis=axis, free=free)


@CONSTANT
@REDUCTIONS
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_scatter_nd_with_repetitions(depth: int, reduction: str, constant: bool) -> None:
    lengths = (2, 3, 4)
    indices = tuples(depth, lengths[:depth], 5)
    shape = (5, *lengths[depth:])
    values = apart(12, 24 + int(np.prod(shape)))
    feeds = {"x": values[:24].reshape(lengths), "i": indices, "u": values[24:].reshape(shape)}
    check_scatter("ScatterND", feeds, constant, reduction=reduction, opset=18)


@FREE
@CONSTANT
def test_scatter_nd_that_replaces(constant: bool, free: bool) -> None:
    indices = ints([[0, 1], [1, -1]], [[0, 0], [-1, 0]])
    feeds = {"x": normal(13, 2, 3, 4), "i": indices, "u": normal(14, 2, 2, 4)}
    check_scatter("ScatterND", feeds, constant, free=free)


def adjoints(proto: Any, feeds: dict[str, Array], dy: Array) -> dict[str, list[Any]]:
    """The adjoints of all inputs of doubles, as nested lists."""
    names = [name for name, array in feeds.items() if array.dtype == np.float64]
    model, gradients, seeds = pulled_back(proto, names)
    found = runner(model)({**feeds, seeds["y"]: dy})
    return {name: found[gradients[name]].tolist() for name in names}


def test_factors_of_zero_by_hand() -> None:
    """Rows 2·3·0, 5·0·0, 7 and 0·4: only an only 0 has a derivative, and what stays is left alone."""
    feeds = {"x": np.array([2.0, 5, 7, 0]), "u": np.array([3.0, 0, 0, 0, 4])}
    constants = {"i": ints(0, 0, 1, 1, -1)}
    proto = one_node("ScatterElements", feeds, constants, inputs=["x", "i", "u"], reduction="mul")
    found = adjoints(proto, feeds, np.array([1.0, 1, 10, 1]))
    assert found == {"x": [0.0, 0.0, 10.0, 4.0], "u": [0.0, 6.0, 0.0, 0.0, 0.0]}


def test_equal_largest_values_share_by_hand() -> None:
    feeds = {"x": np.array([1.0, 2, 3]), "u": np.array([2.0, 1, 5, 5, 0])}
    constants = {"i": ints(1, 1, 0, 0, 2)}
    proto = one_node("ScatterElements", feeds, constants, inputs=["x", "i", "u"], reduction="max")
    found = adjoints(proto, feeds, np.array([8.0, 4, 1]))
    assert found == {"x": [0.0, 2.0, 1.0], "u": [2.0, 0.0, 4.0, 4.0, 0.0]}


@FREE
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_top_k(axis: int, largest: int, free: bool) -> None:
    x, k = {"x": apart(15, 3, 4, 2)}, {"k": ints(2)}
    how: Any = {"outputs": ["y", "i"], "inner": ["i"], "axis": axis, "largest": largest}
    proto = one_node("TopK", x, k, free=free, **how)
    check(proto, x)
    check_on_runtime(proto, x)


@FREE
@CONSTANT
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_compress(axis: int | None, constant: bool, free: bool) -> None:
    marked, x = np.array([True, False, True]), {"x": normal(16, 3, 4, 3)}
    feeds, constants = (x, {"c": marked}) if constant else (x | {"c": marked}, {})
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    check_node("Compress", feeds, constants, free=free, **attributes)


@FREE
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis: int, free: bool) -> None:
    feeds = {"i": ints([0, 3, -1], [2, 2, 9]), "v": np.array([-0.5, 2.0])}
    order = ["i", "depth", "v"]
    check_node("OneHot", feeds, {"depth": np.array(4)}, inputs=order, axis=axis, free=free)


@pytest.mark.parametrize("sized", [False, True])
def test_max_unpool(sized: bool) -> None:
    indices = ints(1, 7, 8, 15, 17, 20, 27, 29).reshape(2, 1, 2, 2)
    constants = {"i": indices} | ({"shape": ints(2, 1, 4, 4)} if sized else {})
    x = normal(17, 2, 1, 2, 2).astype(np.float32)
    proto = one_node(
        "MaxUnpool", {"x": x}, constants, element="float32", kernel_shape=[2, 2], strides=[2, 2]
    )
    check(proto, {"x": x}, wrt=["x"], step=0.5)


@FREE
@pytest.mark.parametrize(
    "windows", [{}, {"strides": [2, 1]}, {"dilations": [1, 2]}, {"pads": [1, 0, 2, 1]}]
)
def test_col2im(windows: dict[str, list[int]], free: bool) -> None:
    strides, dilations = windows.get("strides", [1, 1]), windows.get("dilations", [1, 1])
    pads, image, block = windows.get("pads", [0] * 4), (4, 6), (2, 3)
    counts = [
        (image[a] + pads[a] + pads[a + 2] - dilations[a] * (block[a] - 1) - 1) // strides[a] + 1
        for a in range(2)
    ]
    x = {"x": normal(18, 2, 3 * 6, int(np.prod(counts)))}
    constants = {"image": ints(*image), "block": ints(*block)}
    check_node("Col2Im", x, constants, free=free, **windows)


def test_col2im_of_a_size_known_at_run_time_is_refused() -> None:
    feeds = {"x": normal(19, 2, 4, 6), "image": ints(3, 4)}
    with pytest.raises(MissingRules) as caught:
        pulled_back(one_node("Col2Im", feeds, {"block": ints(2, 2)}), ["x"])
    reasons = [missing.reason for missing in caught.value.nodes]
    assert reasons == ["the shapes of the image and the windows are not constant"]


def test_half_precision_adds_up_where_the_runtime_cannot() -> None:
    x, indices = normal(20, 2, 5).astype(np.float16), ints(1, 1, 4, -1)
    proto = one_node("Gather", {"x": x}, {"i": indices}, element="float16", axis=1)
    written, gradients, seeds = pulled_back(proto, ["x"])
    dy = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float16)
    found = runner(written)({"x": x, seeds["y"]: dy})[gradients["x"]]
    assert found.dtype == np.float16
    assert found.tolist() == [[0, 3, 0, 0, 7], [0, 11, 0, 0, 15]]
