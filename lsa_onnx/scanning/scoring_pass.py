"""One perturbation over all samples: perturb, score, accumulate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks import Attack, Batch, Perturbation
from lsa_onnx.attacks.baseline import equal_norm_noise
from lsa_onnx.executions import joined_layers
from lsa_onnx.measures import Scores, SumsOfSquares
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.report.document import Baseline, LayerInfo, ObserverCheck, PerturbationResult
from lsa_onnx.runtime.scoring import ScoredBatch, ScoringSession
from lsa_onnx.scanning.adversary import Adversary
from lsa_onnx.scanning.clean import CleanRun, accuracy_of, all_classes
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.keeping import Keeper
from lsa_onnx.scanning.ledger import Ledger
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.observer import Observer
from lsa_onnx.scanning.rows import join_rows
from lsa_onnx.scanning.subject import Subject
from lsa_onnx.statistics import bootstrap_weights

Array = NDArray[Any]


@dataclass(frozen=True)
class Bench:
    """What all passes of a scan share.

    Attributes:
        subject: Model and data.
        session: Scores batches.
        clean: What the untouched model says of the clean samples.
        head: How a class is read.
        layers: What is scored.
        sizes: Elements per sample of each layer.
        batch: Samples to read at a time.
        per_run: Samples that a run must have, ``None`` for any number.
        seed: Of the bootstrap and the baselines.
        eta: Cut-off η of Algorithm 1.
        top_k: List the k layers with the largest mean CM instead.
        adversary: What attacks are given of the model.
        deployed: Opens the untouched model, at the first attack.
        keeper: Where adversarial inputs are kept, if anywhere.
        listener: Told of progress.
    """

    subject: Subject
    session: ScoringSession
    clean: CleanRun
    head: Head | None
    layers: list[LayerInfo]
    sizes: list[int]
    batch: int
    per_run: int | None
    seed: int
    eta: float
    top_k: int | None
    adversary: Adversary
    deployed: Callable[[], Deployed]
    keeper: Keeper | None
    listener: Listener


@dataclass(frozen=True)
class Pass:
    """A perturbation's result, how observing changed the clean outputs, and an attack's ledger."""

    result: PerturbationResult
    observer: ObserverCheck
    ledger: Ledger | None


def score_perturbation(bench: Bench, perturbation: Perturbation) -> Pass:
    """Run one perturbation over all samples."""
    subject, total = bench.subject, len(bench.subject.dataset)
    tally = _Tally(bench)
    attacking = _Attacking(bench, perturbation) if isinstance(perturbation, Attack) else None
    bench.listener.begin(perturbation.name, total)
    for start in range(0, total, bench.batch):
        stop = min(start + bench.batch, total)
        feeds, labels = subject.feeds(start, stop)
        if attacking is not None:
            x_adv = attacking.run(start, feeds)
        else:
            x = feeds[subject.input.name]
            x_adv = perturbation(Batch(x, labels, start, subject.spec.low, subject.spec.high))
        tally.add(start, feeds, x_adv)
        bench.listener.advance(stop - start)
    return _finished(bench, perturbation, tally, attacking)


class _Tally:
    """Scores, predictions and the observer check of one series of perturbed inputs."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        bodies = {i: info.body for i, info in enumerate(bench.layers) if info.body is not None}
        self.scores = Scores(bench.sizes, bodies)
        self.observer = Observer(bench.clean, bench.head)
        self._classes: list[NDArray[np.int64] | None] = []

    def add(self, start: int, feeds: Mapping[str, Array], x_adv: Array) -> None:
        """Score the samples from ``start`` on."""
        bench = self._bench
        x = feeds[bench.subject.input.name]
        scored = _scored(bench.session, feeds, x_adv, bench.per_run or len(x))
        weights = bootstrap_weights(bench.seed, start, start + len(x))
        self.scores.add(scored.sums, x, x_adv, weights, scored.executions)
        self.observer.add(start, scored.clean)
        head = bench.head
        self._classes.append(predicted_classes(head, scored.perturbed) if head else None)

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """What the instrumented model says of the perturbed samples, shape (samples,)."""
        return all_classes(self._classes)


class _Attacking:
    """An attack under way: the ledger, and random noise of the same norm beside it."""

    def __init__(self, bench: Bench, attack: Attack) -> None:
        self._bench = bench
        self._attack = attack
        self._noise = _Tally(bench)
        self._model = bench.deployed()
        self.ledger = Ledger(attack, bench.adversary, bench.clean)

    def run(self, start: int, feeds: dict[str, Array]) -> Array:
        """Attack the samples from ``start`` on; success is judged on the untouched model."""
        bench, attack = self._bench, self._attack
        name, spec = bench.subject.input.name, bench.subject.spec
        batch = bench.adversary.batch(attack, start, feeds)
        x_adv = attack(batch)
        predicted = self._model.classes({**feeds, name: x_adv})
        self.ledger.add(batch, predicted)
        if bench.keeper is not None:
            bench.keeper.add(attack.name, batch.positions, x_adv, predicted)
        noise = equal_norm_noise(
            batch.x,
            x_adv,
            attack.norm,
            seed=bench.seed,
            start=start,
            low=spec.low,
            high=spec.high,
        )
        self._noise.add(start, feeds, noise)
        return x_adv

    def baseline(self) -> Baseline:
        """What noise of the same norm did, all samples attacked."""
        bench, classes = self._bench, self._noise.classes
        chosen = self._noise.scores.selection(bench.eta)
        return Baseline(
            name="random signs" if self._attack.norm == "linf" else "a random direction",
            accuracy=accuracy_of(classes, bench.subject.dataset.labels),
            flips=_flips(classes, bench.clean.classes),
            mu=_finite(chosen.mu),
            layers=[_finite(mean) for mean in chosen.means],
        )


def _finished(
    bench: Bench, perturbation: Perturbation, tally: _Tally, attacking: _Attacking | None
) -> Pass:
    classes = tally.classes if attacking is None else attacking.ledger.classes
    l2, linf, relative = tally.scores.input_distributions()
    result = PerturbationResult(
        name=perturbation.name,
        kind=perturbation.kind,
        parameters=perturbation.parameters(),
        accuracy=accuracy_of(classes, bench.subject.dataset.labels),
        flips=_flips(classes, bench.clean.classes),
        input_l2=l2,
        input_linf=linf,
        input_relative=relative,
        layers=tally.scores.layer_scores(bench.layers, bench.eta, bench.top_k),
        mvl=tally.scores.mvl(perturbation.name, bench.layers, bench.eta, bench.top_k),
        attack=attacking.ledger.outcome(attacking.baseline()) if attacking else None,
    )
    ledger = attacking.ledger if attacking else None
    return Pass(result, tally.observer.check(), ledger)


def _flips(classes: Array | None, clean: Array | None) -> float | None:
    """Share of samples whose predicted class changed."""
    if classes is None or clean is None:
        return None
    return float((classes != clean).mean())


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


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
        joined_layers([run.executions for run in runs]),
    )
