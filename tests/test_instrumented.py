"""The instrumented model as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.instrumented import write_exposed
from tests import graphs
from tests.graphs import model, node, run, samples, save, save_external, value, weight
from tests.runtime.rig import CPU


@pytest.mark.parametrize(
    ("proto", "shape", "selector"),
    [
        (graphs.conv_net(), (2, 3, 5, 7), "all"),
        (graphs.conv_net(8, 3), (2, 3, 5, 7), "all"),
        (graphs.transformer(), (2, 4, 6), "activations"),
        (graphs.typed_net("float16"), (2, 5), "all"),
        (graphs.if_net(), (2, 5), "all"),
        (graphs.lstm_net(), (2, 5, 3), "learnable"),
    ],
)
def test_it_is_valid_complete_and_returns_the_same(
    proto: onnx.ModelProto, shape: tuple[int, ...], selector: str, tmp_path: Path
) -> None:
    path, target = save(proto, tmp_path / "m.onnx"), tmp_path / "elsewhere" / "exposed.onnx"
    target.parent.mkdir()
    before = path.read_bytes()
    names = write_exposed(path, target, [selector], CPU)
    assert path.read_bytes() == before
    onnx.checker.check_model(str(target), full_check=True)
    written = onnx.load(target)
    declared = [value.name for value in written.graph.output]
    assert declared == list(dict.fromkeys([v.name for v in proto.graph.output] + names))
    name = proto.graph.input[0].name
    dtype = onnx.helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    x = {name: samples(1, *shape, dtype=str(dtype))}
    for output, expected in run(proto, x).items():
        np.testing.assert_array_equal(run(written, x)[output], expected)


def test_beside_external_data_it_shares_it_and_elsewhere_it_carries_it(tmp_path: Path) -> None:
    wide = model(
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])],
        [value("x", ["N", 5])],
        [value("y", ["N", 400])],
        {"w": weight(0, 5, 400)},
    )
    path = save_external(wide, tmp_path / "m.onnx")
    (tmp_path / "other").mkdir()
    beside, away = tmp_path / "b.onnx", tmp_path / "other" / "a.onnx"
    for target in (beside, away):
        assert write_exposed(path, target, ["h"], CPU) == ["h"]
    assert beside.stat().st_size < 2000 < 8000 < away.stat().st_size
    x = samples(1, 3, 5)
    for target in (beside, away):
        found = run(onnx.load(target), {"x": x})["h"]
        np.testing.assert_allclose(found, x @ weight(0, 5, 400), rtol=1e-4, atol=1e-6)


def test_the_model_itself_is_never_overwritten(tmp_path: Path) -> None:
    path = save(graphs.conv_net(), tmp_path / "m.onnx")
    alias = tmp_path / "." / "m.onnx"
    with pytest.raises(DataError, match=r"-o .*m\.onnx' is the model itself"):
        write_exposed(path, alias, ["all"], CPU)


def test_a_selector_that_matches_nothing_writes_nothing(tmp_path: Path) -> None:
    path, target = save(graphs.conv_net(), tmp_path / "m.onnx"), tmp_path / "o.onnx"
    with pytest.raises(DataError, match=r"'convv' matches no tensor or node \(did you mean 'conv'"):
        write_exposed(path, target, ["convv"], CPU)
    assert not target.exists()
