"""Robust accuracy over eps, one curve per attack: what every view of an evaluation draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_onnx.report.evaluation import AttackAtEps, Evaluation


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
