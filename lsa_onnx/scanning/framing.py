"""What the books of a scan begin with: all that is settled before the first sample is scored."""

from __future__ import annotations

import datetime as dt

from lsa_onnx._version import __version__
from lsa_onnx.accounts import Applied, Clean, Frame
from lsa_onnx.attacks import Attack, Perturbation
from lsa_onnx.prediction import Head
from lsa_onnx.runtime.devices import Device
from lsa_onnx.scanning.adversary import Adversary
from lsa_onnx.scanning.clean import CleanRun, class_count, read_as_logit
from lsa_onnx.scanning.describe import data_section, input_section, model_section, run_section
from lsa_onnx.scanning.instrument import Instrument
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.subject import Subject


def applied_by(perturbation: Perturbation, adversary: Adversary) -> Applied:
    """What a report says of a perturbation."""
    return Applied(
        name=perturbation.name,
        kind=perturbation.kind,
        parameters=perturbation.parameters(),
        attack=adversary.facts(perturbation) if isinstance(perturbation, Attack) else None,
    )


def clean_samples(subject: Subject, clean: CleanRun) -> Clean:
    """The clean samples that were run; what a model without classes should say is no label."""
    labels = subject.dataset.labels
    if labels is None or clean.classes is None:
        return Clean(clean.classes, None)
    return Clean(clean.classes, labels[clean.start : clean.start + len(clean.classes)])


def frame_of(
    subject: Subject,
    instrument: Instrument,
    applied: list[Applied],
    clean: CleanRun,
    head: Head | None,
    device: Device,
    options: ScanOptions,
) -> Frame:
    """The frame of a scan that has no doubts yet.

    Args:
        subject: Model and data.
        instrument: What scores.
        applied: What is said of each perturbation.
        clean: What the untouched model says of the clean samples.
        head: How a class is read, ``None`` for models without.
        device: Where it runs.
        options: How to scan.
    """
    plan, attacks = instrument.ground.plan, [each.attack for each in applied if each.attack]
    alone = plan.mode == "native" and subject.layout.leading == 1
    return Frame(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=model_section(subject, head, device, options.decision),
        input=input_section(subject, [each.eps for each in attacks if each.norm == "linf"]),
        data=data_section(subject),
        run=run_section(instrument, device, options),
        layers=instrument.layers,
        sizes=instrument.sizes,
        not_scored=instrument.not_scored,
        applied=applied,
        step=instrument.ground.batch,
        eta=options.eta,
        top_k=options.top_k,
        classes=class_count(head, clean),
        logit=read_as_logit(head),
        doubts=[],
        batch_note=plan.note if alone else None,
        compared=clean.kept,
        repeatable=clean.repeatable,
        expect_accuracy=options.expect_accuracy,
    )
