"""Operators of which ONNX infers nothing: what is said of them is what ONNX Runtime makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.stand_ins import with_stand_ins
from tests import graphs
from tests.graphs import Array, model, node, samples, value, weight
from tests.rewrite.gradients import check

ONES = np.ones(4, np.float32)
SKIP = samples(2, 3, 5, 4)
TURNS = {"at": np.zeros((3, 5), np.int64), "cos": samples(3, 9, 2), "sin": samples(4, 9, 2)}
SCALES = {"in": np.float32(0.1), "in_0": np.uint8(0), "out": np.float32(0.2), "out_0": np.uint8(3)}
QUANTISED = {name: np.asarray(number) for name, number in SCALES.items()}
NORM = {"s": ONES, "b": ONES}


def one(
    kind: str,
    constants: dict[str, Array],
    outputs: tuple[str, ...] = ("y",),
    *,
    dtype: str = "float32",
    version: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node between "h", samples (n, 5, 4), maybe in 8 bits, and outputs of undeclared types."""
    first = node("QuantizeLinear", ["x", "in", "in_0"], ["h"]) if "in" in constants else None
    nodes = [
        first or node("Identity", ["x"], ["h"]),
        node(kind, ["h", *constants], outputs, **attributes),
    ]
    declared = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    return model(
        nodes,
        [value("x", ["N", 5, 4], dtype)],
        declared,
        constants,
        opset=version,
        imports={"com.microsoft": 1},
    )


def require_known(proto: onnx.ModelProto, *names: str, dtype: str = "float32") -> None:
    """Hold shapes and types to those that a run has; the batch alone is free."""
    found = graphs.run(proto, {"x": samples(1, 3, 5, 4, dtype=dtype)})
    known, types = KnownShapes(proto), KnownShapes.types_alone(proto)
    for name in names:
        element = helper.np_dtype_to_tensor_dtype(found[name].dtype)
        assert known.dims(name) == (None, *found[name].shape[1:])
        assert known.element(name) == types.element(name) == element
        assert known.same_dim(name, 0, "x", 0)


@pytest.mark.parametrize(
    ("kind", "constants", "attributes"),
    [
        ("BiasGelu", {"b": ONES}, {}),
        ("FastGelu", {}, {}),
        ("Gelu", {}, {}),
        ("QuickGelu", {}, {}),
        ("QLinearLeakyRelu", QUANTISED, {"alpha": 0.1}),
        ("QLinearSigmoid", QUANTISED, {}),
        ("QLinearSoftmax", QUANTISED, {"axis": -1, "opset": 13}),
        ("RotaryEmbedding", TURNS, {}),
    ],
)
def test_operators_of_onnx_runtime(
    kind: str, constants: dict[str, Array], attributes: dict[str, Any]
) -> None:
    require_known(one(kind, constants, domain="com.microsoft", **attributes), "y")


@pytest.mark.parametrize(
    ("kind", "norm"), [("SkipLayerNormalization", NORM), ("SkipSimplifiedLayerNormalization", {"s": ONES})]
)  # fmt: skip
def test_a_sum_is_as_what_it_is_of(kind: str, norm: dict[str, Array]) -> None:
    """Of the mean, which is of another shape, nothing is claimed."""
    constants, outputs = {"skip": SKIP, **norm}, ("y", "mean", "", "sum")
    proto = one(kind, constants, outputs, domain="com.microsoft")
    require_known(proto, "y", "sum")
    assert KnownShapes(proto).dims("mean") is None


@pytest.mark.parametrize("opset", [9, 13, 18])
def test_a_function_of_onnx(opset: int) -> None:
    require_known(one("MeanVarianceNormalization", {}, version=opset, axes=[1]), "y")


@pytest.mark.parametrize(("opset", "scales"), [(18, 1), (20, 1), (21, 5)])
def test_group_normalisation(opset: int, scales: int) -> None:
    constants = {"s": weight(0, scales), "b": weight(1, scales)}
    require_known(one("GroupNormalization", constants, version=opset, num_groups=1), "y")


@pytest.mark.parametrize("kind", ["LayerNormalization", "SimplifiedLayerNormalization"])
@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", "float16"), ("float16", "float32"), ("float16", "float16")]
)
def test_an_operator_whose_result_is_of_the_type_of_its_scale(
    kind: str, dtype: str, scale: str
) -> None:
    proto = one(kind, {"s": ONES.astype(scale)}, dtype=dtype, version=15)
    require_known(proto, "y", dtype=dtype)


def test_what_onnx_infers_is_left_to_it() -> None:
    proto = one("LayerNormalization", {"s": ONES}, ("y", "mean"))
    assert with_stand_ins(proto) is proto
    assert KnownShapes(proto).dims("mean") == (None, 5, 1)
    # Before CastLike, there is nothing that says what the type of the result is.
    before = one("LayerNormalization", {"s": ONES}, version=14)
    assert with_stand_ins(before) is before


def test_operators_of_other_domains_are_others() -> None:
    proto = one("FastGelu", {}, domain="another")
    assert with_stand_ins(proto) is proto


def test_a_model_of_other_domains_alone() -> None:
    proto = model(
        [node("FastGelu", ["x"], ["y"], domain="com.microsoft")],
        [value("x", ["N", 5])],
        [value("y", None)],
        opset=None,
        imports={"com.microsoft": 1},
    )
    before = proto.SerializeToString()
    assert KnownShapes(proto).dims("y") == (None, 5)
    assert proto.SerializeToString() == before


def test_operators_in_bodies() -> None:
    proto = graphs.if_net()
    proto.opset_import.add(domain="com.microsoft", version=1)
    (branching,) = (n for n in proto.graph.node if n.op_type == "If")
    for attribute in branching.attribute:
        (inner,) = attribute.g.node
        inner.op_type, inner.domain = "QuickGelu", "com.microsoft"
    known = KnownShapes(proto)
    assert known.dims("inner_Neg") == known.dims("z") == (None, 4)
    assert known.same_shape("inner_Abs", "h")


@pytest.mark.parametrize("opset", [18, 21])
def test_what_lies_behind_can_be_differentiated(opset: int) -> None:
    """Average pooling needs to know how many channels there are."""
    nodes = [
        node("GroupNormalization", ["x", "s", "b"], ["g"], num_groups=2),
        node("AveragePool", ["g"], ["p"], kernel_shape=[2, 3]),
        node("Mul", ["p", "p"], ["y"]),
    ]
    scales = 4 if opset == 21 else 2
    constants = {
        "s": weight(0, scales, dtype="float64") + 1,
        "b": weight(1, scales, dtype="float64"),
    }
    proto = model(
        nodes,
        [value("x", ["N", 4, 3, 5], "float64")],
        [value("y", None, "float64")],
        constants,
        opset=opset,
    )
    # From opset 21 on it is computed in single precision.
    x = np.random.default_rng(5).standard_normal((2, 4, 3, 5))
    check(proto, {"x": x}, step=1e-3, tolerance=1e-3)
