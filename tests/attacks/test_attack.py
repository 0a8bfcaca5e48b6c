"""Attacks as values: what they refuse, what they promise, what they report."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lsa_onnx.attacks import ATTACKS, Attack, Ball, Batch, Fgsm, Pgd, Randomness, Square
from lsa_onnx.errors import DataError
from tests.attacks.oracles import mlp_batch

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift(Attack):
    """Adds ``by`` to every element."""

    by: float = 0.0

    algorithm = "shift"

    def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
        moved: Array = batch.x + batch.x.dtype.type(self.by)
        return moved


def batch(low: float = 0.0, high: float = 1.0) -> Batch:
    return Batch(np.full((2, 3, 1, 4), 0.5, np.float32), None, 40, low, high)


@pytest.mark.parametrize(
    ("norm", "eps"), [("linf", 0.1), ("l2", 0.1 * np.sqrt(12)), ("l1", 0.1 * 12)]
)
def test_a_promise_that_is_broken_is_an_error(norm: Any, eps: float) -> None:
    kept = Shift(eps=eps, norm=norm, by=0.1)(batch())
    np.testing.assert_allclose(kept, 0.6, rtol=1e-6)
    with pytest.raises(DataError) as caught:
        Shift(eps=eps * 0.999, norm=norm, by=0.1)(batch())
    assert f"attack 'shift' moved sample 40 by {eps:.3g}"[:-1] in str(caught.value)
    assert f"in the {norm} norm, beyond eps {eps * 0.999:g};" in str(caught.value)


def test_the_sample_that_moved_too_far_is_named() -> None:
    class One(Shift):
        def search(self, batch: Batch, ball: Ball, numbers: Randomness) -> Array:
            moved = batch.x.copy()
            moved[1, 2, 0, 3] += 0.25
            return moved

    with pytest.raises(
        DataError, match=r"moved sample 41 by 0\.25 in the l2 norm, beyond eps 0\.2"
    ):
        One(eps=0.2, norm="l2")(batch())


def test_distance_is_measured_after_clipping() -> None:
    found = Shift(eps=0.1, by=9.0)(batch(low=0.4, high=0.6))
    np.testing.assert_allclose(found, 0.6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"eps": -1.0}, "eps -1 of 'pgd' is not a distance"),
        ({"eps": float("nan")}, "eps nan of 'pgd'"),
        ({"eps": float("inf")}, "eps inf of 'pgd'"),
        ({"norm": "l7"}, "unknown norm 'l7'; accepted are linf, l2, l1"),
        ({"steps": 0}, "0 steps of 'pgd' are not usable; give 1 or more"),
        ({"restarts": -1}, "-1 restarts of 'pgd' are not usable"),
    ],
)
def test_parameters_that_are_not_usable_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        Pgd(**{"eps": 0.1, **options})
    assert said in str(caught.value)


def test_a_norm_that_is_not_offered_is_refused() -> None:
    with pytest.raises(DataError, match="'square' does not work in the l1 norm"):
        Square(eps=0.1, norm="l1")
    with pytest.raises(DataError, match="0 queries of 'square'"):
        Square(eps=0.1, queries=0)


def test_without_a_model_the_error_says_what_works() -> None:
    with pytest.raises(DataError, match=r"'pgd' needs gradients .*None\); 'square' and the noises"):
        Pgd(eps=0.1)(batch())
    with pytest.raises(DataError, match=r"'square' needs answers .*None\); the noises work"):
        Square(eps=0.1)(batch())


def test_objectives_asked_for() -> None:
    asked: list[str | None] = []
    given = mlp_batch((3, 4))
    assert given.oracles is not None
    inner = given.oracles("ce")

    def oracles(objective: str | None) -> Any:
        asked.append(objective)
        return inner

    labelled = dataclasses.replace(given, oracles=oracles)
    free = dataclasses.replace(labelled, labels=None)
    for attack in (Fgsm(eps=0.1), Fgsm(eps=0.1, objective="dlr"), Square(eps=0.1, queries=1)):
        attack(labelled)
        attack(free)
    Square(eps=0.1, queries=1, objective="layer:relu1")(free)
    assert asked == [None, None, "dlr", "dlr", "margin", None, "layer:relu1"]


@pytest.mark.parametrize(
    ("objective", "labelled", "away"),
    [
        (None, True, False),
        (None, False, True),
        ("ce", True, False),
        ("dlr", True, False),
        ("kl", True, True),
        ("output", False, True),
        ("layer:relu1", True, True),
    ],
)
def test_objectives_that_are_flat_at_the_clean_input(
    objective: str | None, labelled: bool, away: bool
) -> None:
    given = dataclasses.replace(batch(), labels=np.zeros(2, np.int64) if labelled else None)
    assert Fgsm(eps=0.1, objective=objective).aims_away_from_x(given) is away


@pytest.mark.parametrize("name", ATTACKS)
def test_parameters_are_ready_for_a_report(name: str) -> None:
    attack = ATTACKS[name].attack(eps=0.25, seed=3)
    found = attack.parameters()
    assert json.loads(json.dumps(found)) == found
    assert {"algorithm", "eps", "norm", "seed", "objective"} <= set(found)
    assert (found["eps"], found["norm"], found["seed"]) == (0.25, "linf", 3)
    assert (attack.kind, attack.name) == ("attack", attack.algorithm)


def test_at_another_distance() -> None:
    attack = Pgd(eps=0.1, steps=7, name="pgd=10%")
    moved = attack.at(8 / 255)
    assert isinstance(moved, Pgd)
    assert (moved.eps, moved.steps, moved.name) == (8 / 255, 7, "pgd=0.0313725")
    assert moved.parameters()["step_size"] == pytest.approx(2.5 * 8 / 255 / 7)
    assert attack.eps == 0.1


def test_a_given_step_size_is_reported_and_taken() -> None:
    attack = Pgd(eps=0.1, steps=1, step_size=0.0)
    assert attack.parameters()["step_size"] == 0.0
    given = mlp_batch((3, 4))
    start = attack(given)
    assert (start != given.x).any()
    assert (Pgd(eps=0.1, steps=1, step_size=0.05)(given) != start).any()
