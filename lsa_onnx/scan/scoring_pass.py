"""One perturbation over all samples: perturb, score, accumulate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Batch, Perturbation
from lsa_onnx.measures import Scores, SumsOfSquares
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.report.document import LayerInfo, ObserverCheck, PerturbationResult
from lsa_onnx.runtime.scoring import ScoredBatch, ScoringSession
from lsa_onnx.scan.clean import CleanRun, accuracy_of, all_classes
from lsa_onnx.scan.listener import Listener
from lsa_onnx.scan.observer import Observer
from lsa_onnx.scan.rows import join_rows
from lsa_onnx.scan.subject import Subject
from lsa_onnx.statistics import bootstrap_weights

Array = NDArray[Any]


@dataclass(frozen=True)
class PassSettings:
    """What all passes of a scan share.

    ``sizes`` is elements per sample of each scored layer, ``batch`` samples to read at a time,
    ``per_run`` samples that a run must have (``None``: any number).
    """

    head: Head | None
    layers: list[LayerInfo]
    sizes: list[int]
    batch: int
    per_run: int | None
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
    classes: list[NDArray[np.int64] | None] = []
    listener.begin(perturbation.name, total)
    for start in range(0, total, settings.batch):
        stop = min(start + settings.batch, total)
        feeds, labels = subject.feeds(start, stop)
        x = feeds[subject.input.name]
        x_adv = perturbation(Batch(x, labels, start, subject.spec.low, subject.spec.high))
        scored = _scored(session, feeds, x_adv, settings.per_run or len(x))
        scores.add(scored.sums, x, x_adv, bootstrap_weights(settings.seed, start, stop))
        observer.add(start, scored.clean)
        head = settings.head
        classes.append(predicted_classes(head, scored.perturbed) if head else None)
        listener.advance(stop - start)
    result = _result(subject, perturbation, scores, all_classes(classes), clean, settings)
    return result, observer.check()


def _scored(
    session: ScoringSession, feeds: Mapping[str, Array], x_adv: Array, per_run: int
) -> ScoredBatch:
    """Score n samples in runs of ``per_run``, whose outputs may differ in shape."""
    runs = []
    for start in range(0, len(x_adv), per_run):
        part = slice(start, start + per_run)
        runs.append(session.run({name: x[part] for name, x in feeds.items()}, x_adv[part]))
    sums = [run.sums for run in runs]
    return ScoredBatch(
        SumsOfSquares(
            np.concatenate([part.difference for part in sums]),
            np.concatenate([part.clean for part in sums]),
            np.concatenate([part.perturbed for part in sums]),
        ),
        {name: join_rows([run.clean[name] for run in runs]) for name in runs[0].clean},
        {name: join_rows([run.perturbed[name] for run in runs]) for name in runs[0].perturbed},
    )


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
