"""Numbers follow from what they are drawn for, are those of SplitMix64, and look like chance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.attacks import BALLS, Randomness, apgd, pgd, square, trades
from lsa_trainer.training.randomness import (
    TorchRandomness,
    counter_bits,
    counter_normal,
    counter_uniform,
    derived,
)
from tests.attacks.oracles import Linear

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
# What SplitMix64 gives for the seed 1234567, as other implementations have it.
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]


def mixed(z: int) -> int:
    z &= MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def words_by_hand(key: int, position: int, words: int) -> list[int]:
    start = mixed((key ^ position) + GAMMA)
    return [mixed(start + (i + 1) * GAMMA) for i in range(words)]


def unsigned(words: torch.Tensor) -> list[list[int]]:
    return [[word & MASK for word in row] for row in words.tolist()]


def numbers(count: int, start: int = 0, seed: int = 5) -> TorchRandomness:
    return TorchRandomness(seed, 16, torch.arange(start, start + count))


def test_the_reference_here_is_splitmix64() -> None:
    assert [mixed(1234567 + (i + 1) * GAMMA) for i in range(4)] == PUBLISHED
    assert derived(1234567) == PUBLISHED[0]
    assert derived(1234567, 9) == mixed((PUBLISHED[0] ^ 9) + GAMMA)


@given(st.integers(0, MASK), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_words_are_those_of_the_reference(key: int, positions: list[int]) -> None:
    found = unsigned(counter_bits(key, torch.tensor(positions), 5))
    assert found == [words_by_hand(key, position, 5) for position in positions]


def test_uniform_numbers_are_the_upper_bits_of_the_words() -> None:
    key = derived(5, 16, 2)
    double = counter_uniform(5, 16, torch.tensor([7, 3]), (3,), draw=2, dtype=torch.float64)
    expected = [[w >> 11 for w in words_by_hand(key, p, 3)] for p in (7, 3)]
    assert (double * 2**53).to(torch.int64).tolist() == expected
    single = counter_uniform(5, 16, torch.tensor([7, 3]), (3,), draw=2)
    halves = [
        [half for w in words_by_hand(key, p, 2) for half in (w & 0xFFFFFFFF, w >> 32)][:3]
        for p in (7, 3)
    ]
    assert (single * 2**24).to(torch.int64).tolist() == [[h >> 8 for h in row] for row in halves]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("count", [1, 7, 30])
def test_numbers_do_not_depend_on_the_batch(kind: str, dtype: Any, count: int) -> None:
    like, whole = torch.zeros(1, dtype=dtype), numbers(33, start=10)
    expected = getattr(whole, kind)((3, count), 4, like)
    assert (expected.shape, expected.dtype) == ((33, 3, count), dtype)
    for size in (1, 2, 5, 32):
        parts = [TorchRandomness(5, 16, p) for p in whole.positions.split(size)]
        found = torch.cat([getattr(part, kind)((3, count), 4, like) for part in parts])
        assert torch.equal(found, expected)
    mask = torch.arange(33) % 3 == 1
    assert torch.equal(getattr(whole.rows(mask), kind)((3, count), 4, like), expected[mask])


def test_numbers_do_not_depend_on_torchs_own_generator() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = numbers(4).normal((6,), 0, torch.zeros(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(numbers(4).normal((6,), 0, torch.zeros(1)), first)


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**9), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_seed_stream_sample_and_draw_each_matter(seed: int, start: int, draw: int) -> None:
    def drawn(seed: int, stream: int, start: int, draw: int) -> set[float]:
        at = torch.tensor([start])
        found = counter_uniform(seed, stream, at, (4,), draw=draw, dtype=torch.float64)
        return set(found.flatten().tolist())

    first = drawn(seed, 16, start, draw)
    assert first == drawn(seed, 16, start, draw)
    others = [(seed ^ 1, 16, start, draw), (seed, 17, start, draw), (seed, 16, start + 1, draw)]
    for other in [*others, (seed, 16, start, draw + 1)]:
        assert not first & drawn(*other)


def test_order_of_words_matters() -> None:
    assert len({derived(1, 2, 3), derived(1, 3, 2), derived(2, 1, 3), derived(1, 2)}) == 4
    assert derived(-1) == derived(MASK)


@pytest.mark.parametrize(
    ("given_type", "drawn"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_type_follows_the_example_but_is_never_coarse(given_type: Any, drawn: Any) -> None:
    like = torch.zeros(1, dtype=given_type)
    assert numbers(2).uniform((3,), 0, like).dtype == drawn
    assert numbers(2).normal((3,), 0, like).dtype == drawn


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_nothing_to_draw(kind: str) -> None:
    like = torch.zeros(1)
    assert getattr(numbers(0), kind)((3, 5), 0, like).shape == (0, 3, 5)
    assert getattr(numbers(4), kind)((3, 0), 0, like).shape == (4, 3, 0)


def kolmogorov(sample: torch.Tensor, cumulated: torch.Tensor) -> float:
    """√n · the largest distance of the empirical distribution; above 1.95 with chance 0.001."""
    count = len(sample)
    above = torch.arange(1, count + 1) / count - cumulated
    below = cumulated - torch.arange(count) / count
    return float(torch.maximum(above, below).max() * math.sqrt(count))


def test_uniform_numbers_are_uniform() -> None:
    for draw in range(3):
        drawn = counter_uniform(1, 2, torch.arange(200), (500,), draw=draw).double()
        assert (drawn.min() >= 0, drawn.max() < 1) == (True, True)
        in_order = drawn.flatten().sort().values
        assert kolmogorov(in_order, in_order) < 1.95


def test_every_bit_is_fair() -> None:
    words = counter_bits(derived(3), torch.arange(1000), 100).flatten()
    ones = torch.stack([(words >> bit & 1).sum() for bit in range(64)]).double()
    # Standard deviations of a binomial of 100 000 fair coins: 158.1.
    assert ((ones - 50_000).abs() / 158.1 < 4.5).all()


def test_pairs_fill_the_square_evenly() -> None:
    """χ² of 256 cells over neighbours of every kind: elements, positions, draws, seeds."""
    drawn = counter_uniform(1, 2, torch.arange(400), (100,))
    neighbours = {
        "elements": (drawn[:, :-1], drawn[:, 1:]),
        "positions": (drawn[:-1], drawn[1:]),
        "draws": (drawn, counter_uniform(1, 2, torch.arange(400), (100,), draw=1)),
        "streams": (drawn, counter_uniform(1, 3, torch.arange(400), (100,))),
        "seeds": (drawn, counter_uniform(2, 2, torch.arange(400), (100,))),
    }
    for name, (a, b) in neighbours.items():
        cells = ((a * 16).long() * 16 + (b * 16).long()).flatten()
        seen = torch.bincount(cells, minlength=256).double()
        expected = len(cells) / 256
        # 255 degrees of freedom: mean 255, standard deviation 22.6.
        assert abs(float(((seen - expected) ** 2 / expected).sum()) - 255) < 4.5 * 22.6, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers_are_normal(dtype: Any) -> None:
    drawn = counter_normal(1, 2, torch.arange(200), (501,), dtype=dtype).double()
    in_order = drawn.flatten().sort().values
    assert kolmogorov(in_order, torch.special.ndtr(in_order)) < 1.95
    # The two of a pair stand half a sample apart.
    pairs = torch.stack([drawn[:, :250].flatten(), drawn[:, 251:].flatten()])
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 4.5 / math.sqrt(50_000)
    assert abs(float(torch.corrcoef(pairs.abs())[0, 1])) < 4.5 / math.sqrt(50_000)


ATTACKS: dict[str, Any] = {
    "pgd": lambda *a, **k: pgd(*a, **k, steps=4, restarts=2).x,
    "trades": lambda *a, **k: trades(*a, **k, steps=3),
    "apgd": lambda *a, **k: apgd(*a, **k, steps=6, restarts=2).x,
    "square": lambda *a, **k: square(*a, **k, queries=20, channel_axis=1).x,
}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_run_on_it_and_do_not_depend_on_the_batch(name: str, norm: str) -> None:
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.random((6, 2, 3, 4), np.float32))
    weights = torch.from_numpy(generator.standard_normal((2, 3, 4), np.float32))
    ball, randomness = BALLS[norm](0.1, 0.0, 1.0), numbers(6)

    def attacked(x: torch.Tensor, given: Randomness) -> Any:
        return ATTACKS[name](Linear(weights), x, {}, ball, numbers=given)

    whole = attacked(x, randomness)
    assert not torch.equal(whole, x)
    parts = [slice(0, 1), slice(1, 6)]
    found = [attacked(x[s], TorchRandomness(5, 16, randomness.positions[s])) for s in parts]
    torch.testing.assert_close(torch.cat(found), whole, rtol=0, atol=1e-6)
