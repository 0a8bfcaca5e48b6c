"""Loading a model: light, checked, and complete again where it must be."""

from __future__ import annotations

import gc
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lsa_onnx.errors import DataError, ModelError, UnsafeModelError
from lsa_onnx.model import load_model, with_weights
from lsa_onnx.rewrite.graph import opset
from tests import graphs


def test_a_loaded_model_is_light_and_gives_the_same_answers(tmp_path: Path) -> None:
    proto, x = graphs.elu_mlp(), graphs.samples(1, 3, 2)
    path = graphs.save(proto, tmp_path / "m.onnx")
    model = load_model(path)
    assert model.proto.ByteSize() < path.stat().st_size / 10
    large = {t.name for t in model.proto.graph.initializer if t.data_location == t.EXTERNAL}
    assert large == {"w1", "w2"}
    expected = graphs.run(proto, {"x": x})["y"]
    assert np.array_equal(graphs.run(model.proto, {"x": x}, model.folder)["y"], expected)


def test_with_weights_gives_the_model_back(tmp_path: Path) -> None:
    proto = graphs.elu_mlp()
    model = load_model(graphs.save(proto, tmp_path / "m.onnx"))
    light = model.proto.SerializeToString()
    complete = with_weights(model, model.proto)
    assert complete.SerializeToString() == proto.SerializeToString()
    assert model.proto.SerializeToString() == light


def test_what_a_model_says_of_itself(tmp_path: Path) -> None:
    path = graphs.save(graphs.conv_net(opset=7, ir=3), tmp_path / "m.onnx")
    model = load_model(path)
    assert [(v.name, v.shape, v.dtype, v.batch) for v in model.inputs] == [
        ("x", ["N", 3, 5, 7], "float32", "free")
    ]
    assert [(v.name, v.shape) for v in model.outputs] == [("y", ["N", 6])]
    assert model.parameters == 4 * 27 + 6 * 60 + 6
    assert model.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.sidecars == ()


