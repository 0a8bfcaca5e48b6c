"""The oracle on ONNX Runtime: any number of samples, however the model takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.attacks import Answer
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import NotDifferentiable, differentiate
from lsa_onnx.rewrite.objectives import Kind, Objective
from lsa_onnx.runtime.gradients import HELD, GradientSource
from lsa_onnx.runtime.memory import bytes_per_sample, estimate_bytes, gradient_bytes_per_sample
from lsa_onnx.runtime.session import Session
from tests import graphs
from tests.graphs import Array, model, node, run, samples, value, weight
from tests.rewrite import losses
from tests.runtime.rig import CPU, Rig, build

CE = Objective("ce", (Scored("y"),), 6)
SHAPE = (3, 5, 7)


Open = Callable[..., GradientSource]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens a source as a scan does, after a batch was tried on the first samples."""
    kept: list[Rig] = []

    def source(proto: onnx.ModelProto, feeds: dict[str, Array], **options: Any) -> GradientSource:
        first = next(iter(feeds))
        rig = build(proto, feeds, tmp_path, perturb=first)
        # Its weights lie in a folder that goes with it.
        kept.append(rig)
        shapes = {name: x.shape[1:] for name, x in feeds.items()}
        return GradientSource(
            rig.plan, first, rig.model.folder, CPU, sample_shapes=shapes, **options
        )

    return source


def whole(
    proto: onnx.ModelProto, objective: Objective, feeds: dict[str, Array], **goals: Array
) -> Answer:
    """The same in one run of the differentiated model, whose batch is free."""
    made = differentiate(proto, objective, [next(iter(feeds))])
    found = run(made.model, {**feeds, **{made.goals[n]: g for n, g in goals.items()}})
    margin = found[made.margin] if made.margin else None
    return Answer(found[made.loss], found[made.gradients[next(iter(feeds))]], margin)


def assert_equal(found: Answer, wanted: Answer) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def gradient_of(answer: Answer) -> Array:
    assert answer.gradient is not None
    return np.asarray(answer.gradient)


def unbatched(shape: graphs.Shape) -> onnx.ModelProto:
    weights = {"w": weight(0, 5, 8), "v": weight(1, 8, 6)}
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["a"]),
        node("MatMul", ["a", "v"], ["y"]),
    ]
    return model(nodes, [value("x", shape)], [value("y", None)], weights)


# How samples are run


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("gradient", [True, False])
def test_pieces_equal_one_run(opened: Open, size: int, gradient: bool) -> None:
    x, y = samples(0, 7, *SHAPE), np.arange(7) % 6
    free = opened(graphs.conv_net(), {"x": x})
    per_sample = gradient_bytes_per_sample(
        free.ready(CE, gradient=gradient).made.model, free.sample_shapes
    )
    source = opened(graphs.conv_net(), {"x": x}, budget_bytes=estimate_bytes(per_sample, size))
    assert source.ready(CE, gradient=gradient).batch == size
    found = source.oracle(CE)(x, {"labels": y}, gradient=gradient)
    wanted = whole(graphs.conv_net(), CE, {"x": x}, labels=y)
    assert_equal(found, wanted if gradient else wanted._replace(gradient=None))


@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_fixed_batch_is_filled_up(opened: Open, count: int) -> None:
    x, y = samples(1, count, *SHAPE), np.arange(count) % 6
    source = opened(graphs.conv_net(batch=4), {"x": samples(0, 4, *SHAPE)})
    assert source.ready(CE, gradient=True).batch == 4
    found = source.oracle(CE)(x, {"labels": y})
    assert_equal(found, whole(graphs.conv_net(), CE, {"x": x}, labels=y))


def test_a_fixed_batch_of_1_is_freed(opened: Open) -> None:
    x, y = samples(1, 5, *SHAPE), np.arange(5)
    source = opened(graphs.fixed_batch_net(), {"x": x})
    assert source.plan.mode == "rebatched"
    assert source.ready(CE, gradient=True).batch > 5
    found = source.oracle(CE)(x, {"labels": y})
    singles = [
        whole(graphs.fixed_batch_net(), CE, {"x": x[i : i + 1]}, labels=y[i : i + 1])
        for i in range(5)
    ]
    columns = zip(*singles, strict=True)
    assert_equal(found, Answer(*(np.concatenate(column) for column in columns)))


