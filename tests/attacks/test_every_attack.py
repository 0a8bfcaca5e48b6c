"""What every attack promises, in every norm it takes."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsa_onnx.attacks import (
    ATTACKS,
    NOISES,
    Answer,
    Apgd,
    Attack,
    AttackSettings,
    Auto,
    Batch,
    Fast,
    Fgsm,
    Linf,
    Noise,
    Norm,
    Pgd,
    SampleRandomness,
    Square,
    Trades,
    apgd,
    parse_perturbations,
    pgd,
)
from lsa_onnx.errors import DataError
from tests.attacks.oracles import Mlp, distance, mlp_batch, part_of, true_norms

Array = NDArray[Any]

EPS = {"linf": 0.1, "l2": 0.25, "l1": 0.5}


class Case(NamedTuple):
    """An attack with parameters that make it quick."""

    attack: type[Attack]
    options: dict[str, Any]
    random: bool = True
    gradient: bool = True

    def made(self, norm: Norm, eps: float | None = None, **others: Any) -> Attack:
        options = {**self.options, **others}
        return self.attack(eps=EPS[norm] if eps is None else eps, norm=norm, **options)


CASES = [
    Case(Fgsm, {}, random=False),
    Case(Fast, {}),
    Case(Pgd, {"steps": 5, "restarts": 2}),
    Case(Pgd, {"steps": 4, "momentum": 0.9}),
    Case(Apgd, {"steps": 9, "restarts": 2}),
    Case(Trades, {"steps": 3, "objective": "ce"}),
    Case(Square, {"queries": 40}, gradient=False),
    Case(Auto, {"steps": 4, "queries": 10}),
]
ALL = [
    pytest.param(case, norm, id=f"{case.attack.algorithm}-{norm}-{index}")
    for index, case in enumerate(CASES)
    for norm in case.attack.norms
]


def mean_loss(x: Array, batch: Batch) -> float:
    network = Mlp(int(np.prod(x.shape[1:])))
    return float(network.oracle()(x, batch.goal, gradient=False).loss.mean())


def test_every_attack_of_the_table_is_tested() -> None:
    assert {kind.attack for kind in ATTACKS.values()} == {case.attack for case in CASES}
    for case in CASES:
        assert case.attack.needs_gradient == case.gradient


@pytest.mark.parametrize(("case", "norm"), ALL)
@given(
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    limits=st.sampled_from([(0.0, 1.0), (-1.0, 2.0), (0.0, 255.0)]),
    share=st.sampled_from([0.0, 1e-4, 0.03, 1.0]),
    shape=st.sampled_from([(3, 5), (2, 2, 3, 4), (1, 4, 2)]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=6, deadline=None)
def test_inside_ball_and_range_of_the_same_shape_and_type(
    case: Case,
    norm: Norm,
    dtype: Any,
    limits: tuple[float, float],
    share: float,
    shape: tuple[int, ...],
    seed: int,
) -> None:
    low, high = limits
    batch = mlp_batch(shape, dtype, low=low, high=high)
    attack = case.made(norm, share * (high - low), seed=seed)
    before = batch.x.copy()
    found = attack(batch)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert np.isfinite(found).all()
    assert ((found >= dtype(low)) & (found <= dtype(high))).all()
    moved = true_norms(found.astype(np.float64) - batch.x.astype(np.float64), norm)
    assert (moved <= attack.eps * (1 + 5e-6)).all()
    np.testing.assert_array_equal(batch.x, before)


@pytest.mark.parametrize(("case", "norm"), ALL)
def test_same_seed_same_result_whatever_the_batch(case: Case, norm: Norm) -> None:
    batch = mlp_batch((7, 2, 3, 2))
    attack = case.made(norm, seed=3)
    whole = attack(batch)
    np.testing.assert_array_equal(whole, attack(batch))
    for cut in (1, 4):
        parts = [attack(part_of(batch, slice(0, cut))), attack(part_of(batch, slice(cut, None)))]
        np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize(("case", "norm"), ALL)
def test_the_seed_matters_where_anything_is_random(case: Case, norm: Norm) -> None:
    batch = mlp_batch((4, 12))
    found = [case.made(norm, seed=seed)(batch) for seed in (1, 2)]
    # Trades moves every element to an edge, wherever it starts.
    if case.attack is not Trades:
        assert (found[0] != found[1]).any() == case.random


@pytest.mark.parametrize(("case", "norm"), ALL)
def test_the_model_gets_worse(case: Case, norm: Norm) -> None:
    batch = mlp_batch((20, 12))
    assert mean_loss(case.made(norm)(batch), batch) > mean_loss(batch.x, batch) + 0.1


@pytest.mark.parametrize(("case", "norm"), ALL)
def test_no_distance_changes_nothing(case: Case, norm: Norm) -> None:
    batch = mlp_batch((3, 2, 5))
    np.testing.assert_array_equal(case.made(norm, 0.0)(batch), batch.x)


@pytest.mark.parametrize(("case", "norm"), ALL)
def test_an_empty_batch_and_samples_without_axes(case: Case, norm: Norm) -> None:
    empty = mlp_batch((0, 3, 2))
    assert case.made(norm)(empty).shape == (0, 3, 2)
    scalars = mlp_batch((4,))
    assert case.made(norm)(scalars).shape == (4,)


@pytest.mark.parametrize(("case", "norm"), ALL)
def test_objectives_without_classes_move_the_answer(case: Case, norm: Norm) -> None:
    batch = mlp_batch((5, 3, 4))
    batch = dataclasses.replace(
        batch, labels=None, goal={"reference": batch.x}, oracles=lambda _: distance
    )
    found = case.made(norm)(batch)
    assert (true_norms(found - batch.x, norm) > 0.4 * EPS[norm]).all()


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("attack", [Pgd, Apgd])
def test_more_restarts_are_never_worse(norm: Any, attack: Any) -> None:
    batch = mlp_batch((12, 10))
    network = Mlp(10)
    answers = []
    for restarts in (1, 2, 4):
        found = attack(eps=EPS[norm] / 4, norm=norm, steps=4, restarts=restarts)(batch)
        answer = network.oracle()(found, batch.goal, gradient=False)
        assert answer.margin is not None
        answers.append((answer.loss, answer.margin))
    for (loss, margin), (more_loss, more_margin) in pairwise(answers):
        assert (more_margin[margin <= 0] <= 0).all()
        still = more_margin > 0
        assert (more_loss[still] >= loss[still]).all()
    assert (answers[2][0] > answers[0][0]).any()


@pytest.mark.parametrize("eps", [0.03, 0.1])
def test_stronger_attacks_are_stronger(eps: float) -> None:
    batch = mlp_batch((60, 20), np.float64)
    random = Noise("gaussian", eps / 2, 0)(batch)
    found = [
        mean_loss(x, batch)
        for x in (
            np.clip(random, batch.x - eps, batch.x + eps),
            Fgsm(eps=eps)(batch),
            Pgd(eps=eps, steps=20)(batch),
            Apgd(eps=eps, steps=50)(batch),
        )
    ]
    assert found[0] < found[1] < found[2] <= found[3] + 1e-3


def test_what_is_broken_is_what_the_oracle_saw_broken() -> None:
    """The broken iterate is kept, even if a later one has a higher loss."""

    def fickle(x: Array, y: Any, *, gradient: bool = True) -> Answer:
        loss = x.sum(axis=1)
        broken = (loss > 1.1) & (loss < 1.2)
        return Answer(loss, np.ones_like(x) if gradient else None, np.where(broken, -1.0, 1.0))

    x = np.full((4, 2), 0.5)
    numbers = SampleRandomness.of_batch(0, 0, 4)
    for found in (
        pgd(fickle, x, {}, Linf(0.2, 0, 1), numbers=numbers, steps=50, step_size=0.01),
        apgd(fickle, x, {}, Linf(0.06, 0, 1), numbers=numbers, steps=300),
    ):
        assert found.margin is not None
        again = fickle(found.x, {}).margin
        np.testing.assert_array_equal(found.margin, again)
        assert (found.margin < 0).sum() >= 3


@pytest.mark.parametrize("name", [*NOISES, *ATTACKS])
def test_every_name_runs(name: str) -> None:
    batch = mlp_batch((3, 8))
    network = Mlp(8)
    # The KL divergence of TRADES needs labels as little as any loss here does.
    batch = dataclasses.replace(
        batch, oracles=lambda objective: network.oracle("ce" if objective == "kl" else objective)
    )
    (made,) = parse_perturbations([name], AttackSettings(eps=0.1, steps=2))
    assert (made(batch) != batch.x).any()
    assert made.name == name


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_inputs_that_are_no_floats_are_refused(dtype: Any) -> None:
    batch = dataclasses.replace(mlp_batch((2, 3)), x=np.zeros((2, 3), dtype))
    with pytest.raises(DataError, match=np.dtype(dtype).name):
        Pgd(eps=1.0)(batch)
