"""Algorithm 1 against answers worked out by hand, and against its definition read literally."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from lsa_onnx.mvl import Sums, listed_shares, most_vulnerable_layers, ranked, select, top_layers

Array = NDArray[np.float64]

NAN = math.nan

matrices = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.one_of(st.floats(0, 2), st.just(NAN)),
)
etas = st.floats(-3, 3)


def sums_of(cm: Array) -> Sums:
    valid = np.isfinite(cm)
    clean = np.where(valid, cm, 0.0)
    return Sums(valid.sum(0).astype(float), clean.sum(0), (clean**2).sum(0))


def test_mu_and_sigma_are_over_samples_and_layers() -> None:
    # Entries 1, 2, 3, 6: μ = 3, σ² = (4 + 1 + 0 + 9) / 4 = 3.5, population; CM = 1.5 and 4.5.
    found = most_vulnerable_layers(np.array([[1.0, 3.0], [2.0, 6.0]]), eta=0.5)
    assert found.mu == 3.0
    assert found.sigma == pytest.approx(math.sqrt(3.5))
    np.testing.assert_array_equal(found.means, [1.5, 4.5])
    assert found.layers == [1]


def test_sigma_is_not_that_of_the_layer_means() -> None:
    # The means are 1.5 ± 0.5; only the spread over samples keeps layer 1 out of the list.
    cm = np.array([[0.0, 0.0], [2.0, 4.0]])
    assert most_vulnerable_layers(cm, eta=0.0).layers == [1]
    # σ² = (2.25 + 2.25 + 0.25 + 6.25) / 4 = 2.75; 0.5 > η · 1.658 for η < 0.3015.
    assert most_vulnerable_layers(cm, eta=0.30).layers == [1]
    assert most_vulnerable_layers(cm, eta=0.31).layers == []


def test_most_vulnerable_come_first_and_equal_ones_in_graph_order() -> None:
    cm = np.array([[0.9, 0.1, 0.9, 1.0, 0.0]])
    assert most_vulnerable_layers(cm, eta=0.0).layers == [3, 0, 2]


def test_undefined_entries_are_left_out() -> None:
    # Entries 1, 1, 4: μ = 2, σ² = 2; a layer without any entry is never listed.
    found = most_vulnerable_layers(np.array([[1.0, NAN, NAN], [1.0, 4.0, np.inf]]), eta=1.0)
    assert (found.mu, found.sigma) == pytest.approx((2.0, math.sqrt(2)))
    assert found.layers == [1]
    assert np.isnan(found.means[2])


@pytest.mark.parametrize("cm", [np.zeros((0, 3)), np.full((2, 3), NAN), np.zeros((4, 0))])
def test_nothing_to_select_from(cm: Array) -> None:
    found = most_vulnerable_layers(cm, eta=0.1)
    assert found.layers == []
    assert np.isnan([found.mu, found.sigma]).all()
    assert np.isnan(found.means).all()
    assert found.means.shape == (cm.shape[1],)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 123.456, 1e-9])
@pytest.mark.parametrize("eta", [-1.0, 0.0, 0.1])
@pytest.mark.parametrize("layers", [1, 3, 7])
def test_equal_layers_do_not_stand_out(value: float, eta: float, layers: int) -> None:
    found = most_vulnerable_layers(np.full((97, layers), value), eta)
    assert found.layers == []
    assert found.sigma == 0.0


@given(matrices, etas)
@settings(max_examples=300)
def test_select_is_the_literal_double_loop(cm: Array, eta: float) -> None:
    entries = [value for row in cm.tolist() for value in row if not math.isnan(value)]
    assume(entries)
    mu = math.fsum(entries) / len(entries)
    sigma = math.sqrt(math.fsum((value - mu) ** 2 for value in entries) / len(entries))
    expected = {}
    for layer in range(cm.shape[1]):
        column = [value for value in cm[:, layer].tolist() if not math.isnan(value)]
        if column:
            mean = math.fsum(column) / len(column)
            # Rounding may decide a tie either way; everything else is determined.
            assume(abs(mean - mu - eta * sigma) > 1e-9 or (sigma == 0 and mean == mu))
            if mean - mu > eta * sigma:
                expected[layer] = mean
    found = select(sums_of(cm), eta)
    assert set(found.layers) == set(expected)
    assert found.mu == pytest.approx(mu, abs=1e-12)
    assert found.sigma == pytest.approx(sigma, abs=1e-7)


@given(matrices, etas, etas)
def test_a_higher_eta_never_adds_a_layer(cm: Array, first: float, second: float) -> None:
    low, high = sorted((first, second))
    more, fewer = most_vulnerable_layers(cm, low).layers, most_vulnerable_layers(cm, high).layers
    assert more[: len(fewer)] == fewer


@given(matrices)
def test_a_very_low_eta_lists_every_layer_that_has_a_mean(cm: Array) -> None:
    found = most_vulnerable_layers(cm, -1e9)
    assume(np.isfinite(found.sigma) and found.sigma > 1e-3)
    assert found.layers == ranked(found.means)
    assert set(found.layers) == set(np.flatnonzero(np.isfinite(found.means)).tolist())


def test_top_layers() -> None:
    means = np.array([0.2, NAN, 0.5, 0.5, 0.1])
    assert top_layers(means, 1) == [2]
    assert top_layers(means, 3) == [2, 3, 0]
    assert top_layers(means, 9) == [2, 3, 0, 4]


@given(st.lists(matrices, min_size=1, max_size=3), etas, st.sampled_from([None, 1, 2]))
def test_listed_shares_are_those_of_separate_selections(
    cms: list[Array], eta: float, top_k: int | None
) -> None:
    layers = min(cm.shape[1] for cm in cms)
    separate = [sums_of(cm[:, :layers]) for cm in cms]
    together = Sums(
        np.stack([s.counts for s in separate]),
        np.stack([s.values for s in separate]),
        np.stack([s.squares for s in separate]),
    )
    expected = np.zeros(layers)
    for sums in separate:
        found = select(sums, eta)
        picked = found.layers if top_k is None else top_layers(found.means, top_k)
        expected[picked] += 1 / len(cms)
    np.testing.assert_allclose(listed_shares(together, eta, top_k), expected)
