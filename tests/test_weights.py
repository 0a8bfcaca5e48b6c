"""External data: every pointer out of the model file is checked, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lsa_onnx.errors import ModelError, UnsafeModelError
from lsa_onnx.model import load_model, with_weights
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.session import Session
from lsa_onnx.scanning import ScanOptions, scan
from lsa_onnx.weights import all_tensors, is_external, move_weights_out
from tests import graphs
from tests.graphs import model, node, run, samples, save, save_external, value, weight


def external(name: str, entries: dict[str, str], count: int = 20) -> onnx.TensorProto:
    """A float tensor of shape (5, count / 5) in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[5, count // 5])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def as_initializer(tensor: onnx.TensorProto) -> onnx.ModelProto:
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 5])], [value("y", None)])
    proto.graph.initializer.append(tensor)
    return proto


def as_constant_node(tensor: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [node("Constant", [], ["w"], value=tensor), node("MatMul", ["x", "w"], ["y"])]
    return model(nodes, [value("x", ["N", 5])], [value("y", None)])


def in_a_branch(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branches = {}
    for side in ("then", "else"):
        held = TensorProto()
        held.CopyFrom(tensor)
        held.name = f"w_{side}"
        inner = helper.make_node("MatMul", ["x", held.name], [side])
        result = helper.make_tensor_value_info(side, TensorProto.FLOAT, None)
        branches[f"{side}_branch"] = helper.make_graph([inner], side, [], [result], [held])
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        node("If", ["c"], ["y"], **branches),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", None)])


def in_a_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    body = [helper.make_node("Constant", [], ["w"], value=tensor)]
    body.append(helper.make_node("MatMul", ["a", "w"], ["o"]))
    dense = helper.make_function("own", "F", ["a"], ["o"], body, [helper.make_opsetid("", 17)])
    call = node("F", ["x"], ["y"], domain="own")
    return model(
        [call], [value("x", ["N", 5])], [value("y", None)], imports={"own": 1}, functions=[dense]
    )


PLACES: list[Callable[[onnx.TensorProto], onnx.ModelProto]] = [
    as_initializer,
    as_constant_node,
    in_a_branch,
    in_a_function,
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "a/../../w.bin",
        "/etc/hostname",
        "C:\\w.bin",
        "..\\w.bin",
        "",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_no_pointer_leaves_the_folder(
    place: Callable[[onnx.TensorProto], onnx.ModelProto], location: str, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(80))
    (tmp_path / "inner").mkdir()
    path = save(place(external("w", {"location": location})), tmp_path / "inner" / "m.onnx")
    with pytest.raises(UnsafeModelError, match="outside the folder of the model") as caught:
        load_model(path)
    assert repr(location) in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "ten"}, "gives 'ten' as the offset"),
        ({"offset": "-4"}, "gives '-4' as the offset"),
        ({"length": "1e3"}, "gives '1e3' as the length"),
        ({"offset": "4"}, "ends at byte 84 of 'w.bin', which has 80 bytes"),
        ({"length": "96"}, "ends at byte 96 of 'w.bin', which has 80 bytes"),
        ({"length": "79"}, r"'w' holds 79 bytes, and its shape \[5, 4\] needs 80"),
        ({"__class__": "x"}, "describes its data by '__class__'"),
    ],
)
def test_entries_that_make_no_sense_are_named(
    entries: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(80))
    proto = as_initializer(external("w", {"location": "w.bin", **entries}))
    with pytest.raises(ModelError, match=message):
        load_model(save(proto, tmp_path / "m.onnx"))


def test_data_without_a_length_end_with_their_shape(tmp_path: Path) -> None:
    w = weight(0, 5, 4)
    (tmp_path / "w.bin").write_bytes(w.tobytes() + bytes(range(64)))
    proto = as_initializer(external("w", {"location": "w.bin"}))
    (tensor,) = load_model(save(proto, tmp_path / "m.onnx")).proto.graph.initializer
    assert np.array_equal(onnx.numpy_helper.to_array(tensor), w)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("count", [20, 2000])
