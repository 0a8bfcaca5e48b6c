"""``prepend``: the input's normalisation inside the graph equals the one on the host."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import prepend
from tests import graphs

SCALE = [4.0, 2.0, 0.5]
OFFSET = [-2.0, 0.25, 1.0]


def test_channels_of_nchw_images_equal_the_host() -> None:
    proto, x = graphs.conv_net(), graphs.samples(1, 3, 3, 5, 7)
    host = x * np.reshape(SCALE, (3, 1, 1)) + np.reshape(OFFSET, (3, 1, 1))
    expected = graphs.run(proto, {"x": host.astype(np.float32)})["y"]
    changed = prepend(proto, "x", SCALE, OFFSET)
    onnx.checker.check_model(changed, full_check=True)
    assert np.array_equal(graphs.run(changed, {"x": x})["y"], expected)


def test_channels_of_nhwc_images_equal_the_host() -> None:
    proto, x = graphs.nhwc_net(), graphs.samples(1, 3, 5, 7, 3)
    host = (x * np.array(SCALE) + np.array(OFFSET)).astype(np.float32)
    expected = graphs.run(proto, {"x:0": host})["y:0"]
    changed = prepend(proto, "x:0", SCALE, OFFSET, channel_axis=3)
    assert np.array_equal(graphs.run(changed, {"x:0": x})["y:0"], expected)


def test_one_scale_with_an_offset_per_channel() -> None:
    proto, x = graphs.conv_net(), graphs.samples(1, 2, 3, 5, 7)
    host = (x * 4 + np.reshape(OFFSET, (3, 1, 1))).astype(np.float32)
    changed = prepend(proto, "x", [4.0], OFFSET)
    expected = graphs.run(proto, {"x": host})["y"]
    assert np.array_equal(graphs.run(changed, {"x": x})["y"], expected)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_single_value_keeps_the_type_of_the_input(dtype: str) -> None:
    proto, x = graphs.typed_net(dtype), graphs.samples(1, 3, 5, dtype=dtype)
    changed = prepend(proto, "x", [2.0], [0.5])
    got = graphs.run(changed, {"x": x})["y"]
    host = x * np.asarray(2, dtype) + np.asarray(0.5, dtype)
    expected = graphs.run(proto, {"x": host})["y"]
    assert got.dtype == dtype
    assert got.astype(float) == pytest.approx(expected.astype(float), rel=5e-3, abs=5e-3)


def test_an_identity_adds_no_node() -> None:
    proto = graphs.conv_net()
    changed = prepend(proto, "x", [1.0, 1.0, 1.0], [0.0])
    assert changed.SerializeToString() == proto.SerializeToString()
    assert changed is not proto


def test_a_body_that_reads_the_input_reads_the_mapped_one() -> None:
    proto = graphs.if_net()
    for attribute in next(n for n in proto.graph.node if n.op_type == "If").attribute:
        attribute.g.node[0].input[0] = "x"
    proto.graph.output[0].CopyFrom(graphs.value("y", ["N", 5]))
    x = graphs.samples(1, 3, 5)
    expected = graphs.run(proto, {"x": x * 3 - 2})["y"]
    assert graphs.run(prepend(proto, "x", [3.0], [-2.0]), {"x": x})["y"] == pytest.approx(expected)


def test_a_model_of_ir_3_declares_the_new_constants() -> None:
    proto, x = graphs.conv_net(opset=7, ir=3), graphs.samples(1, 3, 3, 5, 7)
    changed = prepend(proto, "x", SCALE, OFFSET)
    onnx.checker.check_model(changed)
    host = x * np.reshape(SCALE, (3, 1, 1)) + np.reshape(OFFSET, (3, 1, 1))
    expected = graphs.run(proto, {"x": host.astype(np.float32)})["y"]
    assert np.array_equal(graphs.run(changed, {"x": x})["y"], expected)


def test_the_argument_is_not_changed() -> None:
    proto = graphs.conv_net()
    before = proto.SerializeToString()
    prepend(proto, "x", SCALE, OFFSET)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("axis", [4, -1])
def test_an_axis_that_the_input_lacks_is_refused(axis: int) -> None:
    with pytest.raises(ModelError, match=f"'x' declares no axis {axis} for its 3 channels"):
        prepend(graphs.conv_net(), "x", SCALE, OFFSET, channel_axis=axis)


def test_an_unknown_input_is_refused() -> None:
    with pytest.raises(ModelError, match="no input 'image'; its inputs are x"):
        prepend(graphs.conv_net(), "image", SCALE, OFFSET)


def test_an_integer_input_is_refused() -> None:
    nodes = [graphs.node("Cast", ["ids"], ["y"], to=graphs.FLOAT)]
    proto = graphs.model(
        nodes, [graphs.value("ids", ["N", 3], "int64")], [graphs.value("y", ["N", 3])]
    )
    with pytest.raises(ModelError, match="'ids' is of type INT64"):
        prepend(proto, "ids", [2.0], [0.0])
