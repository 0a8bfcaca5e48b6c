"""The ensemble: worst case per sample, and nothing broken is attacked again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Answer, Apgd, Auto, Batch, Goal, Oracle, Square
from tests.attacks.oracles import Mlp, mlp_batch

Array = NDArray[Any]

FEATURES = 14
EPS = 0.03


class Watched:
    """Oracles that write down which samples each objective was asked for."""

    def __init__(self, network: Mlp) -> None:
        self.network = network
        self.asked: dict[str | None, set[int]] = {}

    def __call__(self, objective: str | None) -> Oracle:
        inner = self.network.oracle(objective)

        def oracle(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
            self.asked.setdefault(objective, set()).update(y["sample"].tolist())
            return inner(x, y, gradient=gradient)

        return oracle


def watched_batch() -> tuple[Batch, Watched]:
    batch = mlp_batch((40, FEATURES))
    watched = Watched(Mlp(FEATURES))
    goal = {**batch.goal, "sample": np.arange(40)}
    return dataclasses.replace(batch, oracles=watched, goal=goal), watched


def margins(x: Array, batch: Batch) -> Array:
    margin = Mlp(FEATURES).oracle()(x, batch.goal, gradient=False).margin
    found: Array = np.asarray(margin)
    return found


def test_what_one_attack_breaks_the_next_do_not_see() -> None:
    batch, watched = watched_batch()
    Auto(eps=EPS, steps=10, queries=50)(batch)
    broken_by_ce = set(np.flatnonzero(margins(Apgd(eps=EPS, steps=10)(batch), batch) <= 0).tolist())
    assert 0 < len(broken_by_ce) < 40
    assert watched.asked["ce"] == set(range(40))
    assert watched.asked["dlr"] == set(range(40)) - broken_by_ce
    assert watched.asked["margin"] <= watched.asked["dlr"]


def test_is_as_bad_as_the_worst_of_its_parts() -> None:
    batch, _ = watched_batch()
    together = margins(Auto(eps=EPS, steps=10, queries=50)(batch), batch)
    parts = [
        Apgd(eps=EPS, steps=10, objective="ce"),
        Apgd(eps=EPS, steps=10, objective="dlr"),
        Square(eps=EPS, queries=50),
    ]
    least = np.min([margins(part(batch), batch) for part in parts], axis=0)
    np.testing.assert_array_equal(together <= 0, least <= 0)
    still = together > 0
    np.testing.assert_allclose(together[still], least[still])


def test_without_labels_the_default_objective_is_used_twice() -> None:
    batch, watched = watched_batch()
    inner = watched.network.oracle()

    def label_free(objective: str | None) -> Oracle:
        def oracle(x: Array, y: Goal, *, gradient: bool = True) -> Answer:
            watched.asked.setdefault(objective, set()).add(int(gradient))
            return inner(x, y, gradient=gradient)._replace(margin=None)

        return oracle

    batch = dataclasses.replace(batch, oracles=label_free, labels=None)
    found = Auto(eps=EPS, steps=5, queries=20)(batch)
    assert watched.asked == {None: {0, 1}}
    apgd_alone = Apgd(eps=EPS, steps=5)(batch)
    losses = [inner(x, batch.goal, gradient=False).loss for x in (apgd_alone, found)]
    assert (losses[1] >= losses[0]).all()


def test_without_labels_an_objective_can_be_chosen() -> None:
    batch, watched = watched_batch()
    Auto(eps=EPS, steps=2, queries=2, objective="dlr")(dataclasses.replace(batch, labels=None))
    assert set(watched.asked) == {"dlr"}


def test_nothing_is_left_to_do_when_all_is_broken() -> None:
    batch, watched = watched_batch()
    wrong = (np.asarray(batch.labels) + 1) % 4
    goal = {**batch.goal, "labels": wrong}
    Auto(eps=EPS, steps=5, queries=20)(dataclasses.replace(batch, goal=goal, labels=wrong))
    assert set(watched.asked) == {"ce"}
