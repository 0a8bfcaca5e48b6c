"""Gradients of whole models against differences of what the untouched model says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import differentiate, read_rows
from lsa_onnx.rewrite.objectives import Kind, Objective
from tests import graphs
from tests.graphs import Array, run, samples
from tests.rewrite import losses
from tests.rewrite.whole_models import CASES, SMALL, Case

CLASS_KINDS: tuple[Kind, ...] = ("ce", "margin", "dlr")
DIRECTIONS = 3
# Of the differences, which are taken of the model in double precision, or in single where the runtime
# computes no better; gradients are in single precision.
STEP, COARSE_STEP = 1e-6, 1e-3
TOLERANCE, COARSE_TOLERANCE = 1e-3, 1e-2


def moved(case: Case, wrt: str, direction: Array) -> dict[str, Array]:
    return {**case.feeds, wrt: case.feeds[wrt] + np.asarray(direction, np.float64)}


def hold(
    case: Case, objective: Objective, goals: Mapping[str, Array], loss: Callable[[Any], Array]
) -> None:
    """Assert that losses are what ``loss`` makes of feeds, and gradients their differences."""
    wrt = list(case.feeds)
    made = differentiate(case.proto, objective, wrt)
    given = {made.goals[name]: goal for name, goal in goals.items()}
    found = run(made.model, {**case.feeds, **given})
    np.testing.assert_allclose(found[made.loss], loss(case.feeds), rtol=1e-3, atol=1e-4)
    step = COARSE_STEP if case.coarse else STEP
    tolerance = COARSE_TOLERANCE if case.coarse else TOLERANCE
    rng = np.random.default_rng(0)
    for name in wrt:
        gradient = found[made.gradients[name]].astype(np.float64)
        assert gradient.shape == case.feeds[name].shape
        rows = 1 if case.batch_axis is None else len(gradient)
        assert (np.abs(gradient.reshape(rows, -1)).max(1) > 0).all()
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(gradient.shape)
            ahead, behind = (loss(moved(case, name, s * step * direction)) for s in (1, -1))
            written = (gradient * direction).reshape(rows, -1).sum(1)
            numeric = (ahead - behind) / (2 * step)
            scale = np.linalg.norm(gradient.reshape(rows, -1), axis=1) + 1e-3
            np.testing.assert_array_less(np.abs(written - numeric), tolerance * scale)


def objective_of(case: Case, kind: Kind, **how: Any) -> Objective:
    axis = None if case.batch_axis is None else 0
    return Objective(kind, (Scored(case.logits, axis),), **how)


@pytest.mark.parametrize("kind", CLASS_KINDS)
@pytest.mark.parametrize("name", CASES)
def test_class_objectives(name: str, kind: Kind) -> None:
    case = CASES[name]()
    formula = {"ce": losses.logit_loss, "margin": losses.lead, "dlr": losses.dlr}[kind]
    y = case.labels
    hold(
        case,
        objective_of(case, kind),
        {"labels": y},
        lambda f: formula(case.read(case.logits, f), y),
    )


@pytest.mark.parametrize("kind", ["ce", "margin"])
@pytest.mark.parametrize("name", SMALL)
def test_class_objectives_of_few_classes(name: str, kind: Kind) -> None:
    case = SMALL[name]()
    formula = {"ce": losses.logit_loss, "margin": losses.lead}[kind]
    y = case.labels
    hold(
        case,
        objective_of(case, kind),
        {"labels": y},
        lambda f: formula(case.read(case.logits, f), y),
    )


@pytest.mark.parametrize("kind", CLASS_KINDS)
@pytest.mark.parametrize("lowest_wins", [False, True])
def test_targets(kind: Kind, lowest_wins: bool) -> None:
    case = CASES["residual"]()
    formula = {
        "ce": lambda z, t: -losses.logit_loss(z, t),
        "margin": lambda z, t: -losses.lead(z, t),
        "dlr": losses.targeted_dlr,
    }[kind]
    sign, target = -1 if lowest_wins else 1, np.array([3, 4, 0])
    objective = objective_of(case, kind, targeted=True, lowest_wins=lowest_wins)
    hold(case, objective, {"target": target}, lambda f: formula(sign * case.read("y", f), target))


@pytest.mark.parametrize("lowest_wins", [False, True])
def test_lowest_scores_that_win(lowest_wins: bool) -> None:
    case = CASES["conv opset 18"]()
    sign, y = -1 if lowest_wins else 1, case.labels
    objective = objective_of(case, "ce", lowest_wins=lowest_wins)
    hold(case, objective, {"labels": y}, lambda f: losses.logit_loss(sign * case.read("y", f), y))


@pytest.mark.parametrize("name", [*CASES, *SMALL])
def test_objectives_without_labels(name: str) -> None:
    case = {**CASES, **SMALL}[name]()
    # Away from the clean input, where they are 0.
    rng = np.random.default_rng(1)
    elsewhere = {
        n: (x + rng.normal(0, 0.2, x.shape)).astype(x.dtype) for n, x in case.feeds.items()
    }
    axis = None if case.batch_axis is None else 0
    logits = Scored(case.logits, axis)
    layer = Scored(case.layer or "", case.batch_axis, case.elements)
    dtype = next(iter(case.feeds.values())).dtype
    for objective in (
        Objective("kl", (logits,)),
        Objective("output", (logits,)),
        Objective("layer", (layer,)),
    ):
        (item,) = objective.tensors
        clean = case.read(item.tensor, elsewhere)

        def loss(feeds: Any, kind: str = objective.kind, item: Scored = item) -> Array:
            now = case.read(item.tensor, feeds)
            clean = case.read(item.tensor, elsewhere)
            of = losses.divergence if kind == "kl" else losses.relative_change
            return of(clean, now)

        hold(case, objective, {"reference": clean.astype(dtype)}, loss)


def test_change_of_several_outputs_is_their_sum() -> None:
    case = CASES["residual"]()
    items = (Scored("y"), Scored("r0"))
    clean = [case.read(item.tensor, moved(case, "x", np.full((3, 3, 6, 8), 0.1))) for item in items]
    goals = {
        name: rows.astype(np.float32)
        for name, rows in zip(("reference", "reference 1"), clean, strict=True)
    }

    def loss(feeds: Any) -> Array:
        now = [case.read(item.tensor, feeds) for item in items]
        return np.asarray(sum(map(losses.relative_change, clean, now)))

    hold(case, Objective("output", items), goals, loss)


def test_half_precision_has_the_gradient_of_single_precision() -> None:
    answers = {}
    for dtype in ("float16", "float32"):
        made = differentiate(graphs.typed_net(dtype), Objective("ce", (Scored("y"),), 3), ["x"])
        feeds = {"x": samples(4, 3, 5, dtype=dtype), made.goals["labels"]: np.array([0, 1, 2])}
        answers[dtype] = run(made.model, feeds)[made.gradients["x"]]
    assert answers["float16"].dtype == np.float16
    np.testing.assert_allclose(answers["float16"], answers["float32"], atol=5e-3)


@pytest.mark.parametrize("name", ["transformer", "samples on axis 1", "no batch", "two inputs"])
def test_rows_are_references(name: str) -> None:
    case = {**CASES, **SMALL}[name]()
    items = [
        Scored(case.logits, None if case.batch_axis is None else 0),
        Scored(case.layer or "", case.batch_axis, case.elements),
    ]
    reader, names = read_rows(case.proto, items)
    found = run(reader, case.feeds)
    for item, row in zip(items, names, strict=True):
        wanted = case.read(item.tensor, case.feeds)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-4, atol=1e-5)
