"""``ScoringSession``: sums of squares per sample, verified against numpy, batch or no batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.runtime import scoring, session
from lsa_onnx.runtime.scoring import ScoringSession
from tests import graphs
from tests.runtime.rig import CPU, Rig, build


def assert_equals_numpy(rig: Rig, feeds: dict[str, graphs.Array], moved: graphs.Array) -> None:
    batch = rig.score(feeds, moved)
    reference = rig.reference(feeds, moved)
    sums = (batch.sums.difference, batch.sums.clean, batch.sums.perturbed)
    assert rig.scored
    for index, name in enumerate(rig.scored):
        got = np.stack([part[:, index] for part in sums], 1)
        assert got == pytest.approx(reference[name], rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize(
    ("make", "shape", "mode"),
    [
        (graphs.conv_net, (5, 3, 5, 7), "free"),
        (graphs.residual_net, (5, 3, 6, 8), "free"),
        (graphs.transformer, (5, 4, 6), "free"),
        (graphs.lstm_net, (5, 5, 3), "free"),
        (graphs.fixed_batch_net, (5, 3, 5, 7), "rebatched"),
        (lambda: graphs.conv_net(batch=4), (6, 3, 5, 7), "native"),
    ],
    ids=["conv", "residual", "transformer", "lstm", "fixed-1", "fixed-4"],
)
def test_a_scored_batch_equals_numpy_on_single_runs(
    make: Any, shape: tuple[int, ...], mode: str, tmp_path: Path
) -> None:
    x, moved = graphs.samples(1, *shape), graphs.samples(2, *shape)
    proto = make()
    rig = build(proto, {"x": x}, tmp_path)
    assert rig.plan.mode == mode
    assert rig.dropped == {}
    if mode != "native":
        assert_equals_numpy(rig, {"x": x}, moved)
        return
    # The reference runs single samples, which a batch fixed to 4 does not take.
    free = build(graphs.conv_net(), {"x": x}, tmp_path)
    one, other = rig.score({"x": x}, moved), free.score({"x": x}, moved)
    assert one.sums.difference == pytest.approx(other.sums.difference, rel=1e-4)
    assert one.clean["y"] == pytest.approx(other.clean["y"], rel=1e-4, abs=1e-6)


def test_the_outputs_of_both_branches_are_returned(tmp_path: Path) -> None:
    x, moved = graphs.samples(1, 3, 3, 5, 7), graphs.samples(2, 3, 3, 5, 7)
    batch = build(graphs.conv_net(), {"x": x}, tmp_path).score({"x": x}, moved)
    for got, given in ((batch.clean, x), (batch.perturbed, moved)):
        expected = graphs.run(graphs.conv_net(), {"x": given})["y"]
        assert got["y"] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_equal_inputs_make_no_difference(tmp_path: Path) -> None:
    x = graphs.samples(1, 3, 3, 5, 7)
    sums = build(graphs.conv_net(), {"x": x}, tmp_path).score({"x": x}, x).sums
    assert np.all(sums.difference == 0)
    assert np.all(sums.clean > 0)
    assert np.array_equal(sums.clean, sums.perturbed)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_a_last_batch_is_padded_and_cut_again(count: int, tmp_path: Path) -> None:
    x, moved = graphs.samples(1, 9, 3, 5, 7), graphs.samples(2, 9, 3, 5, 7)
    rig = build(graphs.conv_net(batch=4), {"x": x}, tmp_path)
    assert rig.plan.fixed_batch == 4
    every = rig.score({"x": x}, moved)
    some = rig.score({"x": x[:count]}, moved[:count])
    assert some.sums.difference.shape == (count, len(rig.scored))
    assert some.clean["y"].shape == (count, 6)
    assert np.array_equal(some.sums.difference, every.sums.difference[:count])
    assert np.array_equal(some.perturbed["y"], every.perturbed["y"][:count])


def test_an_input_that_is_held_scores_only_what_depends_on_the_other(tmp_path: Path) -> None:
    feeds = {"a": graphs.samples(1, 4, 5), "b": graphs.samples(2, 4, 3)}
    rig = build(graphs.two_input_net(), feeds, tmp_path, perturb="a")
    assert rig.scored == ["ha", "ra", "both", "y"]
    held = "it does not depend on 'a', the input that is perturbed"
    assert {rig.reasons[name] for name in ("hb", "rb")} <= {held, "it is the same for every sample"}
    assert_equals_numpy(rig, feeds, graphs.samples(3, 4, 5))


def test_the_optimised_twin_is_the_first_choice(tmp_path: Path) -> None:
    rig = build(graphs.conv_net(), {"x": graphs.samples(1, 3, 3, 5, 7)}, tmp_path)
    assert rig.session.engine == "optimised twin"


def failing_on_save(*given: Any) -> Any:
    if len(given) > 3 and given[3].save_optimised is not None:
        raise ModelError("this graph has no serialised form")
    return original(*given)


original = session.Session


def test_a_graph_that_cannot_be_saved_gets_the_plain_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "Session", failing_on_save)
    x = graphs.samples(1, 3, 3, 5, 7)
    rig = build(graphs.conv_net(), {"x": x}, tmp_path)
    assert rig.session.engine == "plain twin"
    assert_equals_numpy(rig, {"x": x}, graphs.samples(2, 3, 3, 5, 7))


def test_an_optimised_graph_that_lost_a_tensor_gets_the_plain_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = onnx.load

    def renamed(*given: Any, **options: Any) -> onnx.ModelProto:
        proto = loaded(*given, **options)
        for node in proto.graph.node:
            node.output[:] = [f"{name}_renamed" for name in node.output]
        return proto

    monkeypatch.setattr(onnx, "load", renamed)
    rig = build(graphs.conv_net(), {"x": graphs.samples(1, 3, 3, 5, 7)}, tmp_path)
    assert rig.session.engine == "plain twin"


def test_verify_drops_what_no_twin_reproduces(tmp_path: Path) -> None:
    x = graphs.samples(1, 3, 3, 5, 7)
    rig = build(graphs.conv_net(), {"x": x}, tmp_path)
    difference, clean, perturbed = rig.plan.expected["relu"]
    wrong = {**rig.plan.expected, "relu": (difference * 1.1, clean, perturbed)}
    plan = dataclasses.replace(rig.plan, expected=wrong)
    model = rig.model
    scorer = ScoringSession(plan, ["y"], "x", model.folder, model.workspace, CPU)
    engines = [str(scorer.engine)]
    assert scorer.verify({"x": x[:2]}) == {
        "relu": "its score in the graph is not numpy's on the probe samples"
    }
    assert [*engines, scorer.engine] == ["optimised twin", "plain twin"]
    assert [item.tensor for item in scorer.scored] == ["conv", "flat", "y"]
    assert scorer.run({"x": x}, x).sums.difference.shape == (3, 3)


def test_verify_keeps_everything_on_equal_probe_samples(tmp_path: Path) -> None:
    x = np.repeat(graphs.samples(1, 1, 3, 5, 7), 3, axis=0)
    rig = build(graphs.conv_net(), {"x": x}, tmp_path)
    assert rig.scored == ["conv", "relu", "flat", "y"]
    assert np.all(rig.plan.expected["conv"][0] > 0)


def test_a_batch_that_comes_back_short_is_refused(tmp_path: Path) -> None:
    """The model keeps two samples, which goes unnoticed with the two of the probe."""
    nodes = [
        graphs.node("Relu", ["x"], ["r"]),
        graphs.node("Slice", ["r", "from", "to"], ["y"]),
    ]
    ends = {"from": np.array([0], np.int64), "to": np.array([2], np.int64)}
    proto = graphs.model(nodes, [graphs.value("x", ["N", 5])], [graphs.value("y", ["M", 5])], ends)
    x = graphs.samples(1, 4, 5)
    rig = build(proto, {"x": x}, tmp_path)
    with pytest.raises(ModelError, match=r"'y.*' has 2 rows for a batch of 4.*--batch 1"):
        rig.score({"x": x}, x)
