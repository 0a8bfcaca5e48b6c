"""Models that ONNX Runtime runs and that break naive tools: each scored like numpy, or with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from tests import graphs
from tests.graphs import Array, Shape, model, node, samples, value, weight
from tests.runtime.rig import Rig, build

SCALAR = np.asarray(0.5, np.float32)


def small(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Array] | None = None,
    shape: Shape = ("N", 5),
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    **options: Any,
) -> onnx.ModelProto:
    declared = [value("y", None)] if outputs is None else outputs
    return model(nodes, [value("x", shape)], declared, weights or {}, **options)


def check(rig: Rig, x: Array, rtol: float = 1e-4) -> None:
    """Every sum of 3 samples against float64 numpy on plain single runs."""
    x_adv = (x + 0.1 * samples(9, *x.shape)).astype(x.dtype)
    batch = rig.score({"x": x}, x_adv)
    expected = rig.reference({"x": x}, x_adv)
    assert batch.sums.difference.shape == (len(x), len(rig.scored))
    for index, name in enumerate(rig.scored):
        parts = (batch.sums.difference, batch.sums.clean, batch.sums.perturbed)
        got = np.stack([part[:, index] for part in parts], axis=1)
        scale = expected[name].max()
        np.testing.assert_allclose(got, expected[name], rtol, 1e-9 * scale, err_msg=name)


def affine(*more: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [node("Gemm", ["x", "w"], ["h"]), *more]


W = {"w": weight(0, 5, 4)}
SCORED: dict[str, tuple[onnx.ModelProto, list[str]]] = {
    "a scalar in the middle": (
        small([node("ReduceSum", ["x"], ["s"], keepdims=0), node("Mul", ["x", "s"], ["y"])]),
        ["s", "y"],
    ),
    "many outputs of one node": (
        small(
            [
                node("Split", ["x"], [f"s{i}" for i in range(5)], axis=1),
                node("Add", ["s0", "s4"], ["y"]),
            ],
            opset=13,
        ),
        ["s0", "s1", "s2", "s3", "s4", "y"],
    ),
    "a sequence in the middle": (
        small(
            [
                node("SplitToSequence", ["x"], ["q"], axis=1),
                node("ConcatFromSequence", ["q"], ["c"], axis=1),
                node("Relu", ["c"], ["y"]),
            ]
        ),
        ["c", "y"],
    ),
    "a sequence as output": (
        small(
            [node("Relu", ["x"], ["y"]), node("SplitToSequence", ["y"], ["q"], axis=1)],
            outputs=[value("y", ["N", 5]), helper.make_tensor_sequence_value_info("q", 1, None)],
        ),
        ["y"],
    ),
    "an optional value": (
        small(
            [
                node("Optional", ["x"], ["o"]),
                node("OptionalGetElement", ["o"], ["g"]),
                node("Relu", ["g"], ["y"]),
            ],
            opset=18,
        ),
        ["g", "y"],
    ),
    "an operator of Microsoft's": (
        small(
            affine(node("BiasGelu", ["h", "b"], ["y"], domain="com.microsoft")),
            {**W, "b": weight(1, 4)},
            imports={"com.microsoft": 1},
        ),
        ["h", "y"],
    ),
    "a classifier without default domain": (
        small(
            [
                node(
                    "LinearClassifier",
                    ["x"],
                    ["label", "scores"],
                    domain="ai.onnx.ml",
                    coefficients=[float(number) for number in range(10)],
                    intercepts=[0.0, 1.0],
                    classlabels_ints=[0, 1],
                    post_transform="SOFTMAX",
                )
            ],
            outputs=[value("label", ["N"], "int64"), value("scores", ["N", 2])],
            opset=None,
            imports={"ai.onnx.ml": 1},
        ),
        ["scores"],
    ),
    "a dropout mask": (
        small(affine(node("Dropout", ["h"], ["d", "mask"]), node("Relu", ["d"], ["y"])), W),
        ["h", "d", "y"],
    ),
    "an output that is an input": (
        small([node("Relu", ["x"], ["y"])], outputs=[value("y", ["N", 5]), value("x", ["N", 5])]),
        ["y"],
    ),
    "an output that is an initializer": (
        small(
            affine(node("Relu", ["h"], ["y"])), W, outputs=[value("y", None), value("w", [5, 4])]
        ),
        ["h", "y"],
    ),
    "the same output twice": (
        small([node("Relu", ["x"], ["y"])], outputs=[value("y", ["N", 5])] * 2),
        ["y"],
    ),
    "text among the outputs": (
        small(
            [node("Cast", ["x"], ["s"], to=onnx.TensorProto.STRING), node("Relu", ["x"], ["y"])],
            outputs=[
                value("y", ["N", 5]),
                helper.make_tensor_value_info("s", onnx.TensorProto.STRING, ["N", 5]),
            ],
        ),
        ["y"],
    ),
    "samples on axis 1 inside": (
        small(
            [
                node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
                node("Relu", ["t"], ["r"]),
                node("Transpose", ["r"], ["y"], perm=[1, 0, 2]),
            ],
            shape=["N", 5, 3],
        ),
        ["t", "r", "y"],
    ),
    "samples on axis 1 of the output": (
        small(
            [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("Relu", ["t"], ["y"])],
            shape=["N", 5, 3],
        ),
        ["t", "y"],
    ),
    "a large Constant node": (
        small(
            [
                node("Constant", [], ["k"], value=numpy_helper.from_array(weight(0, 5, 400))),
                node("MatMul", ["x", "k"], ["h"]),
                node("Relu", ["h"], ["y"]),
            ]
        ),
        ["h", "y"],
    ),
    "nodes without names": (
        small(
            [helper.make_node("Gemm", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])], W
        ),
        ["h", "y"],
    ),
    "a branch": (graphs.if_net(), ["h", "mean", "inner_Abs", "z", "y"]),
    "a loop": (graphs.loop_net(), ["h", "next", "total", "y"]),
    "a single scalar as input": (small([node("Relu", ["x"], ["y"])], shape=[]), ["y"]),
    "no batch axis": (small([node("Relu", ["x"], ["y"])], shape=[12, 8]), ["y"]),
}


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.filterwarnings("error")
def test_it_is_scored_as_numpy_scores_it(name: str, tmp_path: Path) -> None:
    proto, tensors = SCORED[name]
    dims = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    x = samples(1, 3, *(dims[1:] if dims and not dims[0] else dims))
    rig = build(proto, {"x": x}, tmp_path)
    assert rig.scored == tensors
    check(rig, x)


def drawing(op: str, *inputs: str, **attributes: Any) -> list[onnx.NodeProto]:
    return [
        *affine(node("Relu", ["h"], ["r"])),
        node(op, inputs, ["z"], name="draw", **attributes),
        node("ReduceMean", ["z"], ["m"], keepdims=0),
        node("Mul", ["r", "m"], ["y"]),
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        drawing("RandomNormalLike", "x"),
        drawing("RandomUniform", shape=[2, 3]),
        drawing("RandomUniformLike", "x"),
        drawing("Bernoulli", "x"),
        drawing("Dropout", "x", "ratio", "training"),
    ],
)
def test_what_is_drawn_anew_is_left_out_with_its_source(
    nodes: list[onnx.NodeProto], tmp_path: Path
) -> None:
    proto = small(nodes, {**W, "ratio": SCALAR, "training": np.asarray(True)})
    x = samples(1, 3, 5)
    rig = build(proto, {"x": x}, tmp_path)
    assert rig.scored == ["h", "r"]
    kind = next(n.op_type for n in nodes if n.name == "draw")
    assert rig.reasons["y"].startswith(f"random: it depends on {kind} node 'draw'")
    check(rig, x)


@pytest.mark.parametrize(("ratio", "training"), [(0.5, False), (0.0, True)])
def test_a_dropout_that_drops_nothing_is_not_random(
    ratio: float, training: bool, tmp_path: Path
) -> None:
    constants = {"ratio": np.asarray(ratio, np.float32), "training": np.asarray(training)}
    nodes = affine(node("Dropout", ["h", "ratio", "training"], ["y"]))
    rig = build(small(nodes, {**W, **constants}), {"x": samples(1, 3, 5)}, tmp_path)
    assert rig.scored == ["h", "y"]


def test_tensors_whose_length_depends_on_values_are_left_out(tmp_path: Path) -> None:
    nodes = [
        node("Greater", ["x", "half"], ["large"]),
        node("NonZero", ["large"], ["places"]),
        node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        node("GatherND", ["x", "rows"], ["picked"]),
        node("Relu", ["x"], ["y"]),
    ]
    outputs = [value("y", ["N", 5]), value("picked", ["K"])]
    x = samples(1, 4, 5)
    rig = build(small(nodes, {"half": SCALAR}, outputs=outputs), {"x": x}, tmp_path)
    assert rig.scored == ["y"]
    assert "values, by NonZero node 'n_places'" in rig.reasons["picked"]
    check(rig, x)
    # The ragged output neither breaks the run nor passes for a figure.
    picked = rig.score({"x": x}, x).clean["picked"]
    assert [len(row) for row in picked] == (x > 0.5).sum(axis=1).tolist()


@pytest.mark.parametrize(
    ("nodes", "tensor"),
    [
        ([node("ReduceMean", ["x"], ["m"], axes=[0]), node("Sub", ["x", "m"], ["y"])], "m"),
        ([node("Softmax", ["x"], ["y"], axis=0)], "y"),
        ([node("CumSum", ["x", "axis"], ["y"])], "y"),
    ],
)
def test_samples_that_meet_in_the_graph_run_one_by_one(
    nodes: list[onnx.NodeProto], tensor: str, tmp_path: Path
) -> None:
    x = samples(1, 3, 5)
    rig = build(small(nodes, {"axis": np.asarray(0, np.int64)}), {"x": x}, tmp_path)
    assert rig.plan.fixed_batch == 1
    assert f"'{tensor}'" in rig.plan.note
    check(rig, x)


def test_shape_arithmetic_is_constant_and_not_scored_as_zero(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Add", ["x", "zeros"], ["y"]),
    ]
    rig = build(small(nodes), {"x": samples(1, 3, 5)}, tmp_path)
    assert rig.scored == ["y"]
    assert rig.reasons["zeros"] == "constant: it does not depend on the input"


def test_empty_tensors_say_so_and_bfloat16_is_cast(tmp_path: Path) -> None:
    nodes = [
        node("Slice", ["x", "two", "two", "one"], ["none"]),
        node("Concat", ["x", "none"], ["c"], axis=1),
        node("Cast", ["c"], ["b"], to=onnx.TensorProto.BFLOAT16),
        node("Cast", ["b"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    ints = {"one": np.array([1]), "two": np.array([2])}
    x = samples(1, 3, 5)
    rig = build(small(nodes, ints), {"x": x}, tmp_path)
    assert rig.scored == ["c", "b", "y"]
    assert rig.reasons["none"] == "empty: its shape is ['N', 0]"
    assert rig.layers.layers[1].reading == "cast to float32"
    check(rig, x)


def test_local_functions_are_seen_through(tmp_path: Path) -> None:
    body = [helper.make_node("MatMul", ["a", "w"], ["h"]), helper.make_node("Relu", ["h"], ["o"])]
    dense = helper.make_function(
        "custom", "Dense", ["a", "w"], ["o"], body, [helper.make_opsetid("", 17)]
    )
    nodes = [
        node("Dense", ["x", "w"], ["h1"], domain="custom"),
        node("Dense", ["h1", "v"], ["y"], domain="custom"),
    ]
    weights = {**W, "v": weight(1, 4, 3)}
    x = samples(1, 3, 5)
    proto = small(nodes, weights, imports={"custom": 1}, functions=[dense])
    rig = build(proto, {"x": x}, tmp_path, selectors=["activations"])
    assert rig.scored == ["h1", "y"]
    assert [info.parameters for info in rig.layers.layers] == [20, 12]
    check(rig, x)


def test_values_that_overflow_or_are_not_numbers_stay_visible(tmp_path: Path) -> None:
    nodes = [node("Mul", ["x", "k"], ["huge"]), node("Log", ["x"], ["log"])]
    outputs = [value("huge", None), value("log", None)]
    x = samples(1, 3, 5)
    x[1, 2] = -1
    k = {"k": np.asarray(1e25, np.float32)}
    rig = build(small(nodes, k, outputs=outputs), {"x": x}, tmp_path)
    assert rig.scored == ["huge", "log"]
    clean = rig.score({"x": x}, x).sums.clean
    assert np.isinf(clean[:, 0]).all()
    assert np.isnan(clean[:, 1]).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("proto", "what"),
    [
        (
            small([node("Foo", ["x"], ["y"], domain="mine")], imports={"mine": 1}),
            "'Foo' of domain 'mine'",
        ),
        (graphs.conv_net(opset=99), "99"),
        (
            small(
                [node("ReduceMean", ["x"], ["m"], axes=[0]), node("Sub", ["x", "m"], ["y"])],
                shape=[4, 5],
                outputs=[value("y", [4, 5])],
            ),
            "fixed batch of 4, but output 'y' mixes its samples",
        ),
    ],
)
def test_what_cannot_run_ends_in_one_line(
    proto: onnx.ModelProto, what: str, tmp_path: Path
) -> None:
    dims = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    with pytest.raises(ModelError, match=what) as caught:
        build(proto, {"x": samples(1, 4, *dims[1:])}, tmp_path)
    assert "\n" not in str(caught.value)
    assert "/onnxruntime_src" not in str(caught.value)
