"""Several models on the same samples: how far apart they are, sample by sample."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from lsa_onnx._version import __version__
from lsa_onnx.bootstrap import Estimate, paired_difference
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Difference, Evaluations

_PERCENT = 100


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


def r_and_g_difference(first: Evaluation, second: Evaluation, attack: str) -> Estimate:
    """The R&G score of ``second`` minus that of ``first``, with its paired 95 % interval.

    Both are of the same samples in the same order: see ``same_samples``.

    Raises:
        DataError: The attack was not run, or not at a strength of 0.
    """
    seed = first.run.seed
    return _percent(paired_difference(first.scores(attack), second.scores(attack), seed))


def robust_difference(first: Evaluation, second: Evaluation, attack: str, eps: float) -> Estimate:
    """Robust accuracy of ``second`` minus that of ``first``, in percentage points, as above.

    Raises:
        DataError: The attack was not run at that strength.
    """
    before, after = first.correct_at(attack, eps), second.correct_at(attack, eps)
    return _percent(paired_difference(before, after, first.run.seed))


def same_samples(first: Evaluation, second: Evaluation) -> bool:
    """Whether both models met the same samples, and a strength means the same for both."""
    return _met(first) == _met(second)


def _met(evaluation: Evaluation) -> tuple[object, ...]:
    data = evaluation.data
    return (data.fingerprint, data.samples, evaluation.labels, evaluation.input.range)


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


def _percent(share: Estimate) -> Estimate:
    low, high = share.interval
    return Estimate(_PERCENT * share.value, (_PERCENT * low, _PERCENT * high))
