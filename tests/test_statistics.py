from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx import statistics
from lsa_onnx.quantiles import EXACT_SAMPLES, RELATIVE_ACCURACY, QuantileSketch
from lsa_onnx.statistics import (
    QUANTILES,
    RESAMPLES,
    Moments,
    Summaries,
    bootstrap_weights,
    row_slices,
    wilson_interval,
)

Array = NDArray[np.float64]

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def batches(values: Array, cuts: list[int]) -> Iterator[Array]:
    edges = [0, *sorted({cut % (len(values) + 1) for cut in cuts}), len(values)]
    for start, stop in pairwise(edges):
        yield values[start:stop]


def with_gaps(rows: int, columns: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(size=(rows, columns))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[rng.random(values.shape) < 0.1] = np.inf
    return values


def quantiles_of(column: Array) -> Array:
    kept = column[np.isfinite(column)]
    return np.quantile(kept, SHARES) if kept.size else np.full(len(SHARES), np.nan)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 999), st.lists(st.integers(0, 40)))
@settings(max_examples=40, deadline=None)
def test_moments_are_those_of_numpy_in_any_batching(
    rows: int, columns: int, seed: int, cuts: list[int]
) -> None:
    values = with_gaps(rows, columns, seed)
    moments = Moments(columns)
    for batch in batches(values, cuts):
        moments.add(batch)
    for column in range(columns):
        kept = values[np.isfinite(values[:, column]), column]
        assert moments.n[column] == len(kept)
        if len(kept):
            assert moments.mean[column] == pytest.approx(kept.mean(), rel=1e-12)
            assert moments.std[column] == pytest.approx(kept.std(), rel=1e-9, abs=1e-12)
            assert moments.minimum[column] == kept.min()
            assert moments.maximum[column] == kept.max()


