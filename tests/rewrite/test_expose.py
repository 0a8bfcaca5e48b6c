"""``expose``: a model that also returns inner tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import expose
from tests import graphs


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize(
    ("build", "names", "shape"),
    [
        (graphs.conv_net, ["relu", "conv"], (3, 3, 5, 7)),
        (graphs.residual_net, ["r2", "cd"], (3, 3, 6, 8)),
        (graphs.lstm_net, ["last"], (3, 5, 3)),
        (graphs.if_net, ["h", "z"], (3, 5)),
    ],
)
def test_the_models_own_outputs_stay_bit_equal(
    build: Any, names: list[str], shape: tuple[int, ...], optimised: bool
) -> None:
    proto, x = build(), graphs.samples(1, *shape)
    before = graphs.run(proto, {"x": x}, optimised=optimised)
    after = graphs.run(expose(proto, names), {"x": x}, optimised=optimised)
    assert list(after) == ["y", *names]
    if optimised and build is graphs.conv_net:
        # A fusion of Conv and ReLU stops at the exposed tensor; that may round differently.
        assert after["y"] == pytest.approx(before["y"], rel=1e-5, abs=1e-6)
    else:
        assert np.array_equal(after["y"], before["y"])


def test_exposed_tensors_hold_what_numpy_computes() -> None:
    proto, x = graphs.elu_mlp(), graphs.samples(1, 4, 2)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    got = graphs.run(expose(proto, ["fc0", "elu0"]), {"x": x})
    fc0 = x @ weights["w0"].T + weights["b0"]
    assert got["fc0"] == pytest.approx(fc0, rel=1e-5, abs=1e-6)
    assert got["elu0"] == pytest.approx(np.where(fc0 > 0, fc0, np.expm1(fc0)), rel=1e-5, abs=1e-6)


def test_declared_types_satisfy_the_checker() -> None:
    shapes: dict[str, tuple[int, list[int | str | None] | None]] = {
        "conv": (graphs.FLOAT, ["N", 4, 3, 5]),
        "flat": (graphs.FLOAT, ["N", 60]),
    }
    exposed = expose(graphs.conv_net(), shapes, shapes)
    onnx.checker.check_model(exposed, full_check=True)
    declared = exposed.graph.output[1].type.tensor_type
    assert [d.dim_param or d.dim_value for d in declared.shape.dim] == ["N", 4, 3, 5]


def test_a_recorded_type_is_used_where_none_is_given() -> None:
    proto = onnx.shape_inference.infer_shapes(graphs.conv_net())
    exposed = expose(proto, ["relu"])
    assert exposed.graph.output[1].type.tensor_type.elem_type == graphs.FLOAT
    onnx.checker.check_model(exposed, full_check=True)


def test_outputs_and_repeated_names_are_listed_once() -> None:
    exposed = expose(graphs.conv_net(), ["relu", "y", "relu", "conv"])
    assert [value.name for value in exposed.graph.output] == ["y", "relu", "conv"]


def test_the_argument_is_not_changed() -> None:
    proto = graphs.residual_net()
    before = proto.SerializeToString()
    expose(proto, ["r0", "r1"])
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("name", ["relu_9", "w", "x", "inner_Neg"])
def test_a_name_that_no_node_makes_is_refused(name: str) -> None:
    proto = graphs.if_net() if name == "inner_Neg" else graphs.conv_net()
    with pytest.raises(ModelError, match=f"cannot expose '{name}'.*lsa-onnx layers"):
        expose(proto, [name])
