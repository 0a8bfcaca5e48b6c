"""One perturbation over samples: perturb, score, and write down what the runtime returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.accounts import AttackRecord, Record, Series
from lsa_onnx.attacks import Attack, Batch, Perturbation
from lsa_onnx.attacks.baseline import equal_norm_noise
from lsa_onnx.executions import joined_layers
from lsa_onnx.measures import SumsOfSquares, input_change
from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.runtime.scoring import ScoredBatch, ScoringSession
from lsa_onnx.scanning.adversary import Adversary
from lsa_onnx.scanning.clean import CleanRun
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.gallery import Gallery
from lsa_onnx.scanning.keeping import Keeper
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.observer import observed
from lsa_onnx.scanning.rows import join_rows
from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]


@dataclass(frozen=True)
class Bench:
    """What all passes of a scan share.

    Attributes:
        subject: Model and data.
        session: Scores batches.
        clean: What the untouched model says of the clean samples.
        head: How a class is read.
        batch: Samples to read at a time.
        per_run: Samples that a run must have, ``None`` for any number.
        seed: Of the noise that attacks are compared with.
        adversary: What attacks are given of the model.
        deployed: Opens the untouched model, at the first attack.
        keeper: Where adversarial inputs are kept, if anywhere.
        gallery: Where pictures are kept, if the inputs are images.
        listener: Told of progress.
    """

    subject: Subject
    session: ScoringSession
    clean: CleanRun
    head: Head | None
    batch: int
    per_run: int | None
    seed: int
    adversary: Adversary
    deployed: Callable[[], Deployed]
    keeper: Keeper | None
    gallery: Gallery | None
    listener: Listener


def measured(bench: Bench, perturbation: Perturbation, span: range) -> Iterator[Record]:
    """What the runtime returns of the samples at the positions in ``span``, a batch at a time."""
    subject = bench.subject
    for start in span[:: bench.batch]:
        stop = min(start + bench.batch, span.stop)
        feeds, labels = subject.feeds(start, stop)
        yield _record(bench, perturbation, start, feeds, labels)
        bench.listener.advance(stop - start)


def _record(
    bench: Bench,
    perturbation: Perturbation,
    start: int,
    feeds: dict[str, Array],
    labels: Array | None,
) -> Record:
    x, spec = feeds[bench.subject.input.name], bench.subject.spec
    attack = None
    if isinstance(perturbation, Attack):
        x_adv, attack = _attacked(bench, perturbation, start, feeds)
    else:
        x_adv = perturbation(Batch(x, labels, start, spec.low, spec.high))
    series, outputs = _series(bench, feeds, x_adv)
    record = Record(start, series, observed(bench.clean, bench.head, start, outputs), attack)
    if bench.gallery is not None:
        bench.gallery.offer(perturbation.name, record, x, x_adv)
    return record


def _series(
    bench: Bench, feeds: Mapping[str, Array], x_adv: Array
) -> tuple[Series, dict[str, Array]]:
    """Scores and predictions under the change to ``x_adv``; also the outputs for clean inputs."""
    x = feeds[bench.subject.input.name]
    scored = _scored(bench.session, feeds, x_adv, bench.per_run or len(x))
    classes = predicted_classes(bench.head, scored.perturbed) if bench.head else None
    series = Series(scored.sums, input_change(x, x_adv), classes, scored.executions)
    return series, scored.clean


def _attacked(
    bench: Bench, attack: Attack, start: int, feeds: dict[str, Array]
) -> tuple[Array, AttackRecord]:
    """What the attack made, and what became of it; success is judged on the untouched model.

    Beside it, what random noise of the same norm does: what an attack does beyond that is due to its
    direction and not to its size.
    """
    spec = bench.subject.spec
    batch = bench.adversary.batch(attack, start, feeds)
    x_adv = attack(batch)
    predicted = bench.deployed().classes({**feeds, bench.subject.input.name: x_adv})
    diagnosis = bench.adversary.diagnose(attack, batch)
    if bench.keeper is not None:
        bench.keeper.add(attack.name, batch.positions, x_adv, predicted)
    noise = equal_norm_noise(
        batch.x, x_adv, attack.norm, seed=bench.seed, start=start, low=spec.low, high=spec.high
    )
    series, _ = _series(bench, feeds, noise)
    return x_adv, AttackRecord(series, predicted, diagnosis.saturated, diagnosis.flat)


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
