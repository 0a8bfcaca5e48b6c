"""``evaluate``: from a file name to robust accuracy by attack and strength."""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lsa_onnx._version import __version__
from lsa_onnx.accounts.cautions import one_class_doubts
from lsa_onnx.accounts.shares import require_accuracy, share_of
from lsa_onnx.attacks import Attack
from lsa_onnx.errors import EvaluationInterrupted, ModelError
from lsa_onnx.evaluation.attacking import Bench, Outcome, attacked
from lsa_onnx.evaluation.cautions import evaluation_cautions
from lsa_onnx.evaluation.gathering import attacked_at_once
from lsa_onnx.evaluation.strengths import Series, attack_series
from lsa_onnx.evaluation.summaries import summarised
from lsa_onnx.prediction import Head, required_head
from lsa_onnx.report.conditions import Conditions, dose
from lsa_onnx.report.document import Partial
from lsa_onnx.report.evaluation import AttackSummary, Evaluation, EvaluationRun
from lsa_onnx.runtime.devices import Device, resolve_device
from lsa_onnx.scanning.adversary import open_adversary
from lsa_onnx.scanning.choosing import attack_doubts
from lsa_onnx.scanning.clean import (
    declared_classes,
    read_as_logit,
    require_known_labels,
    run_clean,
)
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.describe import data_section, environment, input_section, model_section
from lsa_onnx.scanning.instrument import Running, lay_batches
from lsa_onnx.scanning.keeping import open_keeper
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.options import EvaluationOptions
from lsa_onnx.scanning.planned import conditions_under
from lsa_onnx.scanning.promotion import announce_promotion
from lsa_onnx.scanning.subject import Subject, open_subject

_NO_ACCURACY = "there is no accuracy to measure"
_ANY_KIND = "`lsa-onnx scan` attacks models of any kind"


def evaluate(
    model: str | Path, options: EvaluationOptions | None = None, listener: Listener | None = None
) -> Evaluation:
    """Attack a model at several strengths and count what it still gets right.

    Success is judged on the untouched model. Without labels, the model's own clean predictions are
    what must not change.

    Args:
        model: Path of the model, which must predict classes.
        options: What to do; PGD at 0, 2, 4 and 8/255 of the range by default.
        listener: Told of progress and early results.

    Raises:
        LsaError: Bad input; the subclass carries the exit code.
        EvaluationInterrupted: ``KeyboardInterrupt`` came when an attack was done at some strength; it has
            the evaluation of what was done.
    """
    options, listener = options or EvaluationOptions(), listener or Listener()
    started = time.perf_counter()
    device = resolve_device(options.device, options.libraries)
    subject = open_subject(str(model), options)
    attacks = attack_series(options, subject.spec.low, subject.spec.high)
    strongest = [series[-1][0] for series in attacks]
    head = required_head(subject.model, options.decision, _NO_ACCURACY, _ANY_KIND)
    classes = declared_classes(subject, head)
    if subject.dataset.labels is not None and classes is not None:
        require_known_labels(subject.dataset.labels, classes)
    running = lay_batches(subject, options, device)
    bench = _bench(subject, running, head, device, options, strongest, listener)
    for attack in strongest:
        bench.adversary.prepare(attack)
    listener.planned(_conditions(subject, attacks))
    # Nothing is said before all that was given proved usable: an error is then the only line there is.
    _announce(bench, device, listener)
    require_accuracy(bench.clean.accuracy, options.expect_accuracy)
    outcomes: list[list[Outcome]] = []
    document = partial(_document, bench, running, head, device, options, attacks, outcomes, started)
    try:
        for series in attacks:
            outcomes.append([])
            outcomes[-1].extend(attacked(bench, series))
    except KeyboardInterrupt as interrupt:
        missing = _missing(attacks, outcomes, len(subject.dataset))
        if missing is None:
            raise
        raise EvaluationInterrupted(document(missing)) from interrupt
    listener.end()
    if bench.keeper is not None:
        bench.keeper.save()
    return document()


def _missing(
    attacks: Sequence[Series], outcomes: Sequence[Sequence[Outcome]], samples: int
) -> Partial | None:
    """What an interrupted evaluation did not come to; ``None`` where no attack was done at all."""
    done = {
        (id(a), at) for a, found in zip(attacks, outcomes, strict=False) for at in range(len(found))
    }
    if not any(each.record.eps > 0 for found in outcomes for each in found):
        return None
    missing = [
        f"{attack.name.partition('=')[0]} at eps {strength.text}"
        for series in attacks
        for at, (attack, strength) in enumerate(series)
        if (id(series), at) not in done
    ]
    return Partial("interrupted", None, 0, samples, missing)