def test_a_large_model_is_one_with_much_data_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the matrices go to a file: 2 × 100 × 100 floats."""
    model = load_model(graphs.save(graphs.elu_mlp(), tmp_path / "m.onnx"))
    monkeypatch.setattr("lsa_onnx.weights.LARGE_BYTES", 80_000)
    assert not model.is_large
    monkeypatch.setattr("lsa_onnx.weights.LARGE_BYTES", 79_999)
    assert model.is_large


def test_nodes_are_put_in_order(tmp_path: Path) -> None:
    proto, x = graphs.residual_net(), {"x": graphs.samples(1, 2, 3, 6, 8)}
    shuffled = onnx.ModelProto()
    shuffled.CopyFrom(proto)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(reversed(proto.graph.node))
    model = load_model(graphs.save(shuffled, tmp_path / "m.onnx"))
    made = [node.output[0] for node in model.proto.graph.node]
    assert sorted(made) == sorted(node.output[0] for node in proto.graph.node)
    assert made.index("c0") < made.index("r0") < made.index("sum") < made.index("y")
    expected = graphs.run(proto, x)["y"]
    assert np.array_equal(graphs.run(model.proto, x, model.folder)["y"], expected)


def test_local_functions_are_inlined_under_the_names_of_their_calls(tmp_path: Path) -> None:
    body = [
        onnx.helper.make_node("Neg", ["i"], ["t"]),
        onnx.helper.make_node("Relu", ["t"], ["o"]),
    ]
    opsets = [onnx.helper.make_opsetid("", 17)]
    function = onnx.helper.make_function("local", "Act", ["i"], ["o"], body, opsets)
    proto = graphs.model(
        [onnx.helper.make_node("Act", ["x"], ["y"], domain="local")],
        [graphs.value("x", ["N", 5])],
        [graphs.value("y", ["N", 5])],
        imports={"local": 1},
        functions=[function],
    )
    model = load_model(graphs.save(proto, tmp_path / "m.onnx"))
    assert [node.op_type for node in model.proto.graph.node] == ["Neg", "Relu"]
    assert [node.output[0] for node in model.proto.graph.node] == ["Act_0/t", "y"]


def test_the_workspace_goes_with_the_model(tmp_path: Path) -> None:
    model = load_model(graphs.save(graphs.elu_mlp(), tmp_path / "m.onnx"))
    workspace = model.workspace
    assert (workspace / "weights.bin").stat().st_size >= 2 * 100 * 100 * 4
    del model
    gc.collect()
    assert not workspace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"holds no graph \(0 bytes\)"),
        (b"ir_version: 8\ngraph { }\n", "is not an ONNX model, or is cut short"),
        (graphs.conv_net().SerializeToString()[:-50], "is not an ONNX model, or is cut short"),
    ],
    ids=["empty", "text", "truncated"],
)
def test_what_is_no_model_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert "broken.onnx" in str(caught.value)


def test_an_old_ir_version_is_refused(tmp_path: Path) -> None:
    path = graphs.save(graphs.conv_net(ir=2), tmp_path / "old.onnx")
    with pytest.raises(ModelError, match="has IR version 2; version 3 or newer"):
        load_model(path)


def test_the_first_opsets_are_raised(tmp_path: Path) -> None:
    nodes = [graphs.node("MatMul", ["x", "w"], ["h"]), graphs.node("Relu", ["h"], ["y"])]
    inputs, outputs = [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 4])]
    proto = graphs.model(nodes, inputs, outputs, {"w": graphs.weight(0, 5, 4)}, opset=6, ir=3)
    raised = load_model(graphs.save(proto, tmp_path / "old.onnx")).proto
    assert opset(raised) >= 7
    made = {name for node in raised.graph.node for name in node.output}
    assert made >= {name for node in proto.graph.node for name in node.output}
    x = graphs.samples(1, 3, 5)
    np.testing.assert_array_equal(
        graphs.run(raised, {"x": x}, tmp_path)["y"], graphs.run(proto, {"x": x})["y"]
    )


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no model file .*absent\.onnx"):
        load_model(tmp_path / "absent.onnx")
    with pytest.raises(DataError, match=f"{tmp_path.name}' is a folder"):
        load_model(tmp_path)


def test_external_data_stays_where_it_is(tmp_path: Path) -> None:
    proto, x = graphs.elu_mlp(), graphs.samples(1, 3, 2)
    path = graphs.save_external(proto, tmp_path / "m.onnx")
    model = load_model(path)
    assert model.folder == tmp_path.resolve()
    data = tmp_path / "weights.data"
    assert [s.sha256 for s in model.sidecars] == [hashlib.sha256(data.read_bytes()).hexdigest()]
    expected = graphs.run(proto, {"x": x})["y"]
    assert np.array_equal(graphs.run(model.proto, {"x": x}, model.folder)["y"], expected)
    complete = with_weights(model, model.proto)
    before = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for tensor in complete.graph.initializer:
        assert np.array_equal(numpy_helper.to_array(tensor), before[tensor.name])


@pytest.mark.parametrize("location", ["../weights.data", "/etc/hostname", "a/../../w", "C:\\w", ""])
def test_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = graphs.save_external(graphs.elu_mlp(), folder / "m.onnx")
    (folder / "weights.data").rename(tmp_path / "weights.data")
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    graphs.save(proto, path)
    with pytest.raises(UnsafeModelError) as caught:
        load_model(path)
    assert f"refers to data at {location!r}, outside the folder" in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = graphs.save_external(graphs.elu_mlp(), folder / "m.onnx")
    (folder / "weights.data").rename(tmp_path / "elsewhere")
    (folder / "weights.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeModelError, match=r"'weights\.data', outside the folder"):
        load_model(path)


def test_external_data_that_is_cut_short_or_absent_is_named(tmp_path: Path) -> None:
    path = graphs.save_external(graphs.elu_mlp(), tmp_path / "m.onnx")
    data = tmp_path / "weights.data"
    data.write_bytes(data.read_bytes()[:-8])
    size = data.stat().st_size
    with pytest.raises(ModelError, match=f"of 'weights.data', which has {size} bytes; the file is"):
        load_model(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"needs the file 'weights\.data', which is not beside"):
        load_model(path)
