"""``compare`` on whole models: the twin's sums against numpy on the exposed tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored, compare, expose
from lsa_onnx.rewrite.compare import REORDER, dead_ends_early
from lsa_onnx.rewrite.graph import node_inputs
from tests import graphs

Array = NDArray[Any]


def assert_equals_numpy(
    proto: onnx.ModelProto,
    items: list[Scored],
    feeds: Mapping[str, Array],
    perturbed: Mapping[str, Array],
    samples: int,
    rel: float = 1e-5,
) -> None:
    """All three sums of every item equal those of the tensors that ``expose`` returns."""
    outputs = [value.name for value in proto.graph.output]
    comparison = compare(proto, items, outputs, list(perturbed))
    exposed = expose(proto, [item.tensor for item in items])
    clean = graphs.run(exposed, feeds)
    moved = graphs.run(exposed, {**feeds, **perturbed})
    second = {comparison.perturbed_inputs[name]: x for name, x in perturbed.items()}
    got = graphs.run(comparison.model, {**feeds, **second})
    for name in outputs:
        assert np.array_equal(got[name], clean[name])
        assert np.array_equal(got[comparison.perturbed_outputs[name]], moved[name])
    for item in items:
        a, b = (_rows(item, v[item.tensor], samples) for v in (clean, moved))
        names = comparison.sums[item.tensor]
        assert got[names.difference] == pytest.approx(((a - b) ** 2).sum(1), rel=rel)
        assert got[names.clean] == pytest.approx((a**2).sum(1), rel=rel)
        assert got[names.perturbed] == pytest.approx((b**2).sum(1), rel=rel)


def _rows(item: Scored, tensor: Array, samples: int) -> Array:
    axis = item.batch_axis or 0
    rows: Array = np.moveaxis(tensor, axis, 0).reshape(samples, -1).astype(np.float64)
    return rows


def pair(*shape: int, dtype: str = "float32") -> tuple[Array, Array]:
    return graphs.samples(1, *shape, dtype=dtype), graphs.samples(2, *shape, dtype=dtype)


@pytest.mark.parametrize(("opset", "ir"), [(7, 3), (11, 4), (13, 7), (17, 8), (18, 8), (21, 10)])
def test_a_convolutional_network_of_any_version(opset: int, ir: int) -> None:
    proto = graphs.conv_net(opset=opset, ir=ir)
    x, x_adv = pair(3, 3, 5, 7)
    items = [Scored("conv"), Scored("relu", elements=60), Scored("y", elements=6)]
    assert_equals_numpy(proto, items, {"x": x}, {"x": x_adv}, samples=3)
    onnx.checker.check_model(expose(proto, []))


def test_one_model_scores_any_number_of_samples() -> None:
    for samples in (1, 2, 5):
        x, x_adv = pair(samples, 3, 5, 7)
        items = [Scored("relu", elements=60)]
        assert_equals_numpy(graphs.conv_net(), items, {"x": x}, {"x": x_adv}, samples)


def test_attention_heads_merged_into_the_batch() -> None:
    x, x_adv = pair(3, 4, 6)
    items = [Scored("attention", elements=2 * 4 * 4), Scored("q_h", elements=24), Scored("gelu")]
    assert_equals_numpy(graphs.transformer(), items, {"x": x}, {"x": x_adv}, samples=3)


@pytest.mark.parametrize("elements", [None, 15])
def test_samples_along_axis_1(elements: int | None) -> None:
    x, x_adv = pair(3, 5, 3)
    items = [Scored("seq", batch_axis=1, elements=elements), Scored("last", 1, 4)]
    assert_equals_numpy(graphs.lstm_net(), items, {"x": x}, {"x": x_adv}, samples=3)


# ONNX Runtime computes half precision in float32 on the CPU, and rounds an exposed tensor to half
# while the reduction in the graph still sees the float32: they differ by that rounding.
@pytest.mark.parametrize(("dtype", "rel"), [("float16", 5e-3), ("float64", 1e-12)])
def test_half_and_double_precision(dtype: str, rel: float) -> None:
    element = graphs.ELEMENTS[dtype]
    x, x_adv = pair(3, 5, dtype=dtype)
    items = [Scored("h", element=element), Scored("r", elements=4, element=element)]
    proto = graphs.typed_net(dtype)
    assert_equals_numpy(proto, items, {"x": x}, {"x": x_adv}, samples=3, rel=rel)


@pytest.mark.parametrize("build", [graphs.if_net, graphs.loop_net])
def test_a_body_that_reads_an_outer_tensor_reads_its_perturbed_version(build: Any) -> None:
    x, x_adv = pair(3, 5)
    last = "z" if build is graphs.if_net else "total"
    items = [Scored("h"), Scored(last)]
    assert_equals_numpy(build(), items, {"x": x - 0.5}, {"x": 2 * x_adv}, samples=3)


def test_an_input_that_is_held_feeds_both_branches() -> None:
    a, a_adv = pair(3, 5)
    b = graphs.samples(3, 3, 3)
    items = [Scored("ra"), Scored("both")]
    assert_equals_numpy(graphs.two_input_net(), items, {"a": a, "b": b}, {"a": a_adv}, samples=3)
    comparison = compare(graphs.two_input_net(), items, ["y"], ["a"])
    made = [name for node in comparison.model.graph.node for name in node.output]
    assert "ra__perturbed" in made
    assert "rb__perturbed" not in made
    with pytest.raises(ModelError, match="'rb': it does not depend on the perturbed input"):
        compare(graphs.two_input_net(), [Scored("rb")], ["y"], ["a"])


@pytest.mark.parametrize(
    ("outputs", "perturb", "message"),
    [(["logits"], None, "no output 'logits'; its outputs are 'y'"), (["y"], ["z"], "no input 'z'")],
)
def test_unknown_inputs_and_outputs_are_named(
    outputs: list[str], perturb: list[str] | None, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        compare(graphs.conv_net(), [Scored("relu")], outputs, perturb)


def test_colliding_names_of_tensors_and_of_bodies() -> None:
    proto = graphs.if_net()
    for node in proto.graph.node:
        for body in (a.g for a in node.attribute if a.HasField("g")):
            body.node[0].output[0] = body.output[0].name = f"h__perturbed_{body.name}"
    x, x_adv = pair(3, 5)
    assert_equals_numpy(proto, [Scored("h"), Scored("z")], {"x": x}, {"x": x_adv}, samples=3)
    names = [v.name for v in compare(proto, [Scored("h")], ["y"]).model.graph.input]
    assert names == ["x", "x__perturbed1"]


def test_no_constant_is_doubled() -> None:
    proto = graphs.conv_net()
    sizes = sum(t.ByteSize() for t in proto.graph.initializer)
    twin = compare(proto, [Scored("relu", elements=60)], ["y"]).model
    names = [t.name for t in twin.graph.initializer]
    assert len(names) == len(set(names))
    assert set(names) > {"w", "v", "c"}
    assert sum(t.ByteSize() for t in twin.graph.initializer) < sizes + 200


@pytest.mark.parametrize(("channels", "source"), [(32, "blocked"), (20, "r")])
def test_a_blocked_tensor_is_read_before_it_is_reordered(channels: int, source: str) -> None:
    domain, op = REORDER
    nodes = [
        graphs.node("Abs", ["x"], ["blocked"]),
        helper.make_node(op, ["blocked"], ["r"], domain=domain, channels=channels),
        graphs.node("Neg", ["blocked"], ["y"]),
    ]
    shape: graphs.Shape = ["N", channels, 5, 7]
    proto = graphs.model(nodes, [graphs.value("x", shape)], [graphs.value("y", shape)])
    twin = compare(proto, [Scored("r", elements=channels * 35)], ["y"]).model.graph
    reorders = [node for node in twin.node if node.op_type == op]
    assert len(reorders) == (0 if source == "blocked" else 2)
    readers = [n.input[0] for n in twin.node if n.op_type == "Reshape"]
    assert readers == [source, f"{source}__perturbed"]


@pytest.mark.parametrize("wanted", [["y"], ["y", "fc1"], ["scores"]])
def test_dead_ends_early_keeps_the_order_topological(wanted: list[str]) -> None:
    proto = graphs.transformer()
    late = [
        graphs.node("Neg", ["q"], ["late"]),
        graphs.node("Abs", ["late"], ["later"]),
        graphs.node("Neg", ["w_q"], ["constant"]),
    ]
    nodes = [*proto.graph.node, *late]
    order = dead_ends_early(nodes, wanted)
    known = {t.name for t in proto.graph.initializer} | {"x"}
    for node in order:
        assert known.issuperset(node_inputs(node))
        known.update(node.output)
    assert sorted(n.name for n in order) == sorted(n.name for n in nodes)
    names = [node.output[0] for node in order]
    after_q = names[names.index("q") + 1 :]
    assert after_q.index("late") < after_q.index("q_s") or "scores" in wanted
    assert after_q.index("later") == after_q.index("late") + 1