def test_moments_do_not_lose_a_small_spread_on_a_large_mean() -> None:
    values = 1e9 + np.array([[0.0], [1.0], [2.0]])
    moments = Moments(1)
    for row in values:
        moments.add(row[None])
    assert moments.std[0] == pytest.approx(np.sqrt(2 / 3), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_few_values_have_exact_quantiles(batch: int) -> None:
    values = with_gaps(100, 3, 5)
    values[:, 2] = np.nan
    sketch = QuantileSketch(3)
    for start in range(0, len(values), batch):
        sketch.add(values[start : start + batch])
    expected = np.stack([quantiles_of(values[:, c]) for c in range(3)], axis=1)
    np.testing.assert_allclose(sketch.quantiles(SHARES), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "column",
    [
        np.random.default_rng(0).lognormal(sigma=3, size=3 * EXACT_SAMPLES),
        np.r_[np.zeros(2 * EXACT_SAMPLES), np.random.default_rng(1).random(EXACT_SAMPLES)],
        np.full(3 * EXACT_SAMPLES, 0.37),
        np.zeros(3 * EXACT_SAMPLES),
        np.logspace(-320, 308, 3 * EXACT_SAMPLES),
        np.full(3 * EXACT_SAMPLES, np.finfo(np.float64).max),
        np.where(np.arange(3 * EXACT_SAMPLES) % 3 == 0, np.nan, np.arange(3 * EXACT_SAMPLES)),
    ],
    ids=["lognormal", "zeros", "equal", "only zeros", "all magnitudes", "largest", "gaps"],
)
@pytest.mark.parametrize("batch", [97, EXACT_SAMPLES, 3 * EXACT_SAMPLES])
def test_many_values_have_quantiles_within_the_stated_accuracy(column: Array, batch: int) -> None:
    values = np.stack([column, np.full(len(column), np.nan), column[::-1] / 2], axis=1)
    sketch = QuantileSketch(3)
    for start in range(0, len(values), batch):
        sketch.add(values[start : start + batch])
    found = sketch.quantiles(SHARES)
    assert np.isnan(found[:, 1]).all()
    for index in (0, 2):
        # A subnormal number has no relative accuracy to speak of.
        expected = quantiles_of(values[:, index])
        np.testing.assert_allclose(found[:, index], expected, RELATIVE_ACCURACY * 1.001, 1e-300)


def test_quantiles_can_be_asked_for_between_batches() -> None:
    values = np.random.default_rng(2).random((3 * EXACT_SAMPLES, 1))
    sketch = QuantileSketch(1)
    for start in range(0, len(values), 1000):
        sketch.add(values[start : start + 1000])
        seen = values[: start + 1000]
        found = sketch.quantiles(SHARES)[:, 0]
        np.testing.assert_allclose(found, np.quantile(seen, SHARES), RELATIVE_ACCURACY * 1.001)


def test_a_sketch_without_values_has_no_quantiles() -> None:
    assert np.isnan(QuantileSketch(2).quantiles(SHARES)).all()


def test_memory_of_a_sketch_does_not_grow_with_its_samples() -> None:
    sketch = QuantileSketch(1)
    rng = np.random.default_rng(3)
    sizes = []
    for _ in range(20):
        sketch.add(rng.uniform(0.1, 1.0, (EXACT_SAMPLES, 1)))
        sketch.quantiles(SHARES)
        sizes.append(len(sketch.bins()[0]))
    # One decade at 0.1 % accuracy is at most ln(10) / 0.002 bins.
    assert max(sizes) <= np.log(10) / (2 * RELATIVE_ACCURACY) + 2


def summarised(values: Array, batch: int, ceilings: Array | None = None) -> Summaries:
    summaries = Summaries(values.shape[1], ceilings)
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        summaries.add(part, bootstrap_weights(7, start, start + len(part)))
    return summaries


def test_a_distribution_holds_numpys_figures() -> None:
    values = with_gaps(200, 2, 9)
    for column, found in enumerate(summarised(values, 64).distributions()):
        kept = values[np.isfinite(values[:, column]), column]
        assert found.n == len(kept)
        assert found.mean == pytest.approx(kept.mean())
        assert found.std == pytest.approx(kept.std())
        assert (found.minimum, found.maximum) == (kept.min(), kept.max())
        assert found.median == pytest.approx(np.median(kept))
        for share in QUANTILES:
            assert found.quantiles[str(share)] == pytest.approx(np.quantile(kept, share))
        assert found.interval is not None
        assert found.interval[0] < kept.mean() < found.interval[1]


@pytest.mark.parametrize("rows", [50, 3 * EXACT_SAMPLES])
def test_a_distribution_does_not_depend_on_how_the_samples_were_cut(rows: int) -> None:
    values = with_gaps(rows, 2, 11)
    whole, cut = summarised(values, rows).distributions(), summarised(values, 37).distributions()
    for one, other in zip(whole, cut, strict=True):
        assert one.n == other.n
        assert one.mean == pytest.approx(other.mean, rel=1e-12)
        assert one.std == pytest.approx(other.std, rel=1e-9)
        assert one.interval == pytest.approx(other.interval, rel=1e-12)
        assert one.quantiles == pytest.approx(other.quantiles, rel=1e-12)


def test_a_figure_below_a_ceiling_keeps_accurate_quantiles_of_its_distance() -> None:
    distance = np.random.default_rng(4).lognormal(-12, 1, (3 * EXACT_SAMPLES, 1))
    (found,) = summarised(1 - distance, 500, np.array([1.0])).distributions()
    for share in QUANTILES:
        value = found.quantiles[str(share)]
        assert value is not None
        expected = np.quantile(distance, 1 - share)
        assert 1 - value == pytest.approx(expected, rel=2 * RELATIVE_ACCURACY)


def test_quantiles_never_leave_the_range_of_the_values() -> None:
    values = np.full((3 * EXACT_SAMPLES, 1), 0.123456789)
    (found,) = summarised(values, 1000).distributions()
    assert set(found.quantiles.values()) == {found.minimum} == {found.maximum}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_finite_gives_none_everywhere(value: float) -> None:
    (found,) = summarised(np.full((5, 1), value), 2).distributions()
    assert found.n == 0
    assert found.interval is None
    assert {found.mean, found.std, found.median, found.minimum, found.maximum} == {None}
    assert found.quantiles == dict.fromkeys(map(str, QUANTILES))


def test_a_single_sample_has_a_mean_and_no_interval() -> None:
    (found,) = summarised(np.array([[np.nan], [0.5], [np.nan]]), 2).distributions()
    assert (found.n, found.mean, found.std, found.interval) == (1, 0.5, 0.0, None)


def test_a_column_that_some_resamples_miss_has_an_interval_all_the_same() -> None:
    values = np.full((6, 2), 1.0)
    values[2:, 1] = np.nan
    values[1, 1] = 3.0
    _, found = summarised(values, 6).distributions()
    assert found.interval == (1.0, 3.0)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    experiments, rng = 400, np.random.default_rng(6)
    summaries = Summaries(experiments)
    for start in range(0, 100, 50):
        values = rng.exponential(size=(50, experiments))
        summaries.add(values, bootstrap_weights(0, start, start + 50))
    intervals = [d.interval for d in summaries.distributions()]
    covered = np.mean([i is not None and i[0] <= 1.0 <= i[1] for i in intervals])
    assert 0.87 <= covered <= 0.98


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 29))
@settings(max_examples=30, deadline=None)
def test_bootstrap_weights_do_not_depend_on_the_batches(
    seed: int, start: int, count: int, cut: int
) -> None:
    whole = bootstrap_weights(seed, start, start + count)
    middle = start + min(cut, count)
    pieces = [
        bootstrap_weights(seed, start, middle),
        bootstrap_weights(seed, middle, start + count),
    ]
    np.testing.assert_array_equal(whole, np.vstack(pieces))


