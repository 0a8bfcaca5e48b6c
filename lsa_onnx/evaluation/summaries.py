"""What becomes of each sample as an attack grows: the R&G score and the minimal breaking ε."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.bootstrap import mean_over_samples
from lsa_onnx.report.evaluation import AttackAtEps, AttackSummary

_PERCENT = 100


def summarised(
    records: Sequence[AttackAtEps], right: Sequence[NDArray[np.bool_]], seed: int
) -> AttackSummary:
    """One attack over all its strengths.

    Args:
        records: At growing ε, the first of them 0.
        right: For each of them which samples are right, shape (n,).
        seed: Of the bootstrap.
    """
    eps = [record.eps for record in records]
    table = np.stack(right)
    score = mean_over_samples(table.sum(axis=0), seed)
    low, high = score.interval
    return AttackSummary(
        attack=records[0].attack,
        norm=records[0].norm,
        eps=eps,
        r_and_g=_PERCENT * score.value,
        interval=(_PERCENT * low, _PERCENT * high),
        minimal_eps=minimal_eps(eps, table),
    )


def minimal_eps(eps: Sequence[float], right: NDArray[np.bool_]) -> list[float | None]:
    """The smallest strength at which each sample is wrong, ``None`` where it is right at all.

    Args:
        eps: Ascending strengths.
        right: Which samples are right at each, shape (strengths, n).
    """
    first = (~right).argmax(axis=0).tolist()
    never = np.flatnonzero(right.all(axis=0))
    found: list[float | None] = [eps[at] for at in first]
    for sample in never:
        found[sample] = None
    return found
