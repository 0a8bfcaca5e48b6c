"""Each operator that changed between opset 7 and 18: its old form against its new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests import graphs
from tests.rewrite.modernised import assert_same, operators, single

Array = NDArray[Any]

X = graphs.samples(0, 2, 3, 4, 5) * 4 - 2
ROWS = ("Softmax", "LogSoftmax", "Hardmax")
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
# float32 sums over other strides.
SUMS = 2e-6


def same(op: str, version: int, feeds: Mapping[str, Array], **options: Any) -> list[str]:
    """The operators that ``op`` becomes, with and without declared shapes; outputs stay equal."""
    rel = options.pop("rel", 0.0)
    found = []
    for shapes in (False, True):
        proto = single(op, feeds, version, shapes=shapes, **options)
        found = operators(assert_same(proto, feeds, rel=rel).graph)
    return found


@pytest.mark.parametrize("version", [7, 10, 11, 12])
@pytest.mark.parametrize("axes", [None, [1], [1, 3]])
def test_squeeze(version: int, axes: list[int] | None) -> None:
    attributes = {} if axes is None else {"axes": axes}
    x = graphs.samples(0, 2, 1, 3, 1)
    assert same("Squeeze", version, {"x": x}, **attributes) == ["Squeeze"]


@pytest.mark.parametrize(
    ("version", "axes"), [(7, [0]), (10, [1, 3]), (11, [-1]), (12, [0, -2]), (13, None)]
)
def test_unsqueeze(version: int, axes: list[int] | None) -> None:
    x = graphs.samples(0, 2, 3)
    feeds = {"x": x} if axes else {"x": x, "axes": np.array([0, -1], np.int64)}
    assert same("Unsqueeze", version, feeds, **({"axes": axes} if axes else {})) == ["Unsqueeze"]


@pytest.mark.parametrize("version", [7, 11, 12, 13, 17])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, version: int) -> None:
    x = graphs.samples(0, 2, 3, 4, 5) + 0.5
    for attributes in ({}, {"axes": [1, 3]}, {"axes": [2], "keepdims": 0}, {"axes": [-1, 0]}):
        if version < 11 and -1 in attributes.get("axes", []):  # type: ignore[operator]
            continue
        feeds = {"x": x}
        if name == "Sum" and version >= 13 and "axes" in attributes:
            feeds["axes"] = np.array(attributes.pop("axes"), np.int64)
        assert same(f"Reduce{name}", version, feeds, rel=SUMS, **attributes) == [f"Reduce{name}"]


def test_an_empty_list_of_axes_reduces_all_of_them() -> None:
    proto = single("ReduceMax", {"x": X}, 11)
    proto.graph.node[0].attribute.append(
        onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS)
    )
    assert graphs.run(assert_same(proto, {"x": X}), {"x": X})["y"].shape == (1, 1, 1, 1)


@pytest.mark.parametrize("version", [7, 11, 12])
def test_split(version: int) -> None:
    outputs = ("y", "z")
    assert same("Split", version, {"x": X}, outputs=outputs, axis=2) == ["Split"]
    same("Split", version, {"x": X}, outputs=outputs, axis=1, split=[1, 2])
    if version >= 11:
        same("Split", version, {"x": X}, outputs=("y", "z", "w"), axis=-1, split=[2, 1, 2])


@pytest.mark.parametrize("version", [13, 17])
def test_split_with_an_input(version: int) -> None:
    sizes = np.array([4, 1], np.int64)
    same("Split", version, {"x": X, "sizes": sizes}, outputs=("y", "z"), axis=-1)
    same("Split", version, {"x": X}, outputs=("y", "z"), axis=-2)


@pytest.mark.parametrize("version", [7, 9])
def test_slice(version: int) -> None:
    same("Slice", version, {"x": X}, starts=[1, 1], ends=[2, 9])
    same("Slice", version, {"x": X}, starts=[-3, 0], ends=[-1, 2], axes=[3, 1])


@pytest.mark.parametrize("version", [10, 11, 12, 17])
def test_slice_with_inputs(version: int) -> None:
    ends = {"s": np.array([-1], np.int64), "e": np.array([-5], np.int64)}
    axes = {"a": np.array([3], np.int64), "t": np.array([-2], np.int64)}
    assert same("Slice", version, {"x": X, **ends, **axes}) == ["Slice"]


@pytest.mark.parametrize("version", [7, 9])
def test_top_k(version: int) -> None:
    assert same("TopK", version, {"x": X}, outputs=("y", "i"), k=3) == ["TopK"]
    same("TopK", version, {"x": X}, outputs=("y", "i"), k=2, axis=1)


@pytest.mark.parametrize("version", [10, 11, 17])
def test_top_k_with_an_input(version: int) -> None:
    attributes = {"largest": 0} if version >= 11 else {}
    feeds = {"x": X, "k": np.array([2], np.int64)}
    same("TopK", version, feeds, outputs=("y", "i"), axis=2, **attributes)


@pytest.mark.parametrize("version", [7, 10])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_pad(version: int, dtype: str) -> None:
    x, pads = X.astype(dtype), [0, 1, 0, 2, 0, 0, 3, 1]
    assert same("Pad", version, {"x": x}, pads=pads)[-1] == "Pad"
    same("Pad", version, {"x": x}, pads=pads, value=0.1)
    same("Pad", version, {"x": x}, pads=[0, 0, -1, 0, 0, 0, 2, -2], value=-1.5)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_pad_with_what_is_there(mode: str) -> None:
    pads = [0, 0, 1, 2, 0, 0, 2, 1]
    assert same("Pad", 7, {"x": X}, pads=pads, mode=mode) == ["Pad"]
    feeds = {"x": X, "pads": np.array(pads, np.int64)}
    for version in (11, 13, 17):
        assert same("Pad", version, feeds, mode=mode) == ["Pad"]


@pytest.mark.parametrize("version", [7, 11, 12])
@pytest.mark.parametrize("op", ROWS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2, 3])
def test_softmax_of_a_matrix(op: str, version: int, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    found = same(op, version, {"x": X}, rel=SUMS, **attributes)
    assert found == ([op] if axis == 3 else ["Flatten", op, "Shape", "Reshape"])


@pytest.mark.parametrize("op", ROWS)
@pytest.mark.parametrize("axis", [-1, -2, -4])
def test_softmax_over_axes_counted_from_the_end(op: str, axis: int) -> None:
    found = same(op, 11, {"x": X}, rel=SUMS, axis=axis)
    assert found == ([op] if axis == -1 else ["Flatten", op, "Shape", "Reshape"])


@pytest.mark.parametrize("op", ROWS)
@pytest.mark.parametrize("version", [13, 17])
def test_softmax_over_one_axis_stays(op: str, version: int) -> None:
    assert same(op, version, {"x": X}, axis=1) == [op]
    assert same(op, version, {"x": X}) == [op]


def test_softmax_of_rows_is_one_node_where_the_rank_is_known() -> None:
    feeds = {"x": X[0, 0]}
    assert operators(assert_same(single("Softmax", feeds, 9), feeds).graph) == ["Softmax"]
    unknown = assert_same(single("Softmax", feeds, 9, shapes=False), feeds)
    assert operators(unknown.graph) == ["Flatten", "Softmax", "Shape", "Reshape"]


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 2, 3)])
def test_softmax_of_nothing(shape: tuple[int, ...]) -> None:
    same("Softmax", 11, {"x": np.zeros(shape, np.float32)}, axis=1)


def test_a_wrong_shape_in_the_file_is_not_believed() -> None:
    nodes = [graphs.node("Abs", ["x"], ["h"]), graphs.node("Softmax", ["h"], ["y"])]
    proto = graphs.model(
        nodes, [graphs.value("x", [2, 3, 4, 5])], [graphs.value("y", None)], opset=11
    )
    proto.graph.value_info.append(graphs.value("h", [2, 60]))
    assert "Flatten" in operators(assert_same(proto, {"x": X}, rel=SUMS).graph)


@pytest.mark.parametrize("version", [7, 9, 10])
@pytest.mark.parametrize("bounds", [{}, {"min": -0.3}, {"max": 0.7}, {"min": -0.3, "max": 0.7}])
def test_clip(version: int, bounds: dict[str, float]) -> None:
    assert same("Clip", version, {"x": X}, **bounds)[-1] == "Clip"


@pytest.mark.parametrize("version", [11, 12, 13])
def test_clip_with_inputs(version: int) -> None:
    assert same(
        "Clip", version, {"x": X, "top": np.array(0.7, np.float32)}, inputs=["x", "", "top"]
    ) == ["Clip"]


@pytest.mark.parametrize("version", [7, 9, 10, 11])
def test_dropout_at_inference(version: int) -> None:
    assert same("Dropout", version, {"x": X}, ratio=0.4) == ["Identity"]
    proto = single("Dropout", {"x": X}, version, outputs=("y", "unused"))
    proto.graph.output.pop()
    assert operators(assert_same(proto, {"x": X}).graph) == ["Identity"]
    same("Dropout", version, {"x": X}, outputs=("y", "mask"))


@pytest.mark.parametrize("version", [12, 13])
def test_dropout_of_today_stays(version: int) -> None:
    feeds = {"x": X, "ratio": np.array(0.4, np.float32)}
    assert same("Dropout", version, feeds, outputs=("y", "mask")) == ["Dropout"]


def statistics(*shape: int) -> dict[str, Array]:
    return {
        "x": X,
        **{name: graphs.samples(i, *shape) + 0.5 for i, name in enumerate("sbmv", start=1)},
    }


@pytest.mark.parametrize("version", [7, 8, 9, 13, 14, 15, 17])
def test_batch_normalization(version: int) -> None:
    attributes = {"momentum": 0.8, "epsilon": 1e-3}
    assert same("BatchNormalization", version, statistics(3), rel=1e-6, **attributes) == [
        "BatchNormalization"
    ]
    if version < 9:
        same("BatchNormalization", version, statistics(3), rel=1e-6, spatial=1)


@pytest.mark.parametrize("version", [7, 8])
def test_batch_normalization_per_activation(version: int) -> None:
    feeds = statistics(3, 4, 5)
    found = same("BatchNormalization", version, feeds, rel=1e-6, spatial=0, epsilon=0.1)
    assert found[-1] == "Add"


@pytest.mark.parametrize("version", [9, 10])
def test_scatter(version: int) -> None:
    indices = np.array([[2, 0, 1], [0, 2, 1]], np.int64)
    feeds = {"x": X[0, 0], "i": indices, "u": graphs.samples(3, 2, 3)}
    assert same("Scatter", version, feeds) == ["ScatterElements"]
    assert same("Scatter", version, feeds, axis=1) == ["ScatterElements"]


@pytest.mark.parametrize("version", [10, 15, 16])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(version: int, mode: str) -> None:
    feeds = {
        "x": X,
        "rois": np.array([[0, 0, 7, 5], [1, 2, 6, 7], [0.5, 0.5, 3, 3]], np.float32),
        "batch": np.array([1, 0, 1], np.int64),
    }
    sizes = {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.5}
    assert same("RoiAlign", version, feeds, mode=mode, **sizes) == ["RoiAlign"]


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("version", [7, 13, 14])
def test_recurrent_operators_keep_their_layout(op: str, version: int) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    feeds = {
        "x": X[0],
        "w": graphs.weight(1, 1, gates * 6, 5),
        "r": graphs.weight(2, 1, gates * 6, 6),
    }
    assert same(op, version, feeds, outputs=("y", "h"), hidden_size=6) == [op]


EXPERIMENTAL = [
    ("Affine", {"alpha": 0.3, "beta": -1.5}),
    ("Affine", {}),
    ("ImageScaler", {"scale": 0.5, "bias": [0.1, -0.2, 3.0]}),
    ("ParametricSoftplus", {"alpha": 0.7, "beta": 1.5}),
    ("ScaledTanh", {"alpha": 1.7, "beta": 0.6}),
    ("Scale", {"scale": -2.5}),
    ("ThresholdedRelu", {"alpha": 0.5}),
    ("ThresholdedRelu", {}),
]


@pytest.mark.parametrize("version", [7, 9])
@pytest.mark.parametrize(("op", "attributes"), EXPERIMENTAL)
def test_operators_that_were_dropped(op: str, attributes: dict[str, Any], version: int) -> None:
    assert op == "ThresholdedRelu" or op not in same(op, version, {"x": X}, rel=1e-6, **attributes)


def test_the_last_forms_of_constants_are_read_from_weights() -> None:
    """A scale that is an initializer decides how a Resize of opset 10 is written."""
    scales = numpy_helper.from_array(np.array([1, 1, 2, 3], np.float32), "scales")
    proto = single("Resize", {"x": X}, 10, inputs=["x", "scales"])
    proto.graph.initializer.append(scales)
    (node,) = assert_same(proto, {"x": X}).graph.node
    assert list(node.input) == ["x", "", "scales"]
    assert helper.get_node_attr_value(node, "nearest_mode") == b"floor"
