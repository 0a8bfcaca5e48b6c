"""``BatchProbe``: how a model may be batched, decided by running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored
from lsa_onnx.runtime import batching
from lsa_onnx.runtime.batching import BatchPlan, BatchProbe
from lsa_onnx.runtime.layout import input_layout
from tests import graphs
from tests.runtime.rig import CPU

if TYPE_CHECKING:
    import onnx


def probe(
    proto: onnx.ModelProto, tensors: Sequence[str], x: graphs.Array, element: int = graphs.FLOAT
) -> BatchPlan:
    shapes = [batching_shape(value) for value in (*proto.graph.input[:1], *proto.graph.output)]
    layout = input_layout(shapes[0], shapes[1:])
    elements = dict.fromkeys(tensors, element)
    outputs = [value.name for value in proto.graph.output]
    name = proto.graph.input[0].name
    return BatchProbe(proto, Path(), CPU, layout, elements, outputs).plan({name: x})


def batching_shape(value: onnx.ValueInfoProto) -> list[int | str | None]:
    return [d.dim_value or d.dim_param or None for d in value.type.tensor_type.shape.dim]


def centred(batch: int | str = "N") -> onnx.ModelProto:
    """Subtracts the mean over the batch, so that samples depend on each other."""
    nodes = [
        graphs.node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        graphs.node("Sub", ["x", "mean"], ["centred"]),
        graphs.node("Relu", ["centred"], ["y"]),
    ]
    shape: graphs.Shape = [batch, 5]
    return graphs.model(nodes, [graphs.value("x", shape)], [graphs.value("y", shape)])


@pytest.mark.parametrize(
    ("shape", "outputs", "sample", "leading", "free"),
    [
        (["N", 3, 5], [["N", 2]], (3, 5), 1, True),
        ([None, 3, 5], [None], (3, 5), 1, True),
        ([1, 3, 5], [[1, 2]], (3, 5), 1, False),
        ([4, 3, 5], [[4, 2]], (3, 5), 4, False),
        ([12, 8], [[3]], (12, 8), None, False),
        ([4, 3], [[4, 2], [1]], (4, 3), None, False),
        ([8], [[2]], (8,), None, False),
        ([1, "T"], [[1, 2]], (None,), 1, False),
        (None, [["N", 2]], None, 1, True),
    ],
)
def test_what_a_leading_dimension_means(
    shape: list[int | str | None] | None,
    outputs: list[list[int | str | None] | None],
    sample: tuple[int | None, ...] | None,
    leading: int | None,
    free: bool,
) -> None:
    layout = input_layout(shape, outputs)
    assert (layout.sample_shape, layout.leading, layout.free) == (sample, leading, free)


def test_a_free_batch() -> None:
    plan = probe(graphs.conv_net(), ["conv", "relu"], graphs.samples(1, 3, 3, 5, 7))
    assert (plan.mode, plan.fixed_batch, plan.rejected) == ("free", None, {})
    assert plan.scored == [Scored("conv", 0, 60), Scored("relu", 0, 60)]
    assert plan.sizes == {"conv": 60, "relu": 60}
    assert all(0 <= floor < 1e-5 for floor in plan.floors.values())
    assert plan.note == "3 samples in one run equal 3 single runs"


def test_the_expected_sums_are_those_of_neighbours() -> None:
    x = graphs.samples(1, 3, 3, 5, 7)
    plan = probe(graphs.conv_net(), ["y"], x)
    y = graphs.run(graphs.conv_net(), {"x": x})["y"].astype(np.float64)
    following = np.roll(y, -1, axis=0)
    difference, clean, perturbed = plan.expected["y"]
    assert difference == pytest.approx(((y - following) ** 2).sum(1), rel=1e-4)
    assert clean == pytest.approx((y**2).sum(1), rel=1e-4)
    assert perturbed == pytest.approx((following**2).sum(1), rel=1e-4)


@pytest.mark.parametrize("shape", [[1, 60], [1, -1]])
def test_a_fixed_batch_of_1_is_freed(shape: list[int]) -> None:
    proto = graphs.fixed_batch_net(shape)
    plan = probe(proto, ["relu", "flat"], graphs.samples(1, 2, 3, 5, 7))
    assert (plan.mode, plan.fixed_batch) == ("rebatched", None)
    assert plan.note.startswith("the fixed batch of 1 was freed")
    assert graphs.run(plan.model, {"x": graphs.samples(1, 5, 3, 5, 7)})["y"].shape == (5, 6)


def test_a_fixed_batch_of_1_that_cannot_be_freed_runs_natively() -> None:
    """The target of its Reshape is computed, so nothing frees it."""
    proto = graphs.fixed_batch_net()
    proto.graph.node.insert(0, graphs.node("Identity", ["shape"], ["target"]))
    next(n for n in proto.graph.node if n.op_type == "Reshape").input[1] = "target"
    plan = probe(proto, ["relu"], graphs.samples(1, 2, 3, 5, 7))
    assert (plan.mode, plan.fixed_batch) == ("native", 1)
    assert plan.note.startswith("a batch does not run (")
    assert plan.scored == [Scored("relu", None, 60)]
    assert plan.model is proto


def test_a_model_that_mixes_its_batch_runs_natively() -> None:
    plan = probe(centred(), ["centred"], graphs.samples(1, 2, 5))
    assert (plan.mode, plan.fixed_batch) == ("native", 1)
    assert "differs by" in plan.note
    assert plan.note.endswith("between a batch and single runs: one sample per run")


def test_mixing_shows_on_equal_samples_too() -> None:
    x = np.repeat(graphs.samples(1, 1, 5), 3, axis=0)
    assert probe(centred(), ["centred"], x).mode == "native"


def test_what_one_part_cannot_batch_none_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_PART_BYTES", 1)
    proto = centred()
    proto.graph.node.insert(0, graphs.node("Neg", ["x"], ["negated"]))
    plan = probe(proto, ["negated", "centred"], graphs.samples(1, 3, 5))
    assert plan.mode == "native"
    assert plan.scored == [Scored("negated", None, 5), Scored("centred", None, 5)]
    assert set(plan.expected) == set(plan.sizes) == {"negated", "centred"}


def test_probing_in_parts_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphs.samples(1, 3, 3, 6, 8)
    names = [node.output[0] for node in graphs.residual_net().graph.node]
    whole = probe(graphs.residual_net(), names, x)
    monkeypatch.setattr(batching, "_PART_BYTES", 1)
    parts = probe(graphs.residual_net(), names, x)
    assert (parts.scored, parts.sizes, parts.mode) == (whole.scored, whole.sizes, whole.mode)
    assert list(parts.expected) == list(whole.expected) == names


def test_an_input_without_a_batch_axis_runs_natively() -> None:
    nodes = [
        graphs.node("Relu", ["x"], ["r"]),
        graphs.node("ReduceMean", ["r"], ["y"], axes=[0], keepdims=0),
    ]
    proto = graphs.model(nodes, [graphs.value("x", [12, 8])], [graphs.value("y", [8])])
    plan = probe(proto, ["r"], graphs.samples(1, 2, 12, 8))
    assert (plan.mode, plan.fixed_batch) == ("native", 1)
    assert plan.note == (
        "one sample is the whole input, 12 x 8: its leading dimension is not a batch"
    )
    assert plan.scored == [Scored("r", None, 96)]


def test_a_single_sample_runs_natively() -> None:
    plan = probe(graphs.conv_net(), ["relu"], graphs.samples(1, 1, 3, 5, 7))
    assert (plan.mode, plan.note) == ("native", "only one sample to try: one sample per run")


def test_a_fixed_batch_of_4() -> None:
    plan = probe(graphs.conv_net(batch=4), ["relu"], graphs.samples(1, 4, 3, 5, 7))
    assert (plan.mode, plan.fixed_batch) == ("native", 4)
    assert plan.scored == [Scored("relu", 0, 60)]
    assert plan.note == "the model has a fixed batch of 4"


def test_a_fixed_batch_of_4_that_mixes_its_samples_is_refused() -> None:
    with pytest.raises(ModelError, match="fixed batch of 4, but output 'y' mixes its samples"):
        probe(centred(4), ["centred"], graphs.samples(1, 4, 5))


def test_tensors_that_hold_the_batch_elsewhere() -> None:
    plan = probe(graphs.lstm_net(), ["seq", "last", "state"], graphs.samples(1, 3, 5, 3))
    assert plan.mode == "free"
    assert plan.scored == [Scored("seq", 1, 15), Scored("last", 1, 4), Scored("state", 0, 4)]


def test_a_fixed_batch_that_a_tensor_holds_along_axis_1() -> None:
    proto = graphs.lstm_net()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    plan = probe(proto, ["seq", "state"], graphs.samples(1, 4, 5, 3))
    assert plan.fixed_batch == 4
    assert plan.scored == [Scored("seq", 1, 15), Scored("state", 0, 4)]


def test_attention_heads_merged_into_the_batch() -> None:
    plan = probe(graphs.transformer(), ["attention", "q_h"], graphs.samples(1, 3, 4, 6))
    assert plan.mode == "free"
    assert plan.scored == [Scored("attention", 0, 32), Scored("q_h", 0, 24)]


def test_what_is_the_same_for_every_sample_is_rejected() -> None:
    nodes = [
        graphs.node("Shape", ["x"], ["shape"]),
        graphs.node("Slice", ["shape", "one", "two"], ["width"]),
        graphs.node("Cast", ["width"], ["number"], to=graphs.FLOAT),
        graphs.node("Mul", ["x", "number"], ["y"]),
    ]
    ends = {"one": np.array([1], np.int64), "two": np.array([2], np.int64)}
    proto = graphs.model(nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 5])], ends)
    plan = probe(proto, ["number", "y"], graphs.samples(1, 3, 5))
    assert plan.rejected == {"number": "it is the same for every sample"}
    assert plan.scored == [Scored("y", 0, 5)]
