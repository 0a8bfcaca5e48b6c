"""The doubts a scan has about itself. Each has a stable code that docs/warnings.md explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lsa_onnx.accounts.attack_checks import Attempt, check_attempts
from lsa_onnx.accounts.records import Classes
from lsa_onnx.report.document import (
    Accuracy,
    DataSection,
    LayerInfo,
    LayerScore,
    MvlList,
    ObserverCheck,
    Partial,
    PerturbationResult,
    ReportWarning,
)

FEW_SAMPLES = 30
RANDOM_OUTPUTS = ReportWarning(
    "random-outputs",
    "Two runs of the untouched model on the same inputs differ: it draws random numbers. Attacks and "
    "scores are of one draw; judge success by many.",
)
# A layer whose CM is within this factor of the rounding that a batch brings says little.
_FLOOR_FACTOR = 10.0
_OBSERVER_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Evidence:
    """What the cautions are drawn from.

    ``classes`` is the number of classes, ``None`` without; ``attempts`` are the attacks among the
    results; ``doubts`` were raised before anything ran; ``repeatable`` tells whether two runs of the
    untouched model agreed; ``partial`` how far a scan came that was interrupted.
    """

    data: DataSection
    accuracy: Accuracy | None
    classes: int | None
    layers: Sequence[LayerInfo]
    results: Sequence[PerturbationResult]
    mvl: MvlList
    observer: ObserverCheck
    batch_note: str | None
    attempts: Sequence[Attempt] = ()
    doubts: Sequence[ReportWarning] = ()
    repeatable: bool = True
    partial: Partial | None = None


def cautions(evidence: Evidence) -> list[ReportWarning]:
    """All that applies, the gravest first."""
    found: list[ReportWarning] = []
    for check in (_run, _attacks, _observer, _scores, _list, _batch):
        found += check(evidence)
    return found


def data_cautions(data: DataSection) -> Iterator[ReportWarning]:
    """What the samples leave open."""
    if data.synthetic:
        yield ReportWarning(
            "synthetic-data",
            f"The inputs are {data.source}, not data of this model's task. "
            "The ranking of layers may differ on real inputs; give --data.",
        )
    elif data.samples < FEW_SAMPLES:
        count = f"{data.samples} sample{'s' * (data.samples != 1)}"
        yield ReportWarning(
            "few-samples",
            f"Only {count}: intervals are wide and the list is unstable; "
            f"use {FEW_SAMPLES} or more.",
        )


def chance_cautions(accuracy: Accuracy | None, classes: int | None) -> Iterator[ReportWarning]:
    """Whether the model sees what it was trained on."""
    if accuracy is None or classes is None:
        return
    chance = 1 / classes
    if accuracy.interval[0] <= chance:
        yield ReportWarning(
            "accuracy-near-chance",
            f"Clean accuracy {accuracy.value:.1%} is not above chance ({chance:.1%}): the range, "
            "mean, std, layout or labels are probably wrong, and so are the scores.",
        )


def one_class_doubts(logit: str | None, classes: Classes | None) -> list[ReportWarning]:
    """Whether a score that is read as a logit may be a probability: all of those are above 0.

    Args:
        logit: The output that is read as one logit per sample, if any.
        classes: What the untouched model says of the clean samples, shape (n,).
    """
    if logit is None or classes is None or not classes.all():
        return []
    return [
        ReportWarning(
            "one-class-only",
            f"All {len(classes)} clean samples are read as class 1, with scores above 0: if {logit!r} is a "
            "probability, no Sigmoid was found behind it; have the model return the logit.",
        )
    ]


def partial_caution(partial: Partial) -> ReportWarning:
    """How far an interrupted run came."""
    cut = ""
    if partial.cut is not None:
        cut = f" {partial.cut} saw {partial.samples:,} of {partial.wanted:,} samples;"
    missing = ", ".join(partial.missing) or "nothing"
    return ReportWarning(
        "partial", f"It was interrupted:{cut} not done: {missing}. Run it again for a whole report."
    )


def _run(e: Evidence) -> Iterator[ReportWarning]:
    if e.partial is not None:
        yield partial_caution(e.partial)
    yield from data_cautions(e.data)
    yield from chance_cautions(e.accuracy, e.classes)
    if not e.repeatable:
        yield RANDOM_OUTPUTS


def _attacks(e: Evidence) -> Iterator[ReportWarning]:
    yield from e.doubts
    yield from check_attempts(e.attempts)
    if e.results and all(result.kind == "noise" for result in e.results):
        yield ReportWarning(
            "noise-only",
            "Only random noise was applied. It ranks layers, but says nothing about robustness: "
            "an attack finds far worse inputs of the same size (--attack pgd).",
        )


def _observer(e: Evidence) -> Iterator[ReportWarning]:
    o = e.observer
    if o.max_relative_difference > _OBSERVER_TOLERANCE or o.label_flips:
        flips = f" and flips {o.label_flips} labels" if o.label_flips else ""
        yield ReportWarning(
            "observer-difference",
            f"Observing changes the outputs by up to {o.max_relative_difference:.2g} (relative)"
            f"{flips}, on {o.n} samples: what was scored is not quite what is deployed.",
        )


def _scores(e: Evidence) -> Iterator[ReportWarning]:
    scores = [score for result in e.results for score in result.layers]
    bad = sorted({s.tensor for s in scores if s.nonfinite_samples})
    if bad:
        yield ReportWarning(
            "not-finite",
            f"{_named(bad)} gave NaN or infinity for some samples, which were left out.",
        )
    undefined = sorted({s.tensor for s in scores if s.undefined_samples})
    if undefined:
        yield ReportWarning(
            "near-zero-norm",
            f"{_named(undefined)} had a clean norm near zero for some samples; "
            "their relative error is undefined and left out.",
        )
    diverged = sorted(
        {ran.body for ran in (s.executions for s in scores) if ran and ran.diverged_samples}
    )
    if diverged:
        yield ReportWarning(
            "control-flow-changed",
            f"A perturbation changed whether or how often {_named(diverged)} ran for some samples; "
            "only executions that both sides have are compared.",
        )
    floors = {info.tensor: info.numerical_floor or 0.0 for info in e.layers}
    close = sorted({s.tensor for s in scores if _near_floor(s, floors[s.tensor])})
    if close:
        yield ReportWarning(
            "numerical-floor",
            f"{_named(close)} moved by less than {_FLOOR_FACTOR:g} times the rounding between a "
            "batched and a single run: use a stronger perturbation to rank it.",
        )


def _list(e: Evidence) -> Iterator[ReportWarning]:
    if not e.layers or e.mvl.layers:
        return
    if e.mvl.mu is None:
        yield ReportWarning(
            "empty-mvl", "The MVL list is empty: no layer has a relative error that is defined."
        )
        return
    yield ReportWarning(
        "empty-mvl",
        f"No layer's mean CM exceeds μ + {e.mvl.eta:g} σ; lower --eta, or name the largest "
        "with --top-k.",
    )


def _batch(e: Evidence) -> Iterator[ReportWarning]:
    if e.batch_note:
        yield ReportWarning("native-batch", e.batch_note)


def _near_floor(score: LayerScore, floor: float) -> bool:
    mean = score.relative_error.mean
    return mean is not None and 0 < mean < _FLOOR_FACTOR * floor


def _named(tensors: Sequence[str], shown: int = 3) -> str:
    text = ", ".join(repr(name) for name in tensors[:shown])
    more = len(tensors) - shown
    return f"{text} and {more} more" if more > 0 else text