def test_data_beside_the_model_is_used_wherever_it_is_referred_to(
    place: Callable[[onnx.TensorProto], onnx.ModelProto], count: int, tmp_path: Path
) -> None:
    w = weight(0, 5, count // 5)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(w.tobytes())
    proto = place(external("w", {"location": "sub/w.bin"}, count))
    loaded = load_model(save(proto, tmp_path / "m.onnx"))
    assert [Path(file.path).name for file in loaded.sidecars] == ["w.bin"]
    x = samples(1, 3, 5)
    for each in (loaded.proto, with_weights(loaded, loaded.proto)):
        np.testing.assert_allclose(run(each, {"x": x}, loaded.folder)["y"], x @ w, rtol=1e-5)
    complete = with_weights(loaded, loaded.proto)
    assert not any(is_external(tensor) for tensor in all_tensors(complete))


def download_cache(folder: Path, proto: onnx.ModelProto) -> Path:
    """The model as Hugging Face keeps it: links to files that are named after their content, in one folder."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "0f1e"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_external(proto, blobs / "1a2b")
    (blobs / "weights.data").rename(blobs / "3c4d")
    (snapshot / "model.onnx").symlink_to("../../blobs/1a2b")
    (snapshot / "weights.data").symlink_to("../../blobs/3c4d")
    return snapshot / "model.onnx"


def test_links_of_a_download_cache_are_followed(tmp_path: Path) -> None:
    plain = graphs.conv_net()
    loaded = load_model(download_cache(tmp_path, plain))
    assert loaded.folder == tmp_path / "blobs"
    x = {"x": samples(1, 2, 3, 5, 7)}
    expected = run(plain, x)["y"]
    np.testing.assert_array_equal(run(loaded.proto, x, loaded.folder)["y"], expected)
    device = resolve_device("cpu")
    for session in (Session(loaded.proto, device, loaded.folder), Session(loaded.path, device)):
        np.testing.assert_allclose(session.run(x)["y"], expected, rtol=1e-5)


def test_a_download_cache_is_scanned(tmp_path: Path) -> None:
    path = download_cache(tmp_path, graphs.conv_net())
    options = ScanOptions(samples=3, perturbations=("gaussian", "fgsm"), device="cpu")
    report = scan(path, options)
    assert [result.name for result in report.perturbations] == ["gaussian", "fgsm"]
    assert [Path(file.path).name for file in report.model.sidecars] == ["3c4d"]
    assert all(
        layer.relative_error.mean for result in report.perturbations for layer in result.layers
    )


def test_a_second_name_of_another_file_is_not_followed(tmp_path: Path) -> None:
    """A hard link looks like a file of the model's own folder, whatever it holds."""
    (tmp_path / "model").mkdir()
    model = save_external(graphs.conv_net(), tmp_path / "model" / "m.onnx")
    (tmp_path / "model" / "weights.data").rename(tmp_path / "secret")
    (tmp_path / "model" / "weights.data").hardlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeModelError, match=r"weights\.data' has 2 hard links.*copy it"):
        load_model(model)


def test_small_external_constants_become_readable(tmp_path: Path) -> None:
    """A rewrite must see the target of a Reshape, and keep large weights outside."""
    proto = graphs.fixed_batch_net()
    loaded = load_model(save_external(proto, tmp_path / "m.onnx"))
    held = {tensor.name: is_external(tensor) for tensor in loaded.proto.graph.initializer}
    assert held == {"w": False, "shape": False, "v": True}


def test_packed_and_text_tensors_stay_inside() -> None:
    packed = helper.make_tensor("p", TensorProto.INT4, [4000], [1] * 4000)
    packed.ClearField("raw_data")
    packed.int32_data.extend([17] * 2000)
    text = numpy_helper.from_array(np.array(["word"] * 900, object), "t")
    proto = onnx.ModelProto()
    proto.graph.initializer.extend([packed, text, numpy_helper.from_array(weight(0, 50, 50), "w")])
    file = BytesIO()
    file.name = "weights.bin"
    move_weights_out(proto, file)
    assert [is_external(t) for t in proto.graph.initializer] == [False, False, True]
    assert file.getvalue() == weight(0, 50, 50).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "bool"])
def test_typed_fields_and_raw_bytes_hold_the_same(dtype: str) -> None:
    array = (weight(0, 40, 60) * 10).astype(dtype)
    element = helper.np_dtype_to_tensor_dtype(array.dtype)
    typed = helper.make_tensor("w", element, array.shape, array.reshape(-1))
    contents = []
    for tensor in (typed, numpy_helper.from_array(array, "w")):
        proto = onnx.ModelProto()
        proto.graph.initializer.append(tensor)
        file = BytesIO()
        file.name = "weights.bin"
        move_weights_out(proto, file)
        contents.append(file.getvalue())
    assert contents == [array.tobytes()] * 2
