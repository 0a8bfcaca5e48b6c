"""Objectives of one score z for two classes: those of the logits 0 and z, to the last bit of the gradient."""

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

KINDS: list[tuple[Kind, bool]] = [("ce", False), ("ce", True), ("margin", False), ("margin", True)]


def binary(kind: Kind, axis: int | None = 0, *, targeted: bool = False) -> Objective:
    tensors = (Scored("y", axis),)
    return Objective(kind, tensors, classes=2, targeted=targeted, binary=True)


def answers(objective: Objective, z: Array, **goals: Array) -> tuple[Array, Any, Array]:
    """Loss, margin and gradient by the scores themselves, of shape (n, 1) or (n,)."""
    dtype = str(z.dtype)
    proto = model(
        [node("Identity", ["x"], ["y"])],
        [value("x", ["N", *z.shape[1:]], dtype)],
        [value("y", None, dtype)],
        opset=18,
    )
    made = differentiate(proto, objective, ["x"])
    found = run(made.model, {"x": z, **{made.goals[name]: goal for name, goal in goals.items()}})
    return found[made.loss], found[made.margin] if made.margin else None, found[made.gradients["x"]]


def two(z: Array) -> Array:
    """The logits of both classes, shape (n, 2)."""
    column = z.reshape(len(z), 1)
    return np.concatenate([np.zeros_like(column), column], 1)


@pytest.mark.parametrize(("kind", "targeted"), KINDS)
@pytest.mark.parametrize("flat", [False, True])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 999), scale=st.sampled_from([0.1, 1, 30]))
def test_values_and_gradients(
    kind: Kind, targeted: bool, flat: bool, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    z = scale * (rng.random(5) + 0.5) * rng.choice([-1, 1], 5)
    y = rng.integers(0, 2, 5)
    formula = losses.logit_loss if kind == "ce" else losses.lead

    def judged(z: Array) -> Array:
        return -formula(two(z), y) if targeted else formula(two(z), y)

    objective = binary(kind, targeted=targeted)
    given_z = z if flat else z[:, None]
    loss, margin, gradient = answers(objective, given_z, **{"target" if targeted else "labels": y})
    np.testing.assert_allclose(loss, judged(z), rtol=1e-9)
    away = losses.lead(two(z), y)
    np.testing.assert_allclose(margin, away if targeted else -away, rtol=1e-9)
    step = 1e-5 * scale
    difference = (judged(z + step) - judged(z - step)) / (2 * step)
    assert gradient.shape == given_z.shape
    np.testing.assert_allclose(gradient.ravel(), difference, rtol=1e-5)


def test_by_hand() -> None:
    """Label 1 is lost where z is below 0; L is −z, its gradient −1 however sure the model is."""
    z = np.array([[3.0], [-2.0], [5000.0], [-1e30]], np.float32)
    loss, margin, gradient = answers(binary("ce"), z, labels=np.array([1, 1, 1, 0]))
    np.testing.assert_array_equal(loss, np.array([-3, 2, -5000, -1e30], np.float32))
    np.testing.assert_array_equal(margin, np.array([3, -2, 5000, 1e30], np.float32))
    np.testing.assert_array_equal(gradient[:, 0], [-1, -1, -1, 1])


@pytest.mark.parametrize("flat", [False, True])
def test_the_divergence_is_that_of_two_probabilities(flat: bool) -> None:
    z, clean = np.array([0.5, -1.5, 2.0]), np.array([1.0, -1.0, -2.0])
    given_z = z if flat else z[:, None]
    loss, margin, gradient = answers(binary("kl"), given_z, reference=clean[:, None])
    p, q = (1 / (1 + np.exp(-v)) for v in (clean, z))
    expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    # d/dz of −p log σ(z) − (1 − p) log σ(−z).
    np.testing.assert_allclose(gradient.ravel(), q - p, rtol=1e-9)
    assert margin is None


def test_half_precision_and_a_batch_of_one() -> None:
    z = np.array([[-2.5]], np.float16)
    loss, margin, gradient = answers(binary("ce", None), z, labels=np.array([0]))
    assert (str(loss.dtype), str(gradient.dtype)) == ("float32", "float16")
    assert (loss.tolist(), margin.tolist(), gradient.tolist()) == ([-2.5], [2.5], [[1.0]])


@pytest.mark.parametrize("targeted", [False, True])
def test_dlr_needs_a_third_class(targeted: bool) -> None:
    least = 4 if targeted else 3
    with pytest.raises(
        ModelError, match=f"dlr' needs {least} classes or more, and the model has 2"
    ):
        binary("dlr", targeted=targeted)
