"""One perturbation over all samples: perturb, score, accumulate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Batch, Perturbation
from lsa_onnx.measures import Scores
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.report.document import LayerInfo, ObserverCheck, PerturbationResult
from lsa_onnx.runtime.scoring import ScoringSession
from lsa_onnx.scan.clean import CleanRun, accuracy_of
from lsa_onnx.scan.listener import Listener
from lsa_onnx.scan.observer import Observer
from lsa_onnx.scan.subject import Subject
from lsa_onnx.statistics import bootstrap_weights

Array = NDArray[Any]


@dataclass(frozen=True)
class PassSettings:
    """What all passes of a scan share. ``sizes`` is elements per sample of each scored layer."""

    head: Head | None
    layers: list[LayerInfo]
    sizes: list[int]
    batch: int
    seed: int
    eta: float
    top_k: int | None


def score_perturbation(
    subject: Subject,
    session: ScoringSession,
    perturbation: Perturbation,
    clean: CleanRun,
    settings: PassSettings,
    listener: Listener,
) -> tuple[PerturbationResult, ObserverCheck]:
    """Run one perturbation over all samples.

    Returns:
        Its result, and how the instrumented model's clean outputs compare with those of the
        untouched one.
    """
    scores, observer = Scores(settings.sizes), Observer(clean, settings.head)
    total = len(subject.dataset)
    classes: list[Array] = []
    listener.begin(perturbation.name, total)
    for start in range(0, total, settings.batch):
        stop = min(start + settings.batch, total)
        feeds, labels = subject.feeds(start, stop)
        x = feeds[subject.input.name]
        x_adv = perturbation(Batch(x, labels, start, subject.spec.low, subject.spec.high))
        scored = session.run(feeds, x_adv)
        scores.add(scored.sums, x, x_adv, bootstrap_weights(settings.seed, start, stop))
        observer.add(start, scored.clean)
        found = predicted_classes(settings.head, scored.perturbed) if settings.head else None
        if found is not None:
            classes.append(found)
        listener.advance(stop - start)
    predicted = np.concatenate(classes) if classes else None
    result = _result(subject, perturbation, scores, predicted, clean, settings)
    return result, observer.check()


def _result(
    subject: Subject,
    perturbation: Perturbation,
    scores: Scores,
    predicted: Array | None,
    clean: CleanRun,
    settings: PassSettings,
) -> PerturbationResult:
    flips = None
    if predicted is not None and clean.classes is not None:
        flips = float((predicted != clean.classes).mean())
    l2, linf, relative = scores.input_distributions()
    return PerturbationResult(
        name=perturbation.name,
        kind=perturbation.kind,
        parameters=perturbation.parameters(),
        accuracy=accuracy_of(predicted, subject.dataset.labels),
        flips=flips,
        input_l2=l2,
        input_linf=linf,
        input_relative=relative,
        layers=scores.layer_scores(settings.layers, settings.eta, settings.top_k),
        mvl=scores.mvl(perturbation.name, settings.layers, settings.eta, settings.top_k),
    )
