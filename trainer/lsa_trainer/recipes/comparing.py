"""Rows over seeds, and rows against their base."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsa_trainer.recipes.figures import Difference, Mean, mean_over_seeds, paired_difference
from lsa_trainer.recipes.recipe import NORMAL
from lsa_trainer.recipes.results import RowResult

_PERCENT = 100.0


@dataclass(frozen=True)
class Group:
    """One row at all seeds for which it is done, in their order; at least one."""

    results: tuple[RowResult, ...]

    @property
    def first(self) -> RowResult:
        """Says what is the same for all seeds."""
        return self.results[0]

    @property
    def regularised(self) -> bool:
        """Whether the row has a layer-wise term."""
        return bool(self.first.layers)

    def accuracies(self, attack: str) -> list[Mean]:
        """In percent, at each ε."""
        columns = zip(*(r.attacks[attack].accuracy for r in self.results), strict=True)
        return [mean_over_seeds(column) for column in columns]

    def r_and_g(self, attack: str) -> Mean:
        """The R&G score."""
        return mean_over_seeds([r.attacks[attack].r_and_g for r in self.results])

    @property
    def published_r_and_g(self) -> float | None:
        """As it was published; ``None`` if it was not."""
        return self.first.published_r_and_g


@dataclass(frozen=True)
class Gain:
    """What a row gains on its base under one attack, in points: in R&G, and at the ε that the base was trained with."""

    r_and_g: Difference
    at_trained: Difference | None


def grouped(results: Sequence[RowResult]) -> list[Group]:
    """Rows in the order of their recipe."""
    by_row: dict[int, list[RowResult]] = {}
    for result in sorted(results, key=lambda r: (r.index, r.seed)):
        by_row.setdefault(result.index, []).append(result)
    return [Group(tuple(each)) for each in by_row.values()]


def base_of(group: Group, groups: Sequence[Group]) -> Group | None:
    """The row that a row is compared with: of the same base, without a layer-wise term.

    A regularised row has the one that was trained with the same ε, if there is one. Another row without a term is
    compared with the first of its base, for what its options alone are worth.
    """
    if group.first.base == NORMAL:
        return None
    same = [each for each in groups if each.first.base == group.first.base]
    plain = [each for each in same if not each.regularised]
    if not group.regularised:
        return None if plain[0] is group else plain[0]
    alike = [each for each in plain if each.first.train_eps == group.first.train_eps]
    return next(iter(alike or plain), None)


def published_gain(group: Group, base: Group) -> float | None:
    """What was published of the gain in R&G."""
    ours, theirs = group.published_r_and_g, base.published_r_and_g
    return None if ours is None or theirs is None else ours - theirs


def gain(group: Group, base: Group, attack: str) -> Gain | None:
    """Over the seeds that both rows have; ``None`` where there are none."""
    pairs = [
        (ours.attacks[attack], theirs.attacks[attack])
        for ours in group.results
        for theirs in base.results
        if ours.seed == theirs.seed
    ]
    if not pairs:
        return None
    found = _PERCENT * np.stack([a.correct.astype(float) - b.correct for a, b in pairs])
    trained, eps = base.first.train_eps, pairs[0][0].eps
    place = next((i for i, e in enumerate(eps) if trained and math.isclose(e, trained)), None)
    return Gain(
        paired_difference(found.sum(axis=1)),
        None if place is None else paired_difference(found[:, place]),
    )
