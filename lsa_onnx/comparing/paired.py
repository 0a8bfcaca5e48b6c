"""Two evaluations of the same samples: how far apart they are, sample by sample."""

from __future__ import annotations

from lsa_onnx.bootstrap import Estimate, paired_difference
from lsa_onnx.report.evaluation import Evaluation

_PERCENT = 100


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


def _percent(share: Estimate) -> Estimate:
    low, high = share.interval
    return Estimate(_PERCENT * share.value, (_PERCENT * low, _PERCENT * high))