def _conditions(subject: Subject, attacks: Sequence[Series]) -> Conditions:
    """What is planned: every attack at every strength."""
    doses = [
        dose(attack.name, attack.kind, attack.parameters(), strength.eps)
        for series in attacks
        for attack, strength in series
    ]
    return conditions_under("evaluation", subject, doses, ())


def require_evaluable(model: str | Path, options: EvaluationOptions) -> None:
    """Refuse a model that ``evaluate`` would refuse, without a run of it.

    Raises:
        LsaError: The model cannot be opened, the samples do not fit it, or it predicts no classes.
    """
    subject = open_subject(str(model), options)
    required_head(subject.model, options.decision, _NO_ACCURACY, _ANY_KIND)


def _announce(bench: Bench, device: Device, listener: Listener) -> None:
    if device.note:
        listener.message(device.note)
    announce_promotion(bench.subject, listener)
    if bench.subject.dataset.labels is None:
        listener.message("no labels: the model's own clean predictions are what must not change")
    if bench.clean.accuracy is not None:
        listener.clean_accuracy(bench.clean.accuracy)


def _bench(
    subject: Subject,
    running: Running,
    head: Head,
    device: Device,
    options: EvaluationOptions,
    strongest: Sequence[Attack],
    listener: Listener,
) -> Bench:
    alone = running.plan.fixed_batch == 1
    clean = run_clean(subject, head, device, running.batch, one_by_one=alone, listener=listener)
    classes = clean.classes
    if classes is None:
        raise ModelError(
            f"output {head.output!r} of {str(subject.model.path)!r} does not hold one class per "
            "sample, so there is no accuracy to measure"
        )
    adversary = open_adversary(subject, running.plan, head, clean, running.probe, device, options)
    return Bench(
        subject=subject,
        adversary=adversary,
        clean=clean,
        classes=classes,
        deployed=Deployed(subject, head, device, one_by_one=alone),
        batch=running.batch,
        at_once=_at_once(subject, running, options),
        keeper=open_keeper(subject, options.save_adversarial, strongest),
        listener=listener,
    )


def _at_once(subject: Subject, running: Running, options: EvaluationOptions) -> int:
    """How many samples an attack works on together; what bounds a run bounds it, too."""
    if options.batch is not None or options.max_memory_bytes is not None:
        return running.batch
    elements = math.prod(subject.dataset.sample_shape)
    return attacked_at_once(elements * subject.dtype.itemsize, running.batch)


def _document(
    bench: Bench,
    running: Running,
    head: Head,
    device: Device,
    options: EvaluationOptions,
    attacks: Sequence[Series],
    outcomes: Sequence[Sequence[Outcome]],
    started: float,
    missing: Partial | None = None,
) -> Evaluation:
    subject, data = bench.subject, data_section(bench.subject)
    labels = bench.labels
    clean = share_of(int((bench.classes == labels).sum()), len(labels))
    series = [[each.attempt for each in attack] for attack in outcomes]
    strongest = [each[-1][0] for each in attacks]
    return Evaluation(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=model_section(subject, head, device),
        input=input_section(subject, _linf(outcomes)),
        data=data,
        run=EvaluationRun(
            **environment(device, running),
            seed=options.seed,
            restarts=options.restarts,
            seconds=time.perf_counter() - started,
            command=list(options.command),
        ),
        labels="given" if subject.dataset.labels is not None else "predicted",
        clean=clean,
        clean_accuracy=clean.value,
        results=[each.record for attack in outcomes for each in attack],
        summaries=_summaries(outcomes, len(attacks[0]), options.seed),
        warnings=evaluation_cautions(
            data=data,
            accuracy=bench.clean.accuracy,
            classes=bench.adversary.classes,
            width=subject.spec.width,
            series=series,
            doubts=[
                *one_class_doubts(read_as_logit(head), bench.classes),
                *attack_doubts(strongest, bench.adversary),
            ],
            repeatable=bench.clean.repeatable,
            partial=missing,
        ),
        partial=missing,
    )


def _summaries(
    outcomes: Sequence[Sequence[Outcome]], strengths: int, seed: int
) -> list[AttackSummary]:
    """One per attack that met all strengths; without the clean accuracy there is none."""
    return [
        summarised([each.record for each in series], [each.right for each in series], seed)
        for series in outcomes
        if len(series) == strengths and series[0].record.eps == 0
    ]


def _linf(outcomes: Sequence[Sequence[Outcome]]) -> list[float]:
    records = [each.record for attack in outcomes for each in attack]
    return [record.eps for record in records if record.norm == "linf"]
