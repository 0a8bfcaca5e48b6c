"""What the results of attacks say about the attacks: signs of gradients that hide a weakness.

After Athalye et al. 2018 and Carlini et al. 2019: an iterative attack must not do worse than a single
step, no attack worse than noise of its size, a black-box attack not better than one that knows the
gradient, and distortions without bound must break everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lsa_onnx.report.document import ReportWarning

# Differences below this share of the samples (or one of them) are chance.
_CHANCE_SHARE = 0.01
# Shares of samples with a vanished gradient from which on it is worth a word.
_VANISHED_SHARE = 0.01
_SINGLE_STEP = frozenset({"fgsm", "fast"})
_ITERATIVE = frozenset({"pgd", "apgd", "auto"})
_HALF_RANGE = 0.5


@dataclass(frozen=True)
class Attempt:
    """One attack at one strength.

    Attributes:
        name: What the report calls it.
        algorithm: What it is.
        norm: In which ``eps`` is measured.
        eps: In units of the declared range.
        white_box: Whether it knows the gradient.
        right: Samples that were right before it.
        broken: Those of them that are not any more.
        n: All samples.
        noise_flips: Share of predictions that noise of the same norm changes.
        flips: Share of predictions that it changes.
        saturated: Share of samples whose cross-entropy has no gradient in single precision.
        flat: Share of samples whose gradient is 0.
    """

    name: str
    algorithm: str
    norm: str
    eps: float
    white_box: bool
    right: int
    broken: int
    n: int
    noise_flips: float | None = None
    flips: float | None = None
    saturated: float | None = None
    flat: float | None = None


def check_attempts(attempts: Sequence[Attempt]) -> list[ReportWarning]:
    """All that applies, each code once for the first attempt that shows it."""
    found: dict[str, ReportWarning] = {}
    for check in (_gradients, _noise, _steps, _black_box):
        for warning in check(attempts):
            found.setdefault(warning.code, warning)
    return list(found.values())


def check_curve(
    attempts: Sequence[Attempt], *, width: float, classes: int | None
) -> list[ReportWarning]:
    """What accuracy as a function of ε says, for attempts of one attack in the order of their ε.

    Args:
        attempts: One attack at growing strengths.
        width: Of the declared range.
        classes: Number of classes, where it is known.
    """
    found = []
    pairs = itertools.pairwise(attempts)
    rising = [(a, b) for a, b in pairs if a.broken - b.broken > _chance(a.n)]
    if rising:
        less, more = rising[0]
        found.append(
            ReportWarning(
                "accuracy-rises-with-eps",
                f"{less.name} leaves {_left(less)} samples right at eps {less.eps:g}, and more at "
                f"{more.eps:g}: {_left(more)}. A larger ball holds every input of a smaller one, so "
                "the attack fails, not the model's weakness.",
            )
        )
    last = attempts[-1] if attempts else None
    if last and classes and last.norm == "linf" and last.eps >= _HALF_RANGE * width:
        chance = 1 / classes
        if _left(last) > last.n * chance + _chance(last.n):
            found.append(
                ReportWarning(
                    "large-eps-not-chance",
                    f"{last.name} leaves {_left(last) / last.n:.1%} right at eps {last.eps:g}, half of "
                    f"the range or more, where an image can be turned grey; chance is {chance:.1%}. "
                    "The attack does not see the gradient.",
                )
            )
    return found


def _gradients(attempts: Sequence[Attempt]) -> Iterator[ReportWarning]:
    for a in attempts:
        if a.saturated is not None and a.saturated >= _VANISHED_SHARE:
            yield ReportWarning(
                "vanishing-gradient",
                f"For {a.saturated:.1%} of samples the cross-entropy is 0 in single precision, and so is "
                "its gradient. Attacks maximised its unsaturated form instead, which has the same "
                "maximisers; tools that follow the vanished gradient report robustness that is not "
                "there.",
            )
        if a.flat is not None and a.flat >= _VANISHED_SHARE:
            yield ReportWarning(
                "zero-gradient",
                f"For {a.flat:.1%} of samples the gradient by the input is exactly 0, whatever the "
                "objective's scale: what white-box attacks find there says little; use --attack square.",
            )


def _noise(attempts: Sequence[Attempt]) -> Iterator[ReportWarning]:
    for a in attempts:
        if a.flips is None or a.noise_flips is None:
            continue
        if round((a.noise_flips - a.flips) * a.n) > _chance(a.n):
            yield ReportWarning(
                "weaker-than-noise",
                f"{a.name} changes {a.flips:.1%} of predictions, random noise of the same norm "
                f"{a.noise_flips:.1%}: the attack does not work on this model.",
            )


def _steps(attempts: Sequence[Attempt]) -> Iterator[ReportWarning]:
    for single in attempts:
        if single.algorithm not in _SINGLE_STEP:
            continue
        for many in attempts:
            if many.algorithm not in _ITERATIVE or not _same_ball(single, many):
                continue
            if single.broken - many.broken > _chance(single.n):
                yield ReportWarning(
                    "iterative-weaker",
                    f"{many.name} breaks {many.broken} of {many.right} samples, the single step of "
                    f"{single.name} {single.broken}: gradients mislead, and results are upper bounds.",
                )


def _black_box(attempts: Sequence[Attempt]) -> Iterator[ReportWarning]:
    for blind in attempts:
        seeing = [a for a in attempts if a.white_box and _same_ball(a, blind)]
        if blind.white_box or not seeing:
            continue
        best = max(seeing, key=lambda a: a.broken)
        if blind.broken - best.broken > _chance(blind.n):
            yield ReportWarning(
                "black-box-stronger",
                f"{blind.name}, which knows no gradient, breaks {blind.broken} of {blind.right} samples, "
                f"{best.name} {best.broken}: the gradients are masked.",
            )


def _same_ball(a: Attempt, b: Attempt) -> bool:
    return (a.norm, a.eps) == (b.norm, b.eps)


def _chance(n: int) -> float:
    """Samples by which two attacks may differ without meaning anything."""
    return max(1.0, _CHANCE_SHARE * n)


def _left(a: Attempt) -> int:
    return a.right - a.broken
