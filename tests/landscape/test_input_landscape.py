"""Surfaces and curvatures of models whose loss over the plane is known, and what an input landscape refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import pytest

from lsa_onnx.errors import DataError, GateFailed, ModelError
from lsa_onnx.landscape import LandscapeOptions, input_landscape
from lsa_onnx.report import dumps, load_schema
from lsa_onnx.report.json_file import read_landscape, write_json
from lsa_onnx.report.landscape import Landscape
from lsa_onnx.scanning import Listener
from tests import graphs
from tests.landscape.planes import (
    REACH,
    SHAPE,
    W,
    curvature,
    drawn,
    inside,
    labels,
    linear,
    losses,
    quadratic,
    rectified,
    saved,
    stored,
)

STEPS = np.array([-1, -0.5, 0, 0.5, 1]) * REACH
# Class 0 wants w·x low, class 1 high.
SIGN = np.where(labels() == 0, 1.0, -1.0)


class Counting(Listener):
    """Remembers the stages, each with its total and what was done of it."""

    def __init__(self) -> None:
        self.stages: list[list[Any]] = []

    def begin(self, stage: str, total: int) -> None:
        """See ``Listener``."""
        self.stages.append([stage, total, 0])

    def advance(self, samples: int) -> None:
        """See ``Listener``."""
        self.stages[-1][2] += samples


class Usual(NamedTuple):
    """The landscape of ``linear`` that several tests look at."""

    model: Path
    data: Path
    found: Landscape
    stages: list[list[Any]]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Usual:
    folder, counting = tmp_path_factory.mktemp("usual"), Counting()
    model, data = saved(folder, linear()), stored(folder, inside(), labels())
    found = drawn(model, data, counting, batch=3, command=("lsa-onnx", "landscape"))
    return Usual(model, data, found, counting.stages)


def centre(x: Any) -> Any:
    """The loss of each sample under ``linear``, shape (n,)."""
    return SIGN * (x.reshape(len(x), -1).astype(np.float64) @ W)


@pytest.mark.parametrize("batch", ["N", pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_linear_loss_rises_by_the_l1_norm_of_its_weights(
    tmp_path: Path, batch: int | str
) -> None:
    x = inside()
    model, data = saved(tmp_path, linear(batch)), stored(tmp_path, x, labels())
    found = drawn(model, data, batch=4)
    (surface,) = found.surfaces
    loss = losses(surface)
    assert loss[2, 2] == pytest.approx(centre(x).mean(), abs=1e-6)
    along = loss - loss[2]
    assert along == pytest.approx(np.abs(W).sum() * np.repeat(STEPS[:, None], 5, 1), abs=1e-5)
    # Across it is a line too, one that random signs leave far below the first.
    assert loss[:, 0] + loss[:, 4] == pytest.approx(2 * loss[:, 2], abs=1e-5)
    assert 0 < abs(loss[2, 4] - loss[2, 2]) < 0.9 * REACH * np.abs(W).sum()
    for measure in ("gradient-change", "second-difference"):
        figure = curvature(surface, measure)
        assert figure.value == pytest.approx(0, abs=1e-3)
        assert figure.n == 7


def test_accuracy_is_that_of_the_untouched_file(tmp_path: Path) -> None:
    x = inside()
    data = stored(tmp_path, x, labels())
    found = drawn(saved(tmp_path, linear()), data, extent="0.3", points=11)
    accuracy = np.array(found.surfaces[0].accuracy)
    expected = [(centre(x) + a * np.abs(W).sum() < 0).mean() for a in found.axes[0].values]
    assert accuracy[:, 5] == pytest.approx(expected)
    assert len(set(expected)) >= 4


def test_a_quadratic_loss_bends_by_its_weights(tmp_path: Path) -> None:
    x = inside()
    found = drawn(saved(tmp_path, quadratic()), stored(tmp_path, x, labels()))
    (surface,) = found.surfaces
    # Σ ±w (x + a d)² with d = ±sign w, as x > 0.
    flat = x.reshape(7, -1).astype(np.float64)
    moved = flat + STEPS[:, None, None] * (SIGN[:, None] * np.sign(W))
    by_hand = (SIGN * (moved**2 @ W)).mean(axis=1)
    assert losses(surface)[:, 2] == pytest.approx(by_hand, abs=1e-5)
    second = curvature(surface, "second-difference")
    assert second.value == pytest.approx((SIGN * 2 * W.sum()).mean(), abs=5e-3)
    low, high = second.interval or (np.nan, np.nan)
    assert low < second.value < high  # type: ignore[operator]
    change = curvature(surface, "gradient-change")
    # ∇ℓ moves by 2 w s, and s is as long in each element.
    assert change.value == pytest.approx(2 * np.linalg.norm(W) / np.sqrt(W.size), rel=1e-3)
    assert "Moosavi-Dezfooli et al. 2019" in change.definition


def test_points_are_clipped_to_the_range_and_curvatures_are_not(tmp_path: Path) -> None:
    x = np.ones((4, *SHAPE), np.float32)
    data = stored(tmp_path, x, np.zeros(4, np.int64))
    found = drawn(saved(tmp_path, linear()), data)
    (surface,) = found.surfaces
    rise = losses(surface)[:, 2] - losses(surface)[2, 2]
    # Upwards only what has a negative weight may move, downwards only what has a positive one.
    positive, negative = W[W > 0].sum(), -W[W < 0].sum()
    assert rise == pytest.approx(np.where(STEPS > 0, negative, positive) * STEPS, abs=1e-5)
    assert curvature(surface, "second-difference").value == pytest.approx(0, abs=2e-3)
    assert "points of the plane are clipped to the range" in found.input.notes


@pytest.mark.parametrize("batch", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_the_batch_changes_nothing(tmp_path: Path, batch: int) -> None:
    model, data = saved(tmp_path, rectified()), stored(tmp_path, inside(), labels())
    whole, parts = drawn(model, data).surfaces[0], drawn(model, data, batch=batch).surfaces[0]
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
    assert parts.accuracy == whole.accuracy
    for one, other in zip(whole.curvatures, parts.curvatures, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-5, abs=1e-4)
        assert one.n == other.n
        assert one.interval == pytest.approx(other.interval, rel=1e-5, abs=1e-4)


def test_the_seed_chooses_the_second_direction_alone(usual: Usual) -> None:
    first, other = (
        losses(found.surfaces[0]) for found in (usual.found, drawn(usual.model, usual.data, seed=1))
    )
    assert other[:, 2] == pytest.approx(first[:, 2], abs=1e-5)
    assert np.abs(other[:, 4] - first[:, 4]).max() > 1e-3


def test_several_models_share_axes_and_random_directions(tmp_path: Path, usual: Usual) -> None:
    twice = saved(tmp_path, linear(scale=2.0), "twice.onnx")
    found = drawn([usual.model, twice], usual.data, batch=3)
    assert [surface.model for surface in found.surfaces] == [0, 1]
    names = [Path(model.file.path).name for model in found.models]
    assert names == ["model.onnx", "twice.onnx"]
    first, second = map(losses, found.surfaces)
    assert first.tolist() == losses(usual.found.surfaces[0]).tolist()
    assert second == pytest.approx(2 * first, abs=1e-5)
    for axis, name in zip(found.axes, ("gradient sign", "random sign"), strict=True):
        assert axis.name == name
        assert axis.values == pytest.approx(STEPS)
        assert axis.values[2] == 0


def test_the_extent_is_in_units_of_the_range(tmp_path: Path) -> None:
    data = stored(tmp_path, 255 * inside(), labels())
    found = drawn(saved(tmp_path, linear(scale=1 / 255)), data, range=(0, 255), extent="10%")
    loss = losses(found.surfaces[0])
    assert found.axes[0].values[-1] == 25.5
    assert loss[4, 2] - loss[2, 2] == pytest.approx(REACH * np.abs(W).sum(), abs=1e-5)


def test_samples_without_a_gradient_count_in_no_curvature(tmp_path: Path) -> None:
    x = inside(6)
    x[:2] = 0.2
    found = drawn(saved(tmp_path, rectified()), stored(tmp_path, x, labels(6)))
    assert {figure.n for figure in found.surfaces[0].curvatures} == {4}
    (warning,) = [each for each in found.warnings if each.code == "zero-gradient"]
    assert "33.3%" in warning.message


def test_without_any_gradient_there_is_no_curvature(tmp_path: Path) -> None:
    data = stored(tmp_path, np.full((3, *SHAPE), 0.2, np.float32), labels(3))
    found = drawn(saved(tmp_path, rectified()), data)
    for figure in found.surfaces[0].curvatures:
        assert (figure.value, figure.interval, figure.n) == (None, None, 0)
    # The samples of a plane that is flat all over lose nothing.
    assert len({value for row in found.surfaces[0].loss for value in row}) == 1


def test_a_loss_that_saturates_is_shown_unsaturated(tmp_path: Path) -> None:
    found = drawn(saved(tmp_path, linear(scale=1000)), stored(tmp_path, inside()))
    assert {warning.code for warning in found.warnings} >= {
        "vanishing-gradient",
        "predicted-labels",
    }
    assert losses(found.surfaces[0])[2, 2] < -100
    assert found.surfaces[0].accuracy[2][2] == 1.0  # type: ignore[index]


def test_models_without_classes_show_how_far_outputs_move(tmp_path: Path) -> None:
    x = graphs.samples(1, 9, 2)
    found = drawn(saved(tmp_path, graphs.elu_mlp()), stored(tmp_path, x))
    (surface,) = found.surfaces
    assert (found.objective, surface.accuracy) == ("output", None)
    assert surface.loss[2][2] == 0
    assert all(value is not None and value >= 0 for row in surface.loss for value in row)
    assert curvature(surface, "second-difference").value > 0  # type: ignore[operator]
    assert any("random point nearby" in note for note in found.input.notes)


@pytest.mark.parametrize("objective", ["layer:flat", "loss"])
def test_an_objective_that_is_not_there_is_refused(usual: Usual, objective: str) -> None:
    with pytest.raises(DataError, match=f"objective '{objective}'"):
        drawn(usual.model, usual.data, objective=objective)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["margin", "dlr", "kl", "output"])
def test_other_objectives(usual: Usual, objective: str) -> None:
    found = drawn(usual.model, usual.data, objective=objective)
    loss = losses(found.surfaces[0])
    assert found.objective == objective
    assert loss[4, 2] > loss[2, 2]
    if objective in ("margin", "dlr"):
        # Of two classes, both are the linear loss.
        assert loss == pytest.approx(losses(usual.found.surfaces[0]), abs=1e-5)


def test_a_loss_that_overflows_has_no_figure(tmp_path: Path) -> None:
    nodes = [
        graphs.node("Flatten", ["x"], ["flat"]),
        graphs.node("Gemm", ["flat", "w"], ["z"]),
        graphs.node("Exp", ["z"], ["y"]),
    ]
    steep = np.stack([0 * W, 20 * np.abs(W)], axis=1)
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", *SHAPE])], [graphs.value("y", ["N", 2])], {"w": steep}
    )
    x = np.full((3, *SHAPE), 0.5, np.float32)
    found = drawn(saved(tmp_path, proto), stored(tmp_path, x, np.zeros(3, np.int64)))
    loss = found.surfaces[0].loss
    assert loss[2][2] is not None
    assert loss[4][2] is None
    (warning,) = [each for each in found.warnings if each.code == "not-finite"]
    missing = sum(value is None for row in loss for value in row)
    assert f"At {missing} of 25 points" in warning.message
    jsonschema.Draft202012Validator(load_schema("landscape")).validate(json.loads(dumps(found)))


def test_the_document_follows_its_schema_and_reads_back(tmp_path: Path, usual: Usual) -> None:
    found = usual.found
    document = json.loads(dumps(found))
    jsonschema.Draft202012Validator(load_schema("landscape")).validate(document)
    write_json(found, tmp_path / "landscape.json")
    assert read_landscape(tmp_path / "landscape.json") == found
    assert Landscape.from_dict(document).surfaces == found.surfaces
    assert (found.run.samples, found.run.attack, found.run.torch) == (7, None, None)
    assert found.run.command == ["lsa-onnx", "landscape"]


def test_progress_counts_samples_times_points(usual: Usual) -> None:
    assert usual.stages == [["clean", 7, 7], ["landscape of model.onnx", 7 * 25, 7 * 25]]


def test_a_model_without_gradient_is_refused_unless_rounding_may_be_passed(tmp_path: Path) -> None:
    proto = graphs.activated([graphs.node("Round", ["h"], ["a"])])
    model = saved(tmp_path, proto)
    x = graphs.samples(
        2, 6, *[d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    )
    data = stored(tmp_path, x)
    with pytest.raises(ModelError, match=r"has no gradient.*Round.*--straight-through"):
        drawn(model, data)
    assert drawn(model, data, straight_through=True).surfaces


def test_models_that_mean_another_unit_by_a_distance_are_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, inside(), labels())
    paths = [saved(tmp_path, linear(), name) for name in ("one.onnx", "other.onnx")]
    paths[1].with_suffix(".lsa.toml").write_text("[input]\nrange = [-1.0, 2.0]\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"other\.onnx' declares the range -1 to 2, .* 0 to 1; .*--range"
    ):
        drawn(paths, data)


def test_models_that_read_other_samples_are_refused(tmp_path: Path) -> None:
    first, second = linear(), linear()
    for proto, name in ((first, "a"), (second, "b")):
        proto.graph.input[0].name = proto.graph.node[0].input[0] = name
    np.savez(tmp_path / "data.npz", a=inside(), b=1 - inside(), y=labels())
    paths = [saved(tmp_path, first, "one.onnx"), saved(tmp_path, second, "other.onnx")]
    with pytest.raises(DataError, match=r"other\.onnx' reads other samples of .*--x-key"):
        drawn(paths, tmp_path / "data.npz")


def test_models_that_share_no_objective_are_refused(tmp_path: Path) -> None:
    data = stored(tmp_path, graphs.samples(0, 5, 2))
    two = graphs.model(
        [graphs.node("Gemm", ["x", "w"], ["y"])],
        [graphs.value("x", ["N", 2])],
        [graphs.value("y", ["N", 3])],
        {"w": graphs.weight(0, 2, 3)},
    )
    paths = [saved(tmp_path, two, "one.onnx"), saved(tmp_path, graphs.elu_mlp(), "mlp.onnx")]
    with pytest.raises(DataError, match=r"mlp\.onnx' would show the objective 'output', .* 'ce'"):
        drawn(paths, data)


def test_without_a_model_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no model; give the path"):
        input_landscape([], LandscapeOptions(data=stored(tmp_path, inside())))


def test_a_label_or_an_accuracy_that_cannot_be_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path, linear())
    data = stored(tmp_path, inside(), labels() + 1)
    with pytest.raises(DataError, match="label 2 is not one of the model's 2 classes"):
        drawn(model, data)
    good = stored(tmp_path, inside(), labels(), "good.npz")
    with pytest.raises(GateFailed, match="is below the expected 1"):
        drawn(model, good, expect_accuracy=1.0)
