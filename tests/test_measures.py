"""Measures against figures worked out by hand and against plain numpy on the vectors themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.measures import NEAR_ZERO_RMS, Scores, SumsOfSquares, input_change
from lsa_onnx.report.document import LayerInfo, LayerScore
from lsa_onnx.statistics import bootstrap_weights

Array = NDArray[Any]


def info(tensor: str, *previous: str) -> LayerInfo:
    return LayerInfo(tensor, tensor, "Relu", [], None, "float32", 0, list(previous), None, None)


def sums_of(a: Array, b: Array, dtype: Any = np.float64) -> SumsOfSquares:
    """Of representations of shape (n, layers, elements), rounded as the graph returns them."""

    def squared(values: Array) -> Array:
        exact = (values.astype(np.float64) ** 2).sum(axis=-1)
        return np.asarray(exact.astype(dtype), np.float64)

    return SumsOfSquares(squared(a - b), squared(a), squared(b))


def scored(
    a: Array,
    b: Array,
    x: Array | None = None,
    x_adv: Array | None = None,
    *,
    layers: list[LayerInfo] | None = None,
    batch: int = 1000,
    eta: float = 0.0,
    top_k: int | None = None,
) -> list[LayerScore]:
    x = np.ones((len(a), 2, 3)) if x is None else x
    x_adv = x + 0.5 if x_adv is None else x_adv
    scores = Scores([a.shape[2]] * a.shape[1])
    for start in range(0, len(a), batch):
        part = slice(start, start + batch)
        weights = bootstrap_weights(0, start, start + len(x[part]))
        scores.add(sums_of(a[part], b[part]), input_change(x[part], x_adv[part]), weights)
    named = layers or [info(f"l{index}") for index in range(a.shape[1])]
    return scores.layer_scores(named, eta, top_k)


def test_measures_by_hand() -> None:
    # Sample 0: a = (3, 4), b = (3, 0): ‖a − b‖ = 4, ‖a‖ = 5, ‖b‖ = 3, ⟨a, b⟩ = 9.
    # Sample 1: a = (0, 2), b = (1, 0): ‖a − b‖ = √5, ‖a‖ = 2, ‖b‖ = 1, ⟨a, b⟩ = 0.
    a = np.array([[[3.0, 4.0]], [[0.0, 2.0]]])
    b = np.array([[[3.0, 0.0]], [[1.0, 0.0]]])
    x = np.array([[[1.0, 2.0, 2.0]], [[0.0, 4.0, 0.0]]])
    x_adv = x + np.array([[[2.0, 0.0, 0.0]], [[0.0, 0.0, -1.0]]])
    (score,) = scored(a, b, x, x_adv)
    root = np.sqrt(5)
    assert score.status == "ok"
    assert score.reason is None
    for found, values in (
        (score.relative_error, (0.8, root / 2)),
        (score.absolute_error, (4.0, root)),
        (score.cosine, (0.6, 0.0)),
        (score.amplification, (4.0 / 2.0, root / 1.0)),
    ):
        assert found.n == 2
        assert (found.minimum, found.maximum) == pytest.approx((min(values), max(values)))
        assert found.mean == pytest.approx(np.mean(values))
        assert found.std == pytest.approx(np.std(values))
        assert found.median == pytest.approx(np.mean(values))


def test_input_change_by_hand() -> None:
    x = np.array([[[3.0, 4.0]], [[0.0, 0.0]], [[1.0, 0.0]]], np.float32)
    x_adv = x + np.array([[[0.0, -2.0]], [[1.0, 0.0]], [[0.0, 0.0]]], np.float32)
    found = input_change(x, x_adv)
    np.testing.assert_allclose(found, [[2.0, 2.0, 0.4], [1.0, 1.0, np.inf], [0.0, 0.0, 0.0]])


def test_input_change_is_the_same_for_inputs_larger_than_a_chunk() -> None:
    rng = np.random.default_rng(0)
    x, x_adv = (rng.random((5, 3, 300, 400), np.float32) for _ in range(2))
    delta = (x_adv.astype(np.float64) - x).reshape(5, -1)
    found = input_change(x, x_adv)
    np.testing.assert_allclose(found[:, 0], np.linalg.norm(delta, axis=1))
    np.testing.assert_array_equal(found[:, 1], np.abs(delta).max(axis=1))
    clean = np.linalg.norm(x.reshape(5, -1).astype(np.float64), axis=1)
    np.testing.assert_allclose(found[:, 2], found[:, 0] / clean)


@pytest.mark.parametrize("change", [1e-6, 1e-4, 1e-2, 1.0, 100.0])
def test_the_cosine_is_accurate_when_the_sums_are_single_precision(change: float) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(200, 1, 500)).astype(np.float32).astype(np.float64)
    b = a + change * rng.normal(size=a.shape)
    scores = Scores([500])
    sums = sums_of(a, b, np.float32)
    moved = input_change(np.ones((200, 2)), np.zeros((200, 2)))
    scores.add(sums, moved, bootstrap_weights(0, 0, 200))
    (score,) = scores.layer_scores([info("l0")], 0.0, None)
    unit_a, unit_b = (v[:, 0] / np.linalg.norm(v[:, 0], axis=1, keepdims=True) for v in (a, b))
    # 1 − cosine = ‖u − v‖² / 2 for unit vectors, without cancellation.
    distance = ((unit_a - unit_b) ** 2).sum(axis=1) / 2
    assert score.cosine.mean is not None
    error = abs((1 - score.cosine.mean) - distance.mean())
    assert error <= 2e-7 * change * (1 + change) / max(1.0, change) ** 2
    assert error <= 0.01 * distance.mean()


def test_parallel_vectors_have_a_cosine_of_one_and_opposite_ones_of_minus_one() -> None:
    a = np.array([[[1.0, 2.0]], [[1.0, 2.0]]])
    b = np.array([[[3.0, 6.0]], [[-2.0, -4.0]]])
    (score,) = scored(a, b)
    assert (score.cosine.minimum, score.cosine.maximum) == pytest.approx((-1.0, 1.0))
    assert score.cosine.minimum is not None
    assert score.cosine.minimum >= -1.0


def test_a_near_zero_clean_norm_is_undefined() -> None:
    a = np.full((3, 1, 4), NEAR_ZERO_RMS / 2)
    a[2] = 1.0
    (score,) = scored(a, a + 1.0)
    assert (score.status, score.undefined_samples, score.nonfinite_samples) == ("ok", 2, 0)
    assert score.reason == "2 samples had a clean norm near zero"
    assert (score.relative_error.n, score.cosine.n) == (1, 1)
    assert (score.absolute_error.n, score.amplification.n) == (3, 3)
    assert score.relative_error.mean == pytest.approx(1.0)


def test_the_near_zero_norm_scales_with_the_size_of_the_layer() -> None:
    # The same root mean square, just above the floor, whatever the number of elements.
    for elements in (1, 10_000):
        a = np.full((2, 1, elements), 1.01 * NEAR_ZERO_RMS)
        assert scored(a, a * 2)[0].undefined_samples == 0
        assert scored(a / 1.1, a)[0].undefined_samples == 2


def test_a_layer_without_any_ratio_is_undefined() -> None:
    (score,) = scored(np.zeros((3, 1, 4)), np.ones((3, 1, 4)))
    assert score.status == "undefined"
    assert score.reason == (
        "3 samples had a clean norm near zero: only the absolute error is defined"
    )
    assert score.relative_error.mean is None
    assert score.absolute_error.mean == 2.0
    assert score.stability == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["clean", "perturbed"])
def test_samples_with_nan_or_infinity_are_left_out_and_counted(bad: float, side: str) -> None:
    a, b = np.ones((3, 2, 4)), np.full((3, 2, 4), 2.0)
    (a if side == "clean" else b)[1, 0, 2] = bad
    with np.errstate(invalid="ignore"):
        first, second = scored(a, b)
    assert (first.status, first.nonfinite_samples) == ("ok", 1)
    assert first.reason == "1 sample gave NaN or infinity"
    for found in (first.relative_error, first.absolute_error, first.cosine, first.amplification):
        assert found.n == 2
    assert second.nonfinite_samples == 0
    assert second.relative_error.n == 3


def test_a_layer_that_is_never_finite_says_so() -> None:
    (score,) = scored(np.ones((2, 1, 4)), np.full((2, 1, 4), np.nan))
    assert score.status == "not finite"
    assert score.reason == "2 samples gave NaN or infinity"
    assert score.absolute_error.n == 0


def test_a_layer_that_does_not_move_is_constant() -> None:
    a = np.ones((3, 1, 4))
    (score,) = scored(a, a)
    assert (score.status, score.reason) == ("constant", "it does not move under this perturbation")
    assert (score.relative_error.mean, score.cosine.mean) == (0.0, 1.0)
    a[0] = 0.0
    (score,) = scored(a, a)
    assert score.status == "constant"
    assert score.reason is not None
    assert score.reason.endswith("; 1 sample had a clean norm near zero")


def test_a_perturbed_norm_of_zero_has_no_cosine() -> None:
    (score,) = scored(np.ones((2, 1, 4)), np.zeros((2, 1, 4)))
    assert score.status == "ok"
    assert score.relative_error.mean == 1.0
    assert (score.cosine.n, score.cosine.mean) == (0, None)


def test_an_input_that_did_not_change_has_no_amplification() -> None:
    a = np.ones((2, 1, 4))
    x = np.ones((2, 1, 3))
    x_adv = x.copy()
    x_adv[1] += 2.0
    (score,) = scored(a, a + 0.5, x, x_adv)
    assert score.amplification.n == 1
    assert score.amplification.mean == pytest.approx(1.0 / np.sqrt(12))


def test_growth_is_over_the_layers_before_or_over_the_input() -> None:
    # Relative errors 0.3, 0.6, 0.1 and 0.9; the input changes by 0.5 of its norm.
    a = np.ones((4, 4, 1))
    b = a + np.array([0.3, 0.6, 0.1, 0.9])[None, :, None]
    layers = [info("a"), info("b", "a"), info("c", "a"), info("d", "b", "c")]
    growth = [score.growth for score in scored(a, b, layers=layers)]
    assert growth == pytest.approx([0.3 / 0.5, 0.6 / 0.3, 0.1 / 0.3, 0.9 / 0.6])


def test_growth_is_unknown_where_the_layer_before_has_no_ratio() -> None:
    a = np.ones((4, 3, 1))
    a[:, 0] = 0.0
    b = a + 0.5
    b[:, 1] = a[:, 1]
    layers = [info("zero"), info("still", "zero"), info("last", "still")]
    assert [score.growth for score in scored(a, b, layers=layers)] == [None, None, None]


def test_growth_of_a_first_layer_needs_an_input_that_changed() -> None:
    a = np.ones((2, 1, 1))
    x = np.ones((2, 3))
    assert scored(a, a + 1, x, x)[0].growth is None


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_scores_do_not_depend_on_how_the_samples_were_cut(batch: int) -> None:
    rng = np.random.default_rng(3)
    a, noise = rng.normal(size=(40, 3, 6)), rng.normal(size=(40, 3, 6))
    a[5, 1], a[6, 2, 0] = 0.0, np.inf
    b = a + 0.3 * noise * np.array([1.0, 2.0, 1.5])[None, :, None]
    x = rng.random((40, 2, 5))
    x_adv = x + rng.random((40, 2, 5))
    with np.errstate(invalid="ignore"):
        whole, cut = scored(a, b, x, x_adv), scored(a, b, x, x_adv, batch=batch)
    for one, other in zip(whole, cut, strict=True):
        assert (one.status, one.reason, one.stability) == (
            other.status,
            other.reason,
            other.stability,
        )
        assert one.growth == pytest.approx(other.growth, rel=1e-12)
        for name in ("relative_error", "absolute_error", "cosine", "amplification"):
            first, second = getattr(one, name), getattr(other, name)
            assert first.n == second.n
            assert first.mean == pytest.approx(second.mean, rel=1e-12)
            assert first.interval == pytest.approx(second.interval, rel=1e-12)
            assert first.quantiles == pytest.approx(second.quantiles, rel=1e-12)


def movable(errors: list[float], spread: float, samples: int = 60) -> tuple[Array, Array]:
    a = np.ones((samples, len(errors), 1))
    noise = np.random.default_rng(4).normal(scale=spread, size=a.shape)
    return a, a + np.maximum(np.array(errors)[None, :, None] + noise, 0.0)


def test_stability_is_one_for_a_clear_layer_and_zero_for_the_others() -> None:
    scores = scored(*movable([0.2, 0.9, 0.25], 0.02), eta=0.5)
    assert [score.stability for score in scores] == [0.0, 1.0, 0.0]


def test_stability_tells_a_toss_up() -> None:
    scores = scored(*movable([0.5, 0.5, 0.1], 0.1), top_k=1)
    first, second, third = (score.stability for score in scores)
    assert third == 0.0
    assert first is not None
    assert second is not None
    assert first + second == pytest.approx(1.0)
    assert min(first, second) > 0.0


def test_the_mvl_list_by_eta_and_by_rank() -> None:
    a, b = movable([0.2, 0.9, 0.5], 0.0, samples=8)
    scores = Scores([1, 1, 1])
    x = np.ones((8, 2))
    scores.add(sums_of(a, b), input_change(x, x + 1), bootstrap_weights(0, 0, 8))
    layers = [info("a"), info("b"), info("c")]
    by_eta = scores.mvl("pgd", layers, 0.5, None)
    mu, sigma = np.mean([0.2, 0.9, 0.5]), np.std([0.2, 0.9, 0.5])
    assert by_eta.layers == ["b"]
    assert (by_eta.perturbation, by_eta.rule, by_eta.eta, by_eta.top_k) == ("pgd", "eta", 0.5, None)
    assert by_eta.mu == pytest.approx(mu)
    assert by_eta.sigma == pytest.approx(sigma)
    assert by_eta.threshold == pytest.approx(mu + 0.5 * sigma)
    by_rank = scores.mvl("pgd", layers, 0.5, 2)
    assert (by_rank.rule, by_rank.top_k, by_rank.layers) == ("top-k", 2, ["b", "c"])


def test_nothing_defined_gives_an_empty_list_without_figures() -> None:
    scores = Scores([4])
    x = np.ones((2, 3))
    zero = np.zeros((2, 1, 4))
    scores.add(sums_of(zero, zero), input_change(x, x), bootstrap_weights(0, 0, 2))
    found = scores.mvl("salt", [info("a")], 0.1, None)
    assert (found.layers, found.mu, found.sigma, found.threshold) == ([], None, None, None)