@pytest.mark.parametrize("objective", ["ce", "kl", "output", "layer"])
def test_inputs_without_a_batch_run_one_by_one(opened: Open, objective: Kind) -> None:
    x, y = samples(2, 4, 5), np.arange(4)
    moved = x + np.float32(0.1)
    source = opened(unbatched([5]), {"x": x})
    assert source.plan.fixed_batch == 1
    tensor = "h" if objective == "layer" else "y"
    goal, batched = {"labels": y}, Objective(objective, (Scored(tensor),))
    single = Objective(objective, (Scored(tensor, None),))
    if objective != "ce":
        goal = source.references(single, {"x": x})
        rows = run(graphs_exposed(tensor), {"x": x})[tensor]
        np.testing.assert_allclose(goal["reference"], rows, rtol=1e-5)
    found = source.oracle(single)(moved, goal)
    assert_equal(found, whole(unbatched(["N", 5]), batched, {"x": moved}, **goal))


def graphs_exposed(tensor: str) -> onnx.ModelProto:
    """The batched model with one of its tensors as an output."""
    proto = unbatched(["N", 5])
    if tensor != "y":
        proto.graph.output.append(value(tensor, None))
    return proto


def test_inputs_that_are_held(opened: Open) -> None:
    a, b, y = samples(3, 5, 5), samples(4, 5, 3), np.arange(5) % 2
    objective = Objective("ce", (Scored("y"),), 2)
    proto = graphs.two_input_net()
    source = opened(proto, {"a": a, "b": b}, budget_bytes=estimate_bytes(1000, 2))
    found = source.oracle(objective)(a, {"labels": y, HELD + "b": b})
    assert_equal(found, whole(proto, objective, {"a": a, "b": b}, labels=y))
    # Each row has the held values of its own.
    swapped = source.oracle(objective)(a, {"labels": y, HELD + "b": b[::-1]})
    assert np.abs(swapped.loss - found.loss).max() > 1e-3


def test_margins_are_those_of_the_model(opened: Open) -> None:
    x = samples(5, 6, *SHAPE)
    z = run(graphs.conv_net(), {"x": x})["y"].astype(np.float64)
    y = z.argmax(axis=1)
    y[2] = z[2].argmin()
    source = opened(graphs.conv_net(), {"x": x})
    margin = source.oracle(CE)(x, {"labels": y}).margin
    assert margin is not None
    np.testing.assert_allclose(margin, -losses.lead(z, y), rtol=1e-3, atol=1e-4)
    assert (margin > 0).tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions(opened: Open, dtype: str) -> None:
    x, y = samples(6, 4, 5, dtype=dtype), np.array([0, 1, 2, 0])
    objective = Objective("margin", (Scored("y"),), 3)
    source = opened(graphs.typed_net(dtype), {"x": x})
    answer = source.oracle(objective)(x, {"labels": y})
    single = whole(graphs.typed_net("float32"), objective, {"x": x.astype(np.float32)}, labels=y)
    found = gradient_of(answer)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, gradient_of(single), rtol=1e-2, atol=1e-3)


# References


@pytest.mark.parametrize("kind", ["kl", "output"])
@pytest.mark.parametrize("batch", ["N", 4])
def test_changes_are_0_at_their_reference(opened: Open, kind: Kind, batch: str | int) -> None:
    x = samples(0, 7, *SHAPE)
    probe = {"x": x[:4]}
    source = opened(graphs.conv_net(batch=batch), probe)
    objective = Objective(kind, (Scored("y"),))
    goal = source.references(objective, {"x": x})
    assert goal["reference"].shape == (7, 6)
    answer = source.oracle(objective)(x, goal)
    assert answer.margin is None
    np.testing.assert_allclose(answer.loss, 0, atol=1e-10)
    away = source.oracle(objective)(x + np.float32(0.1), goal)
    assert (away.loss > 1e-6).all()


def test_a_layer_whose_samples_are_merged_into_rows(opened: Open) -> None:
    x = samples(0, 5, 4, 6)
    source = opened(graphs.transformer(), {"x": x})
    item = next(item for item in source.plan.scored if item.tensor == "attention")
    assert item.elements == 2 * 4 * 4
    objective = Objective("layer", (item,))
    goal = source.references(objective, {"x": x})
    assert goal["reference"].shape == (5, 32)
    moved = x + samples(1, 5, 4, 6) / 10
    answer = source.oracle(objective)(moved, goal)
    exposed = graphs.transformer()
    exposed.graph.output.append(value("attention", None))
    clean, now = (
        run(exposed, {"x": each})["attention"].reshape(5, -1).astype(np.float64)
        for each in (x, moved)
    )
    np.testing.assert_allclose(answer.loss, losses.relative_change(clean, now), rtol=1e-3)
    assert (np.abs(gradient_of(answer)).reshape(5, -1).max(1) > 0).all()


