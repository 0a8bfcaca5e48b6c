"""Constants that are stored sparse become dense ones of the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.model import load_model
from lsa_onnx.sparse import densified, sparse_names
from tests import graphs
from tests.graphs import Array, model, node, run, samples, value, weight
from tests.scanning.helpers import saved, scanned

# Of 4 × 3 elements, three are not 0.
DENSE = np.array([[0, 0, 2], [0, 0, 0], [-1.5, 0, 0], [0, 4, 0]], np.float32)
COORDINATES = np.array([[0, 2], [2, 0], [3, 1]])
COUNTED = np.array([2, 6, 10])


def sparse(places: Array, name: str = "v", dtype: str = "float32") -> onnx.SparseTensorProto:
    held = np.array([2, -1.5, 4], dtype)
    values, indices = numpy_helper.from_array(held, name), numpy_helper.from_array(places)
    return helper.make_sparse_tensor(values, indices, DENSE.shape)


def sparse_net(places: Array = COUNTED, *, as_node: bool = False) -> onnx.ModelProto:
    """x w, then ReLU, then the sparse matrix."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    if as_node:
        nodes.insert(0, node("Constant", [], ["v"], sparse_value=sparse(places)))
    ends = value("x", ["N", 5]), value("y", ["N", 3])
    proto = model(nodes, [ends[0]], [ends[1]], {"w": weight(0, 5, 4)})
    if not as_node:
        proto.graph.sparse_initializer.append(sparse(places))
    return proto


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize("places", [COUNTED, COORDINATES])
def test_by_hand(places: Array, as_node: bool) -> None:
    proto = sparse_net(places, as_node=as_node)
    before = proto.SerializeToString()
    found = densified(proto, None)
    assert proto.SerializeToString() == before
    assert (list(sparse_names(proto.graph)), list(sparse_names(found.graph))) == (["v"], [])
    held = found.graph.node[0].attribute[0].t if as_node else found.graph.initializer[-1]
    np.testing.assert_array_equal(numpy_helper.to_array(held), DENSE)
    x = samples(1, 6, 5)
    expected = np.maximum(x @ weight(0, 5, 4), 0) @ DENSE
    np.testing.assert_allclose(run(found, {"x": x})["y"], expected, rtol=1e-5)
    if not as_node:
        np.testing.assert_allclose(run(proto, {"x": x})["y"], expected, rtol=1e-5)
        assert held.name == "v"


@pytest.mark.parametrize("dtype", ["float16", "int64", "float64"])
def test_the_type_stays(dtype: Any) -> None:
    proto = sparse_net()
    proto.graph.sparse_initializer[0].CopyFrom(sparse(COORDINATES, dtype=dtype))
    held = numpy_helper.to_array(densified(proto, None).graph.initializer[-1])
    assert held.dtype == dtype
    np.testing.assert_array_equal(held, DENSE.astype(dtype))


def test_inside_a_branch() -> None:
    proto = graphs.if_net()
    (chosen,) = (n for n in proto.graph.node if n.op_type == "If")
    chosen.attribute[0].g.sparse_initializer.append(sparse(COUNTED, "inner"))
    assert list(sparse_names(proto.graph)) == ["inner"]
    found = densified(proto, None)
    (again,) = (n for n in found.graph.node if n.op_type == "If")
    (held,) = again.attribute[0].g.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(held), DENSE)


def test_a_dense_model_is_not_copied() -> None:
    proto = graphs.conv_net()
    assert densified(proto, None) is proto


@pytest.mark.parametrize(
    ("dims", "places", "message"),
    [
        ((4, 3), [2, 6, 12], r"'v' of shape \(4, 3\) cannot be read: .*export the model again"),
        ((4, 3), [[0, 2], [2, 3], [3, 1]], r"'v' of shape \(4, 3\) cannot be read"),
        ((4, 3), [2, 6], r"'v' of shape \(4, 3\) cannot be read"),
        ((4, -3), [2, 6, 10], r"'v' of shape \(4, -3\) would take"),
        ((1 << 40, 1 << 40), [2, 6, 10], r"would take [\d,]{30,} bytes, and at most 2,147,483,647 are"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    dims: tuple[int, ...], places: Any, message: str, tmp_path: Path
) -> None:
    proto = sparse_net(np.array(places, np.int64))
    del proto.graph.sparse_initializer[0].dims[:]
    proto.graph.sparse_initializer[0].dims.extend(dims)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m.onnx")


def test_a_file_with_one_is_scanned_with_attacks(tmp_path: Path) -> None:
    proto = sparse_net()
    report = scanned(saved(tmp_path, proto), samples=8, perturbations=("fgsm",), eps="0.1")
    assert [info.tensor for info in report.layers] == ["r"]
    assert (report.perturbations[0].layers[0].relative_error.mean or 0) > 0
