"""A model read in pieces is the model that a parser reads, with its large weights in a file."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import DataError
from lsa_onnx.model import load_model
from lsa_onnx.weights import is_external, refer_to_moved, take_moved_back
from lsa_onnx.wire import parse_in_pieces
from tests import graphs
from tests.graphs import model, node, run, samples, save, value, weight

MODELS = {
    "mlp": graphs.elu_mlp(),
    "images": graphs.conv_net(opset=7, ir=3),
    "branches": graphs.if_net(),
    "half": graphs.typed_net("float16"),
}


def pieces(content: bytes) -> tuple[onnx.ModelProto, dict[int, tuple[int, int]], BytesIO]:
    weights = BytesIO()
    weights.name = "weights.bin"
    outline = parse_in_pieces(BytesIO(content), weights)
    return outline.model, outline.moved, weights


@pytest.mark.parametrize("name", MODELS)
def test_taken_back_it_is_the_same_model(name: str) -> None:
    proto = MODELS[name]
    found, moved, weights = pieces(proto.SerializeToString())
    large = {i for i, t in enumerate(proto.graph.initializer) if len(t.raw_data) > 1024}
    assert moved.keys() == large
    assert [i for i, t in enumerate(found.graph.initializer) if not t.raw_data] == sorted(large)
    take_moved_back(found, moved, weights)
    assert found.SerializeToString() == proto.SerializeToString()


def test_moved_weights_start_at_pages_and_are_found_there(tmp_path: Path) -> None:
    proto, x = graphs.elu_mlp(), {"x": samples(1, 3, 2)}
    with (tmp_path / "w.bin").open("w+b") as weights:
        outline = parse_in_pieces(BytesIO(proto.SerializeToString()), weights)
        refer_to_moved(outline.model, outline.moved, weights)
    assert len(outline.moved) == 2
    assert all(offset % 4096 == 0 for offset, _ in outline.moved.values())
    np.testing.assert_array_equal(run(outline.model, x, tmp_path)["y"], run(proto, x)["y"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(MODELS["images"].SerializeToString()) - 1))
def test_a_file_that_is_cut_short_is_no_model(length: int) -> None:
    """Or a model with fewer fields, just as the parser has it."""
    content = MODELS["images"].SerializeToString()[:length]
    try:
        expected = onnx.ModelProto.FromString(content)
    except DecodeError:
        with pytest.raises(DecodeError):
            pieces(content)
        return
    found, moved, weights = pieces(content)
    take_moved_back(found, moved, weights)
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
def test_noise_is_what_the_parser_says_it_is(content: bytes) -> None:
    """Groups aside, which the parser skips and no model has."""
    try:
        found = pieces(content)[0]
    except DecodeError:
        return
    assert found == onnx.ModelProto.FromString(content)


def test_a_graph_in_two_parts_is_one_graph() -> None:
    proto, other = graphs.elu_mlp(), onnx.ModelProto()
    extra = numpy_helper.from_array(weight(7, 30, 40), "extra")
    other.graph.initializer.append(extra)
    content = proto.SerializeToString() + other.SerializeToString()
    found, moved, weights = pieces(content)
    assert max(moved) == len(proto.graph.initializer)
    take_moved_back(found, moved, weights)
    assert found.graph.initializer[-1] == extra
    assert found == onnx.ModelProto.FromString(content)


def test_data_that_are_not_plain_bytes_stay() -> None:
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [900], [1.5] * 900)
    outside = TensorProto(name="outside", data_type=1, dims=[900], raw_data=bytes(3600))
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="w.bin")
    twice = numpy_helper.from_array(weight(0, 900), "twice")
    proto = onnx.ModelProto()
    proto.graph.initializer.extend([typed, outside])
    content = proto.SerializeToString()
    doubled = twice.SerializeToString() + TensorProto(raw_data=bytes(3600)).SerializeToString()
    length = bytes([len(doubled) & 127 | 128, len(doubled) >> 7])
    graph = b"\x2a" + length + doubled
    content += b"\x3a" + bytes([len(graph) & 127 | 128, len(graph) >> 7]) + graph
    found, moved, _ = pieces(content)
    assert moved == {}
    assert found == onnx.ModelProto.FromString(content)
    assert found.graph.initializer[2].raw_data == bytes(3600)


def mixed(folder: Path) -> onnx.ModelProto:
    """``y = x v w``, where ``v`` is in a file beside the model."""
    nodes = [node("MatMul", ["x", "v"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    proto = model(nodes, [value("x", ["N", 30])], [value("y", None)], {"w": weight(1, 40, 50)})
    beside = TensorProto(name="v", data_type=1, dims=[30, 40], data_location=TensorProto.EXTERNAL)
    # A name that this project uses too.
    beside.external_data.add(key="location", value="weights.bin")
    (folder / "weights.bin").write_bytes(weight(0, 30, 40).tobytes())
    proto.graph.initializer.append(beside)
    return proto


def test_weights_inside_and_beside_the_model_are_told_apart(tmp_path: Path) -> None:
    loaded = load_model(save(mixed(tmp_path), tmp_path / "m.onnx"))
    assert loaded.folder == tmp_path.resolve()
    held = {tensor.name: is_external(tensor) for tensor in loaded.proto.graph.initializer}
    assert held == {"w": False, "v": True}
    x = samples(2, 3, 30)
    expected = x @ weight(0, 30, 40) @ weight(1, 40, 50)
    np.testing.assert_allclose(run(loaded.proto, {"x": x}, loaded.folder)["y"], expected, rtol=1e-5)


def test_no_more_than_a_piece_of_the_weights_is_held(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    big = {"w": np.ones((2000, 3000), np.float32)}
    path = save(model(nodes, [value("x", ["N", 2000])], [value("y", None)], big), tmp_path / "m")
    tracemalloc.start()
    try:
        loaded = load_model(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert loaded.parameters == 6_000_000
    assert peak < path.stat().st_size / 4


def test_a_full_disk_is_told_from_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(graphs.elu_mlp(), tmp_path / "m.onnx")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lsa_onnx.wire.append_weights", full)
    with pytest.raises(DataError, match=r"cannot keep the weights of .*No space left.*set TMPDIR"):
        load_model(path)

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("lsa_onnx.wire.append_weights", broken)
    with pytest.raises(DataError, match=r"cannot read .*m\.onnx': Input/output error"):
        load_model(path)
