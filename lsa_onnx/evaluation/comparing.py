"""Several models evaluated alike, as one document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from lsa_onnx._version import __version__
from lsa_onnx.comparing.paired import r_and_g_difference, robust_difference, same_samples
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Difference, Evaluations


def side_by_side(evaluations: Sequence[Evaluation], command: Sequence[str] = ()) -> Evaluations:
    """The evaluations as one document, with the differences to the first.

    Args:
        evaluations: At least one, made with the same options.
        command: The command line, for the report.
    """
    first, *others = evaluations
    return Evaluations(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        evaluations=list(evaluations),
        differences=[
            difference
            for place, other in enumerate(others, start=1)
            for difference in _differences(first, other, place)
        ],
        command=list(command),
    )


def _differences(first: Evaluation, other: Evaluation, place: int) -> Iterator[Difference]:
    """R&G, then robust accuracy at each strength, of every attack that both were tried with."""
    if not same_samples(first, other):
        return
    theirs = {(each.attack, each.norm): each.eps for each in other.summaries}
    for summary in first.summaries:
        attack = summary.attack
        if theirs.get((attack, summary.norm)) != summary.eps:
            continue
        yield Difference(place, attack, None, *r_and_g_difference(first, other, attack))
        for eps in summary.eps:
            found = robust_difference(first, other, attack, eps)
            yield Difference(place, attack, eps, *found)
