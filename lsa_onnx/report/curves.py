"""Robust accuracy over eps, one curve per attack, and what it took to break each sample.

Every view of an evaluation draws these.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_onnx.report.evaluation import AttackAtEps, AttackSummary, Evaluation


@dataclass(frozen=True)
class Strength:
    """A row of the evaluation: ``eps`` under ``norm``, in units of the declared range.

    ``text`` is how the strength was asked for.
    """

    norm: str
    eps: float
    text: str


@dataclass(frozen=True)
class Curve:
    """One attack at each of the evaluation's strengths, ``None`` where it was not run."""

    attack: str
    points: list[AttackAtEps | None]


@dataclass(frozen=True)
class Breaking:
    """How many samples an attack broke first at each strength of its summary.

    ``median`` is the strength that breaks half of the samples, ``None`` where none does; ``never`` are
    the samples that no strength broke.
    """

    median: float | None
    counts: list[int]
    never: int


def strengths(evaluation: Evaluation) -> list[Strength]:
    """Every strength once, by norm in the order asked for and then from weak to strong."""
    norms = list(dict.fromkeys(result.norm for result in evaluation.results))
    found = {(r.norm, r.eps): Strength(r.norm, r.eps, r.eps_text) for r in evaluation.results}
    return sorted(found.values(), key=lambda s: (norms.index(s.norm), s.eps))


def curves(evaluation: Evaluation) -> list[Curve]:
    """One curve per attack, in the order asked for, its points in the order of ``strengths``."""
    found = {(r.attack, r.norm, r.eps): r for r in evaluation.results}
    rows = strengths(evaluation)
    return [
        Curve(attack, [found.get((attack, row.norm, row.eps)) for row in rows])
        for attack in dict.fromkeys(result.attack for result in evaluation.results)
    ]


def summary_of(evaluation: Evaluation, attack: str) -> AttackSummary | None:
    """What the evaluation says of an attack over all strengths, ``None`` where it says nothing."""
    return next((each for each in evaluation.summaries if each.attack == attack), None)


def breaking(summary: AttackSummary) -> Breaking:
    """What it took an attack to break the samples; those that are wrong anyway took 0."""
    needed = [math.inf if eps is None else eps for eps in summary.minimal_eps]
    median = statistics.median_low(needed) if needed else math.inf
    return Breaking(
        median=median if math.isfinite(median) else None,
        counts=[needed.count(eps) for eps in summary.eps],
        never=needed.count(math.inf),
    )


def eps_texts(evaluation: Evaluation) -> dict[float, str]:
    """Strength in units of the declared range → how it was asked for."""
    return {result.eps: result.eps_text for result in evaluation.results}
