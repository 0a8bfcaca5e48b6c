"""Objectives and their gradients by the logits, held to formulas and to answers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite import Scored
from lsa_onnx.rewrite.differentiate import differentiate
from lsa_onnx.rewrite.objectives import Kind, Objective
from tests.graphs import Array, model, node, run, value
from tests.rewrite import losses

LOGITS = (Scored("y"),)
# Rows of logits whose label leads, follows, and is the smallest.
ROWS = [[3.0, 1.0, 0.5, -2.0], [1.0, 4.0, 2.0, 0.0], [0.5, 0.25, 1.0, -1.0]]
LABELS = [0, 2, 3]


class Found:
    """Loss, margin and gradient by the logits themselves."""

    def __init__(self, objective: Objective, z: Array, **goals: Array) -> None:
        dtype, axis = str(z.dtype), objective.tensors[0].batch_axis
        shape = ["N" if a == axis else size for a, size in enumerate(z.shape)]
        proto = model(
            [node("Identity", ["x"], ["y"])],
            [value("x", shape, dtype)],
            [value("y", None, dtype)],
            opset=18,
        )
        made = differentiate(proto, objective, ["x"])
        feeds = {made.goals[name]: goal for name, goal in goals.items()}
        result = run(made.model, {"x": z, **feeds})
        self.loss: Array = result[made.loss]
        self.margin: Any = result[made.margin] if made.margin else None
        self.gradient: Array = result[made.gradients["x"]]


def found(
    kind: Kind, z: Any, y: Any, *, targeted: bool = False, dtype: str = "float32", **how: Any
) -> Found:
    z = np.asarray(z, dtype)
    objective = Objective(kind, LOGITS, targeted=targeted, **how)
    goal = {"target" if targeted else "labels": np.asarray(y, np.int64)}
    return Found(objective, z, **goal)


# Against formulas

FORMULAS: list[tuple[Kind, bool, Any]] = [
    ("ce", False, losses.logit_loss),
    ("ce", True, lambda z, t: -losses.logit_loss(z, t)),
    ("margin", False, losses.lead),
    ("margin", True, lambda z, t: -losses.lead(z, t)),
    ("dlr", False, losses.dlr),
    ("dlr", True, losses.targeted_dlr),
]


@pytest.mark.parametrize(("kind", "targeted", "formula"), FORMULAS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(4, 9), scale=st.sampled_from([0.1, 1, 30]))
def test_values_and_gradients(
    kind: Kind, targeted: bool, formula: Any, seed: int, classes: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    # Distances between logits of a row are at least 0.5, so that differences cross no maximum.
    z = np.stack([rng.permutation(classes) + rng.random(classes) / 2 for _ in range(3)]) * scale
    y = rng.integers(0, classes, 3)
    seen = found(kind, z, y, targeted=targeted, dtype="float64")
    np.testing.assert_allclose(seen.loss, formula(z, y), rtol=1e-9, atol=1e-9)
    step = 1e-5 * scale
    for index in range(classes):
        moved = np.eye(classes)[index] * step
        numeric = (formula(z + moved, y) - formula(z - moved, y)) / (2 * step)
        np.testing.assert_allclose(seen.gradient[:, index], numeric, rtol=1e-5, atol=1e-7 / scale)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), classes=st.integers(2, 9))
def test_cross_entropy_is_an_increasing_function_of_the_loss(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.normal(0, 3, (4, classes)), rng.integers(0, classes, 4)
    seen = found("ce", z, y, dtype="float64")
    np.testing.assert_allclose(np.log1p(np.exp(seen.loss)), losses.cross_entropy(z, y), rtol=1e-9)
    # d CE / d z = softmax(z) − onehot(y) = σ(L) · dL / dz.
    softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    factor = 1 / (1 + np.exp(-seen.loss[:, None]))
    np.testing.assert_allclose(factor * seen.gradient, softmax - np.eye(classes)[y], atol=1e-9)


# By hand


def test_loss_by_hand() -> None:
    # Others of equal logits: log(k · e^z) − z_y = log k + z − z_y; each has 1 / k of the gradient.
    seen = found("ce", [[5, 1, 1, 1], [0, 2, 0, 0]], [0, 2])
    np.testing.assert_allclose(seen.loss[0], np.log(3) + 1 - 5, rtol=1e-6)
    np.testing.assert_allclose(seen.gradient[0], [-1, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    total = 2 + np.exp(2.0)
    np.testing.assert_allclose(seen.loss[1], np.log(total), rtol=1e-6)
    wanted = [1 / total, np.exp(2.0) / total, -1, 1 / total]
    np.testing.assert_allclose(seen.gradient[1], wanted, rtol=1e-6)


@pytest.mark.parametrize("kind", ["ce", "margin", "dlr"])
def test_margins_are_positive_where_the_label_is_kept(kind: Kind) -> None:
    assert found(kind, ROWS, LABELS).margin.tolist() == [2, -2, -2]
    # Towards a target it is the distance that is left.
    assert found(kind, ROWS, LABELS, targeted=True).margin.tolist() == [-2, 2, 2]


def test_margin_by_hand() -> None:
    seen = found("margin", ROWS, LABELS)
    assert seen.loss.tolist() == [-2, 2, 2]
    assert seen.gradient.tolist() == [[-1, 1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]]


def test_dlr_by_hand() -> None:
    np.testing.assert_allclose(found("dlr", ROWS, LABELS).loss, [-2 / 2.5, 2 / 3, 2 / 0.75])
    seen = found("dlr", ROWS, LABELS, targeted=True)
    widths = [3 - (0.5 - 2) / 2, 4 - (1 + 0) / 2, 1 - (0.25 - 1) / 2]
    np.testing.assert_allclose(seen.loss, np.array([2, -2, -2]) / widths, rtol=1e-6)


@pytest.mark.parametrize("kind", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("targeted", [False, True])
def test_where_the_lowest_wins_scores_are_negated(kind: Kind, targeted: bool) -> None:
    z = np.array(ROWS, np.float32)
    plain = found(kind, -z, LABELS, targeted=targeted)
    lowest = found(kind, z, LABELS, targeted=targeted, lowest_wins=True)
    np.testing.assert_array_equal(lowest.loss, plain.loss)
    np.testing.assert_array_equal(lowest.margin, plain.margin)
    np.testing.assert_array_equal(lowest.gradient, -plain.gradient)


# Where numbers end


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["ce", "margin", "dlr"])
def test_sure_models_have_gradients(kind: Kind, dtype: str) -> None:
    z = np.array([[1, -1, 0.5, 0], [-0.5, 0.25, -1, 1]]) * 2e3
    y = np.array([0, 3])
    softmax = np.exp(z - z.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    # What is usually maximised has none: it rounds to 0.
    assert (softmax - np.eye(4)[y] == 0).all()
    seen = found(kind, z, y, dtype=dtype)
    assert np.isfinite(seen.loss).all()
    assert np.isfinite(seen.gradient).all()
    assert seen.gradient.dtype == dtype
    assert (np.abs(seen.gradient).max(1) > 0).all()
    if kind != "dlr":
        np.testing.assert_allclose(seen.loss, [-1000, -1500])
        assert seen.gradient.astype(float).tolist() == [[-1, 0, 1, 0], [0, 1, 0, -1]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("targeted", [False, True])
def test_equal_logits_leave_everything_finite(kind: Kind, dtype: str, targeted: bool) -> None:
    seen = found(kind, np.full((2, 5), 0.75), [1, 4], dtype=dtype, targeted=targeted)
    assert np.isfinite(seen.loss).all()
    assert not np.isnan(seen.gradient).any()
    assert seen.margin.tolist() == [0, 0]


def test_half_precision_is_widened_first() -> None:
    z = np.array([[3.001, 3, -1, 2]], np.float16)
    exact = z.astype(np.float64)
    seen = found("ce", z, [0], dtype="float16")
    assert seen.loss.dtype == np.float32
    np.testing.assert_allclose(seen.loss, losses.logit_loss(exact, np.array([0])), rtol=1e-6)


# Without classes


def test_divergence_is_0_at_its_reference_and_has_no_gradient_there() -> None:
    z = np.array(ROWS)
    seen = Found(Objective("kl", LOGITS), z, reference=z)
    np.testing.assert_allclose(seen.loss, 0, atol=1e-15)
    np.testing.assert_allclose(seen.gradient, 0, atol=1e-15)
    assert seen.margin is None


@pytest.mark.parametrize("sign", [1, -1])
def test_divergence_elsewhere(sign: int) -> None:
    rng = np.random.default_rng(0)
    z, reference = rng.normal(0, 2, (2, 3, 5))
    objective = Objective("kl", LOGITS, lowest_wins=sign < 0)
    seen = Found(objective, z, reference=reference)
    np.testing.assert_allclose(seen.loss, losses.divergence(sign * reference, sign * z))
    p, q = (np.exp(sign * v) for v in (reference, z))
    difference = q / q.sum(1, keepdims=True) - p / p.sum(1, keepdims=True)
    np.testing.assert_allclose(seen.gradient, sign * difference, atol=1e-12)


def test_divergence_of_sure_models_is_finite() -> None:
    z = np.array([[1, 0, -1], [-1, 1, 0]], np.float32) * 1e4
    seen = Found(Objective("kl", LOGITS), z, reference=z[::-1].copy())
    np.testing.assert_allclose(seen.loss, [1e4, 2e4])
    assert seen.gradient.tolist() == [[1, -1, 0], [-1, 1, 0]]


@pytest.mark.parametrize("kind", ["output", "layer"])
def test_change_by_hand(kind: Kind) -> None:
    reference = np.array([[3, 0, 4], [0, 1, 0]], np.float32)
    z = np.array([[3, 5, 4], [2, 1, -1]], np.float32)
    seen = Found(Objective(kind, LOGITS), z, reference=reference)
    # ‖φ − r‖² / ‖r‖²: 25 / 25 and 5 / 1; the gradient is 2 (φ − r) / ‖r‖².
    assert seen.loss.tolist() == [1, 5]
    np.testing.assert_allclose(seen.gradient, np.array([[0, 0.4, 0], [4, 0, -2]]), rtol=1e-6)
    assert seen.margin is None
    clean = Found(Objective(kind, LOGITS), reference, reference=reference)
    assert not clean.loss.any()
    assert not clean.gradient.any()


def test_a_clean_value_of_0_counts_its_absolute_change() -> None:
    z = np.array([[1, -2]], np.float32)
    seen = Found(Objective("output", LOGITS), z, reference=np.zeros_like(z))
    assert seen.loss.tolist() == [5]
    assert seen.gradient.tolist() == [[2, -4]]


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_samples_are_found_on_their_axis(axis: int | None) -> None:
    rng = np.random.default_rng(1)
    z, reference = rng.normal(0, 1, (2, 3, 4, 5))

    def rows(x: Array) -> Array:
        return (
            x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
        )

    clean, now = rows(reference), rows(z)
    seen = Found(Objective("layer", (Scored("y", axis),)), z, reference=clean)
    np.testing.assert_allclose(seen.loss, losses.relative_change(clean, now))
    share = 2 * (now - clean) / (clean**2).sum(1, keepdims=True)
    np.testing.assert_allclose(rows(seen.gradient), share)


def test_rows_that_belong_to_one_sample_are_joined() -> None:
    rng = np.random.default_rng(2)
    z, reference = rng.normal(0, 1, (2, 6, 4))
    seen = Found(
        Objective("layer", (Scored("y", 0, elements=8),)), z, reference=reference.reshape(3, 8)
    )
    wanted = losses.relative_change(reference.reshape(3, 8), z.reshape(3, 8))
    np.testing.assert_allclose(seen.loss, wanted)


# Refusals


@pytest.mark.parametrize(
    ("kind", "classes", "targeted", "message"),
    [
        ("ce", 1, False, "objective 'ce' needs a model with classes, and 'y' has 1 score"),
        ("margin", 1, True, "objective 'margin' needs a model with classes, and 'y' has 1 score"),
        ("dlr", 2, False, "objective 'dlr' needs 3 classes or more, and the model has 2"),
        ("dlr", 3, True, "objective 'targeted dlr' needs 4 classes or more, and the model has 3"),
    ],
)
def test_too_few_classes(kind: Kind, classes: int, targeted: bool, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Objective(kind, LOGITS, classes, targeted=targeted)


@pytest.mark.parametrize(("kind", "classes"), [("ce", 2), ("margin", 2), ("dlr", 3), ("kl", 1)])
def test_just_enough_classes(kind: Kind, classes: int) -> None:
    assert Objective(kind, LOGITS, classes).classes == classes
