"""Custom operators are known to the sessions of a device that was given their library, and to no others."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from lsa_onnx.checking import Limits, check_model
from lsa_onnx.errors import DataError, ModelError, UnsafeModelError
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.session import Session
from tests import graphs
from tests.graphs import node, value
from tests.runtime.custom_ops import build_library, doubling_net


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


def test_a_session_runs_operators_of_the_library(library: Path) -> None:
    session = Session(doubling_net(), resolve_device("cpu", [library]))
    x = graphs.samples(0, 4, 5)
    np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x[:, :3])


def test_without_the_library_the_flag_is_named(library: Path) -> None:
    Session(doubling_net(), resolve_device("cpu", [library]))
    said = (
        "operator 'Double' of domain 'lsa.tests'; export .* or give the library .* --custom-ops LIB"
    )
    with pytest.raises(ModelError, match=said):
        Session(doubling_net(), resolve_device("cpu"))


def test_an_operator_of_no_domain() -> None:
    proto = graphs.model([node("Frobnicate", ["x"], ["y"])], [value("x", [3])], [value("y", [3])])
    with pytest.raises(ModelError, match=r"operator 'Frobnicate'; export .* --custom-ops LIB"):
        Session(proto, resolve_device("cpu"))


def test_the_name_is_not_looked_for_where_the_system_keeps_libraries(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.parent)
    device = resolve_device("cpu", [library.name])
    assert device.libraries == (library.resolve(),)
    Session(doubling_net(), device)


@pytest.mark.parametrize("name", ["absent.so", "."])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(DataError, match=f"--custom-ops '{path}' is no file; give the path"):
        resolve_device("cpu", [path])


def test_what_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("no library\n", encoding="utf-8")
    device = resolve_device("cpu", [path])
    said = f"--custom-ops '{path}' is not a library .* for ONNX Runtime {ort.__version__} here: "
    with pytest.raises(DataError, match=said):
        Session(graphs.elu_mlp(), device)


def test_a_library_without_operators(tmp_path: Path) -> None:
    found = Path(sys.modules["_ctypes"].__file__ or "") if "_ctypes" in sys.modules else Path()
    if not found.is_file():
        pytest.skip("no other shared library is known here")
    path = Path(shutil.copy(found, tmp_path))
    with pytest.raises(DataError, match=r"is not a library of custom operators.*RegisterCustomOps"):
        Session(graphs.elu_mlp(), resolve_device("cpu", [path]))


def test_the_check_knows_the_library(library: Path, tmp_path: Path) -> None:
    # 2 GiB at most: the model is only found to need more where it gets as far as to run.
    proto = doubling_net()
    proto.graph.node.append(node("Expand", ["y", "shape"], ["z"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20, 3]), "shape"))
    proto.graph.output.append(value("z", None))
    path = graphs.save(proto, tmp_path / "model.onnx")
    limits = Limits(seconds=60.0, memory_bytes=2 << 30)
    check_model(path, limits)
    with pytest.raises(UnsafeModelError, match=r"needed more than 2\.0 GiB"):
        check_model(path, limits, [library])