def test_several_tensors_have_a_reference_each(opened: Open) -> None:
    x = samples(0, 3, *SHAPE)
    source = opened(graphs.conv_net(), {"x": x})
    objective = Objective("output", (Scored("y"), Scored("relu")))
    goal = source.references(objective, {"x": x})
    assert {n: r.shape for n, r in goal.items()} == {"reference": (3, 6), "reference 1": (3, 60)}
    assert not source.oracle(objective)(x, goal).loss.any()


# What is built


def test_every_model_is_built_once(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = samples(0, 3, *SHAPE), {"labels": np.arange(3)}
    source, built = opened(graphs.conv_net(), {"x": x}), []
    session = Session

    def counted(*arguments: Any) -> Any:
        built.append(arguments)
        return session(*arguments)

    monkeypatch.setattr("lsa_onnx.runtime.gradients.Session", counted)
    for _ in range(3):
        source.oracle(CE)(x, y)
    assert len(built) == 1
    for _ in range(3):
        source.oracle(CE)(x, y, gradient=False)
    assert len(built) == 2
    for _ in range(3):
        source.references(Objective("kl", (Scored("y"),)), {"x": x})
    # The forward model, which says how many samples fit, and the one that returns rows.
    assert len(built) == 4


def test_without_a_gradient_the_forward_model_runs(opened: Open) -> None:
    x, y = samples(0, 3, *SHAPE), {"labels": np.arange(3)}
    source = opened(graphs.conv_net(), {"x": x})
    both, alone = (source.oracle(CE)(x, y, gradient=g) for g in (True, False))
    assert alone.gradient is None
    np.testing.assert_allclose(alone.loss, both.loss, rtol=1e-6)
    made = source.ready(CE, gradient=False).made
    kinds = [n.op_type for n in made.model.graph.node]
    assert kinds.count("Conv") == 1
    assert made.gradients == {}


def rounding() -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Round", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    weights = {"w": weight(0, 5, 8) * 9, "v": weight(1, 8, 6)}
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 6])], weights)


def test_models_without_a_gradient_still_answer(opened: Open) -> None:
    x, y = samples(0, 4, 5), np.arange(4)
    source = opened(rounding(), {"x": x})
    with pytest.raises(NotDifferentiable, match="ends at Round 'n_r'"):
        source.oracle(CE)(x, {"labels": y})
    answer = source.oracle(CE)(x, {"labels": y}, gradient=False)
    z = run(rounding(), {"x": x})["y"].astype(np.float64)
    np.testing.assert_allclose(answer.loss, losses.logit_loss(z, y), rtol=1e-4)


def test_straight_through_is_passed_on(opened: Open) -> None:
    x, y = samples(0, 4, 5), np.arange(4)
    source = opened(rounding(), {"x": x}, straight_through=True)
    objective = Objective("margin", (Scored("y"),))
    gradient = gradient_of(source.oracle(objective)(x, {"labels": y}))
    z = run(rounding(), {"x": x})["y"]
    z[np.arange(4), y] = -np.inf
    rival = z.argmax(axis=1)
    v, w = weight(1, 8, 6), weight(0, 5, 8) * 9
    np.testing.assert_allclose(gradient, (v[:, rival] - v[:, y]).T @ w.T, rtol=1e-4, atol=1e-5)


def test_external_weights_are_found(opened: Open, tmp_path: Path) -> None:
    graphs.save_external(graphs.conv_net(), tmp_path / "outside.onnx")
    proto = onnx.load(tmp_path / "outside.onnx", load_external_data=False)
    x, y = samples(0, 3, *SHAPE), np.arange(3)
    source = opened(proto, {"x": x})
    found = source.oracle(CE)(x, {"labels": y})
    assert_equal(found, whole(graphs.conv_net(), CE, {"x": x}, labels=y))


# Memory


def test_gradients_need_more_than_scores() -> None:
    proto = graphs.mnist_cnn(20, 22)
    made = differentiate(proto, CE, ["x"])
    shapes = {"x": (1, 20, 22)}
    needed = gradient_bytes_per_sample(made.model, shapes)
    activations = 4 * (16 * 16 * 18 * 2 + 32 * 12 * 14 * 2)
    # The four largest activations stay alive until the adjoints have read them.
    assert activations < needed < 20 * activations
    assert needed > bytes_per_sample(proto, shapes, {}) / 2


def test_bytes_of_a_gradient_by_hand() -> None:
    # Tensors of 4 · 20 bytes.
    proto = model([node("Exp", ["x"], ["y"])], [value("x", ["N", 20])], [value("y", ["N", 20])])
    proto.graph.node.append(node("Mul", ["y", "y"], ["z"]))
    proto.graph.output[0].name = "z"
    # x and y are alive at once, then y and z; and there are 6 copies of the input.
    assert gradient_bytes_per_sample(proto, {"x": (20,)}) == 2 * 80 + 6 * 80
