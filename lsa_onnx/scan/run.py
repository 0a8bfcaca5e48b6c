"""``scan``: the whole job, from a file name to a report."""

from __future__ import annotations

import time
from pathlib import Path

from lsa_onnx.attacks import Pairs, Perturbation, parse_perturbation
from lsa_onnx.inputs import open_perturbed
from lsa_onnx.prediction import find_head
from lsa_onnx.report.document import ObserverCheck, Report
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scan.assemble import Findings, assemble
from lsa_onnx.scan.clean import require_accuracy, run_clean
from lsa_onnx.scan.instrument import build_instrument
from lsa_onnx.scan.listener import Listener
from lsa_onnx.scan.options import ScanOptions
from lsa_onnx.scan.scoring_pass import PassSettings, score_perturbation
from lsa_onnx.scan.subject import Subject, open_subject


def scan(
    model: str | Path, options: ScanOptions | None = None, listener: Listener | None = None
) -> Report:
    """Measure how far each layer moves under each perturbation, and name the most vulnerable ones.

    Layer Sustainability Analysis, Algorithms 1 and 2 of Khalooei et al. 2023, on an ONNX file.

    Args:
        model: Path of the model.
        options: What to do; by default synthetic inputs, all noises, the paper's layers.
        listener: Told of progress and early results.

    Returns:
        The report. It may hold no scores: its verdict then says why.

    Raises:
        LsaError: Bad input; the subclass carries the exit code.
    """
    options, listener = options or ScanOptions(), listener or Listener()
    started = time.perf_counter()
    perturbations: list[Perturbation] = [
        parse_perturbation(text, options.seed) for text in dict.fromkeys(options.perturbations)
    ]
    device = resolve_device(options.device)
    if device.note:
        listener.message(device.note)
    subject = open_subject(str(model), options)
    if subject.dataset.synthetic:
        listener.message(
            "no --data: inputs are SYNTHETIC, uniform in the declared range; scores are indicative"
        )
    perturbations += _pairs(subject, options)
    instrument = build_instrument(subject, options, device)
    head = find_head(subject.model.proto)
    clean = run_clean(
        subject, head, device, instrument.batch, instrument.plan.fixed_batch == 1, listener
    )
    if clean.accuracy is not None:
        listener.clean_accuracy(clean.accuracy)
    require_accuracy(clean.accuracy, options.expect_accuracy)
    settings = PassSettings(
        head=head,
        layers=instrument.layers,
        sizes=[instrument.plan.sizes[info.tensor] for info in instrument.layers],
        batch=instrument.batch,
        seed=options.seed,
        eta=options.eta,
        top_k=options.top_k,
    )
    passes = [
        score_perturbation(subject, instrument.session, each, clean, settings, listener)
        for each in perturbations
    ]
    listener.end()
    return assemble(
        Findings(
            subject=subject,
            instrument=instrument,
            device=device,
            head=head,
            clean=clean,
            results=[result for result, _ in passes],
            observer=_worst([check for _, check in passes]),
            options=options,
            seconds=time.perf_counter() - started,
        )
    )


def _pairs(subject: Subject, options: ScanOptions) -> list[Perturbation]:
    if options.perturbed is None:
        return []
    pairs = open_perturbed(options.perturbed, subject.dataset)
    return [Pairs(str(options.perturbed), lambda start, stop: pairs.batch(start, stop)[0])]


def _worst(checks: list[ObserverCheck]) -> ObserverCheck:
    """The passes see the same clean samples; should they differ, the larger difference counts."""
    return max(checks, key=lambda check: (check.label_flips or 0, check.max_relative_difference))
