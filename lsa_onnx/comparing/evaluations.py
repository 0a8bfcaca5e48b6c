"""Two evaluations of the same samples: accuracies sample by sample, and R&G scores."""

from __future__ import annotations

from collections.abc import Iterator

from lsa_onnx.bootstrap import Estimate
from lsa_onnx.comparing import changes
from lsa_onnx.comparing.frame import Frame
from lsa_onnx.comparing.paired import r_and_g_difference, robust_difference
from lsa_onnx.report.comparison import Comparison, PerturbationChange, ScoreChange
from lsa_onnx.report.evaluation import AttackAtEps, Evaluation
from lsa_onnx.report.sections import Accuracy

_PERCENT = 100


def compare_evaluations(frame: Frame, before: Evaluation, after: Evaluation) -> Comparison:
    """What changed from one evaluation to the other, at the attacks and strengths that both have."""
    found = [_attacked(before, after, before.results[a], after.results[b]) for a, b in frame.pairs]
    # An attack of strength 0 is none: the clean accuracy, known sample by sample.
    clean = next((each.accuracy for each in found if each.strength == 0), None)
    return frame.comparison(
        "evaluations",
        clean or changes.accuracy_change(before.clean, after.clean),
        [each for each in found if each.strength != 0],
        scores=list(_scores(before, after)),
    )


def _attacked(
    before: Evaluation, after: Evaluation, was: AttackAtEps, now: AttackAtEps
) -> PerturbationChange:
    one, other = (Accuracy(each.robust_accuracy, each.n, each.interval) for each in (was, now))
    paired = _share(robust_difference(before, after, was.attack, was.eps))
    return PerturbationChange(
        name=was.attack,
        strength=was.eps,
        settings=was.parameters,
        accuracy=changes.accuracy_change(one, other, paired),
        flips_before=None,
        flips_after=None,
        mu_before=None,
        mu_after=None,
        layers=[],
        newcomers=[],
        leavers=[],
    )


def _share(points: Estimate) -> Estimate:
    low, high = points.interval
    return Estimate(points.value / _PERCENT, (low / _PERCENT, high / _PERCENT))


def _scores(before: Evaluation, after: Evaluation) -> Iterator[ScoreChange]:
    """The R&G scores of the attacks that both have, at the same strengths."""
    theirs = {(each.attack, each.norm): each for each in after.summaries}
    for mine in before.summaries:
        other = theirs.get((mine.attack, mine.norm))
        if other is not None and other.eps == mine.eps:
            value, interval = r_and_g_difference(before, after, mine.attack)
            verdict = changes.of_difference(interval)
            yield ScoreChange(mine.attack, mine.r_and_g, other.r_and_g, value, interval, verdict)