def test_bootstrap_weights_are_poisson_with_mean_one() -> None:
    weights = bootstrap_weights(1, 0, 2000)
    assert weights.shape == (2000, RESAMPLES)
    shares = np.bincount(weights.astype(int).ravel(), minlength=12)[:6] / weights.size
    np.testing.assert_allclose(shares, np.exp(-1) / np.array([1, 1, 2, 6, 24, 120]), atol=2e-3)
    # Samples and resamples are independent of each other.
    assert np.abs(np.corrcoef(weights[:, :20], rowvar=False) - np.eye(20)).max() < 0.12
    assert np.abs(np.corrcoef(weights[:20]) - np.eye(20)).max() < 0.35


def test_other_seeds_give_other_weights() -> None:
    assert (bootstrap_weights(0, 0, 5) != bootstrap_weights(1, 0, 5)).any()


def test_bootstrap_weights_of_ten_thousand_samples_cost_little() -> None:
    bootstrap_weights(0, 0, 256)
    start = time.process_time()
    for position in range(0, 10_000, 256):
        bootstrap_weights(0, position, min(position + 256, 10_000))
    # One generator per sample took 250 ms; the counter takes about 10.
    assert time.process_time() - start < 0.15


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [
        # Newcombe 1998, table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (29, 29, (0.8830, 1.0)),
    ],
)
def test_wilson_interval(successes: int, n: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(successes, n) == pytest.approx(expected, abs=5e-5)


@given(st.integers(0, 50), st.integers(1, 10**6))
def test_row_slices_cover_every_row_once_and_stay_small(rows: int, elements: int) -> None:
    slices = list(row_slices(rows, elements))
    assert [row for part in slices for row in range(rows)[part]] == list(range(rows))
    limit = statistics._CHUNK_ELEMENTS
    assert all(p.stop - p.start == 1 or (p.stop - p.start) * elements <= limit for p in slices)


@pytest.mark.parametrize("n", [1, 7, 500, 10_000])
def test_the_interval_of_none_or_all_ends_at_the_share(n: int) -> None:
    assert wilson_interval(0, n)[0] == 0.0
    assert wilson_interval(n, n)[1] == 1.0
