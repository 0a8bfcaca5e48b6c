"""Adjoints of operators that move entries, against differences of the operators themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lsa_onnx.rewrite.vjp import MissingRules
from tests.graphs import model, node, value
from tests.rewrite.gradients import pulled_back
from tests.rewrite.vjp.one_node import check_both, check_node, normal, one_node

INT = np.int64
FREE = pytest.mark.parametrize("free", [False, True])


def ints(*numbers: int) -> Any:
    return np.array(numbers, INT)


@FREE
def test_reshape_to_a_constant_shape(free: bool) -> None:
    check_node("Reshape", {"x": normal(0, 2, 3, 4)}, {"shape": ints(0, -1, 2)}, free=free)


def test_reshape_to_a_shape_known_at_run_time() -> None:
    check_node("Reshape", {"x": normal(0, 2, 3, 4), "shape": ints(4, 6)}, free=True)


def test_reshape_of_nothing_keeps_the_empty_shape() -> None:
    check_node("Reshape", {"x": normal(0, 2, 0, 4)}, {"shape": ints(0, 4, -1)})


@FREE
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
def test_flatten(axis: int, free: bool) -> None:
    check_node("Flatten", {"x": normal(1, 2, 3, 4)}, axis=axis, free=free)


@FREE
@pytest.mark.parametrize("axes", [(1,), (-1,), (1, 3)])
def test_squeeze_and_unsqueeze(axes: tuple[int, ...], free: bool) -> None:
    check_node("Squeeze", {"x": normal(2, 2, 1, 3, 1)}, {"axes": ints(*axes)}, free=free)
    check_node("Unsqueeze", {"x": normal(2, 2, 3)}, {"axes": ints(*axes)}, free=free)


def test_squeeze_of_all_axes_of_length_one() -> None:
    check_node("Squeeze", {"x": normal(3, 2, 1, 3, 1)})


@FREE
@pytest.mark.parametrize("perm", [None, (1, 2, 0), (2, 0, 1), (0, 2, 1)])
def test_transpose(perm: tuple[int, ...] | None, free: bool) -> None:
    attributes: dict[str, Any] = {} if perm is None else {"perm": perm}
    check_node("Transpose", {"x": normal(4, 2, 3, 4)}, free=free, **attributes)


@FREE
@settings(max_examples=10, deadline=None)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=4, max_side=3))
def test_expand(free: bool, shapes: Any) -> None:
    x, target = shapes.input_shapes
    check_node("Expand", {"x": normal(5, *x)}, {"shape": ints(*target)}, free=free)


def test_expand_to_a_shape_known_at_run_time() -> None:
    check_node("Expand", {"x": normal(5, 2, 1, 3), "shape": ints(4, 1, 5, 3)}, free=True)


@FREE
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("repeats", [(1, 1, 1), (1, 3, 1), (2, 1, 3), (1, 2, 2), (1, 0, 2)])
def test_tile(repeats: tuple[int, ...], constant: bool, free: bool) -> None:
    x, given = {"x": normal(6, 2, 3, 4)}, {"repeats": ints(*repeats)}
    check_node("Tile", x if constant else {**x, **given}, given if constant else None, free=free)


@FREE
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis: int, free: bool) -> None:
    shapes = [[2, 3, 4] for _ in range(3)]
    for index, shape in enumerate(shapes):
        shape[axis] = index + 1
    feeds = {name: normal(i, *shapes[i]) for i, name in enumerate("abc")}
    check_node("Concat", feeds, axis=axis, free=free)


def test_concat_with_constants_and_of_one() -> None:
    check_node("Concat", {"x": normal(7, 2, 3)}, {"c": normal(8, 1, 3)}, axis=0)
    check_node("Concat", {"x": normal(7, 2, 3)}, axis=1)


@FREE
@pytest.mark.parametrize("axis", [1, -1])
def test_split_in_given_lengths(axis: int, free: bool) -> None:
    x, lengths = {"x": normal(9, 2, 6, 6)}, {"split": ints(1, 3, 2)}
    check_node("Split", x, lengths, outputs=["p", "q", "r"], axis=axis, free=free)


@FREE
def test_split_in_equal_lengths_with_a_shorter_last(free: bool) -> None:
    x = {"x": normal(10, 7, 2)}
    check_node("Split", x, outputs=["p", "q", "r"], num_outputs=3, free=free)


@FREE
def test_split_of_which_one_part_is_used(free: bool) -> None:
    feeds = {"x": normal(11, 2, 5, 3)}
    shape: list[int | str | None] = ["N", "C", "L"] if free else ["N", 5, 3]
    nodes = [
        node("Split", ["x", "parts"], ["p", "q", "r"], axis=1),
        node("Mul", ["q", "q"], ["y"]),
    ]
    inputs, outputs = [value("x", shape, "float64")], [value("y", None, "float64")]
    check_both(model(nodes, inputs, outputs, {"parts": ints(1, 2, 2)}, opset=18), feeds)


# start, end and step along axes of length 7: forwards and backwards, beyond both ends, nothing at all.
CUTS = [
    (0, 7, 1),
    (2, 6, 1),
    (-3, 99, 1),
    (0, 7, 2),
    (1, 7, 2),
    (0, 6, 3),
    (3, 6, 2),
    (4, 7, 3),
    (6, -99, -1),
    (-2, 0, -2),
    (5, 1, -3),
    (3, 3, 1),
    (5, 2, 1),
]


@FREE
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("cut", CUTS)
def test_slice_of_one_axis(cut: tuple[int, ...], axis: int, constant: bool, free: bool) -> None:
    x = {"x": normal(12, 2, 7, 7)}
    start, end, step = cut
    bounds = {"starts": ints(start), "ends": ints(end)}
    fixed = {"axes": ints(axis), "steps": ints(step)}
    if constant:
        check_node("Slice", x, bounds | fixed, free=free)
    else:
        check_node("Slice", x | bounds, fixed, free=free)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """The length of an axis, and start, end and step of a slice that keeps at least one entry."""
    length, step = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    first, last = draw(st.integers(0, length - 1)), draw(st.integers(0, length - 1))
    if first <= last:
        return length, first - length * draw(st.integers(0, 1)), last + 1, step
    return length, first, last - 1 if last else -length - 1, -step


@settings(max_examples=40, deadline=None)
@given(rows=cuts(), columns=cuts(), last=st.booleans(), constant=st.booleans(), free=st.booleans())
def test_slice_of_two_axes(rows: Any, columns: Any, last: bool, constant: bool, free: bool) -> None:
    starts, ends, steps = zip(rows[1:], columns[1:], strict=True)
    given = {"starts": ints(*starts), "ends": ints(*ends), "axes": ints(1, 2)}
    steps_given = {"steps": ints(*steps)}
    x = {"x": normal(13, 2, rows[0], columns[0], *([] if last else [3]))}
    if constant:
        check_node("Slice", x, given | steps_given, free=free)
    else:
        order = ["x", *given, "steps"]
        check_node("Slice", x | steps_given, given, inputs=order, free=free)


@FREE
def test_every_other_pixel_as_patch_merging_takes_it(free: bool) -> None:
    bounds = {"starts": ints(1, 0), "ends": ints(99, 99), "axes": ints(1, 2), "steps": ints(2, 2)}
    check_node("Slice", {"x": normal(13, 2, 4, 6, 3)}, bounds, free=free)


@FREE
def test_slice_of_the_leading_axes_with_narrow_bounds(free: bool) -> None:
    bounds = {"starts": np.array([0, 1], np.int32), "ends": np.array([99, 3], np.int32)}
    check_node("Slice", {"x": normal(14, 2, 4, 3)}, bounds, free=free)
    check_node("Slice", {"x": normal(14, 2, 4, 3), "starts": ints(0, 1)}, {"ends": ints(9, 3)})


def test_slice_along_axes_known_at_run_time_is_refused() -> None:
    feeds = {"x": normal(15, 2, 4), "starts": ints(1), "ends": ints(3), "axes": ints(1)}
    with pytest.raises(MissingRules) as caught:
        pulled_back(one_node("Slice", feeds), ["x"])
    assert [missing.reason for missing in caught.value.nodes] == ["the axes are not constant"]


def test_contiguous_slice_is_one_padding() -> None:
    bounds = {"starts": ints(0, 1, 2), "ends": ints(99, 4, -1), "axes": ints(0, 1, 2)}
    proto, *_ = pulled_back(one_node("Slice", {"x": normal(16, 2, 5, 6)}, bounds), ["x"])
    assert [n.op_type for n in proto.graph.node] == ["Slice", "Pad", "Identity"]


@FREE
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str, free: bool) -> None:
    check_node("DepthToSpace", {"x": normal(17, 2, 12, 2, 3)}, blocksize=2, mode=mode, free=free)


@FREE
def test_space_to_depth(free: bool) -> None:
    check_node("SpaceToDepth", {"x": normal(18, 2, 2, 4, 6)}, blocksize=2, free=free)


@FREE
@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, -1, 0, 2])
def test_trilu(k: int | None, upper: int, free: bool) -> None:
    diagonal = {} if k is None else {"k": np.array(k, INT)}
    check_node("Trilu", {"x": normal(19, 2, 3, 4)}, diagonal, upper=upper, free=free)


@FREE
@pytest.mark.parametrize(("batch_axis", "time_axis"), [(0, 1), (1, 0)])
def test_reverse_sequence(batch_axis: int, time_axis: int, free: bool) -> None:
    shape = [4, 4, 3]
    x, lengths = {"x": normal(20, *shape)}, {"lengths": ints(1, 4, 2, 3)}
    check_node("ReverseSequence", x, lengths, batch_axis=batch_axis, time_axis=time_axis, free=free)
