"""``scan``: the whole job, from a file name to a report."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from pathlib import Path

from lsa_onnx.accounts.shares import require_accuracy
from lsa_onnx.accounts.store import part_of
from lsa_onnx.attacks import Pairs, Perturbation
from lsa_onnx.errors import ScanInterrupted
from lsa_onnx.inputs import open_perturbed
from lsa_onnx.prediction import Head, model_head
from lsa_onnx.report.document import Report
from lsa_onnx.runtime.devices import Device, resolve_device
from lsa_onnx.runtime.memory import give_back_memory
from lsa_onnx.scanning.adversary import Adversary, open_adversary
from lsa_onnx.scanning.books import Books
from lsa_onnx.scanning.choosing import choose_perturbations
from lsa_onnx.scanning.clean import CleanRun, declared_classes, require_known_labels, run_clean
from lsa_onnx.scanning.deployed import Deployed
from lsa_onnx.scanning.framing import applied_by, clean_samples, frame_of
from lsa_onnx.scanning.gallery import open_gallery
from lsa_onnx.scanning.instrument import Instrument, build_instrument, lay_groundwork
from lsa_onnx.scanning.keeping import Keeper, open_keeper
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.planned import conditions
from lsa_onnx.scanning.promotion import announce_promotion
from lsa_onnx.scanning.scoring_pass import Bench
from lsa_onnx.scanning.subject import Subject, open_subject


def scan(
    model: str | Path, options: ScanOptions | None = None, listener: Listener | None = None
) -> Report:
    """Measure how far each layer moves under each perturbation, and name the most vulnerable ones.

    Layer Sustainability Analysis, Algorithms 1 and 2 of Khalooei et al. 2023, on an ONNX file.

    Args:
        model: Path of the model.
        options: What to do; by default synthetic inputs, all noises, FGSM and PGD, the paper's layers.
        listener: Told of progress and early results.

    Returns:
        The report. It may hold no scores: its verdict then says why.

    Raises:
        LsaError: Bad input; the subclass carries the exit code.
        ScanInterrupted: ``KeyboardInterrupt`` came when some samples were scored; it has their report.
    """
    options, listener = options or ScanOptions(), listener or Listener()
    started = time.perf_counter()
    device = resolve_device(options.device, options.libraries)
    subject = open_subject(str(model), options)
    asked = options.made_perturbations(subject.spec.low, subject.spec.high)
    head = model_head(subject.model, options.decision)
    _check_labels(subject, head, options)
    ground = lay_groundwork(subject, options, device)
    pairs = _pairs(subject, options)
    part = part_of(len(subject.dataset), ground.batch, options.shard)
    span = range(part.start, part.stop)
    clean = run_clean(
        subject,
        head,
        device,
        ground.batch,
        one_by_one=ground.plan.fixed_batch == 1,
        listener=listener,
        span=span,
    )
    # The plain session is gone before the scoring one comes: their weights never add up.
    give_back_memory()
    adversary = open_adversary(subject, ground.attacked, head, clean, ground.probe, device, options)
    chosen = choose_perturbations(asked, adversary, options)
    keeper = open_keeper(subject, options.save_adversarial, chosen.attacks, span)
    perturbations = [*chosen.perturbations, *pairs]
    listener.planned(conditions(subject, perturbations, ground.chosen.layers))
    # Nothing is said before all that was given proved usable: an error is then the only line there is.
    _announce(subject, device, clean, listener)
    if options.shard is None:
        require_accuracy(clean.accuracy, options.expect_accuracy)
    instrument = build_instrument(subject, ground, device)
    applied = [applied_by(each, adversary) for each in perturbations]
    frame = frame_of(subject, instrument, applied, clean, head, device, options)
    books = Books(
        frame=dataclasses.replace(frame, doubts=chosen.doubts),
        clean=clean_samples(subject, clean),
        part=part,
        bench=_bench(
            subject, instrument, clean, head, adversary, keeper, device, options, listener
        ),
        started=started,
        sharded=options.shard is not None,
    )
    _keep(books, perturbations, options.records)
    if keeper is not None:
        keeper.save()
    listener.end()
    return books.report(options.records)


def _keep(books: Books, perturbations: Sequence[Perturbation], records: Path | None) -> None:
    """Measure everything. An interrupt takes along the report of what was entered before it."""
    try:
        books.keep(perturbations, records)
    except KeyboardInterrupt as interrupt:
        report = books.report_so_far()
        if report is None:
            raise
        raise ScanInterrupted(report) from interrupt


def _announce(subject: Subject, device: Device, clean: CleanRun, listener: Listener) -> None:
    if device.note:
        listener.message(device.note)
    announce_promotion(subject, listener)
    if subject.dataset.synthetic:
        kind = subject.dataset.source.removeprefix("synthetic ")
        listener.message(f"no --data: inputs are SYNTHETIC {kind}; scores are indicative")
    if clean.accuracy is not None:
        listener.clean_accuracy(clean.accuracy)
    if clean.classes is not None:
        listener.predicted(clean.classes)


def _check_labels(subject: Subject, head: Head | None, options: ScanOptions) -> None:
    if subject.dataset.labels is None or head is None:
        require_accuracy(None, options.expect_accuracy)
    classes = declared_classes(subject, head)
    if subject.dataset.labels is not None and classes is not None:
        require_known_labels(subject.dataset.labels, classes)


def _bench(
    subject: Subject,
    instrument: Instrument,
    clean: CleanRun,
    head: Head | None,
    adversary: Adversary,
    keeper: Keeper | None,
    device: Device,
    options: ScanOptions,
    listener: Listener,
) -> Bench:
    plan = instrument.ground.plan

    @functools.cache
    def deployed() -> Deployed:
        return Deployed(subject, head, device, one_by_one=plan.fixed_batch == 1)

    return Bench(
        subject=subject,
        session=instrument.session,
        clean=clean,
        head=head,
        batch=instrument.ground.batch,
        per_run=plan.fixed_batch,
        seed=options.seed,
        adversary=adversary,
        deployed=deployed,
        keeper=keeper,
        gallery=open_gallery(subject, clean, wanted=options.pictures),
        listener=listener,
    )


def _pairs(subject: Subject, options: ScanOptions) -> list[Perturbation]:
    if options.perturbed is None:
        return []
    pairs = open_perturbed(options.perturbed, subject.dataset)
    return [Pairs(str(options.perturbed), lambda start, stop: pairs.batch(start, stop)[0])]
