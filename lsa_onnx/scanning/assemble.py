"""Put the findings of a scan into a report."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import onnx
import onnxruntime as ort

from lsa_onnx._version import __version__
from lsa_onnx.model import digest
from lsa_onnx.prediction import Decision, Head, binary_advice
from lsa_onnx.report.document import (
    DataSection,
    InputSection,
    ModelSection,
    ObserverCheck,
    PerturbationResult,
    Report,
    ReportWarning,
    RunSection,
)
from lsa_onnx.runtime.devices import Device, thread_count
from lsa_onnx.scanning.attack_checks import Attempt
from lsa_onnx.scanning.cautions import Evidence, cautions
from lsa_onnx.scanning.clean import CleanRun, class_count
from lsa_onnx.scanning.instrument import Instrument, Running
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.scoring_pass import Pass
from lsa_onnx.scanning.subject import Subject
from lsa_onnx.scanning.verdict import headline, no_list, verdict


@dataclass(frozen=True)
class Findings:
    """All that a scan found out."""

    subject: Subject
    instrument: Instrument
    device: Device
    head: Head | None
    clean: CleanRun
    passes: list[Pass]
    doubts: list[ReportWarning]
    observer: ObserverCheck
    options: ScanOptions
    seconds: float

    @property
    def results(self) -> list[PerturbationResult]:
        """Of all perturbations."""
        return [each.result for each in self.passes]


def assemble(findings: Findings) -> Report:
    """The report of a finished scan."""
    f = findings
    mvl = (
        headline(f.results).mvl
        if f.results and f.instrument.layers
        else no_list(f.options.eta, f.options.top_k)
    )
    data = data_section(f.subject)
    plan = f.instrument.ground.plan
    evidence = Evidence(
        data=data,
        accuracy=f.clean.accuracy,
        classes=class_count(f.head, f.clean),
        layers=f.instrument.layers,
        results=f.results,
        mvl=mvl,
        observer=f.observer,
        batch_note=plan.note if plan.mode == "native" and f.subject.layout.leading == 1 else None,
        attempts=_attempts(f),
        doubts=f.doubts,
        repeatable=f.clean.repeatable,
    )
    return Report(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        model=model_section(f.subject, f.head, f.device, f.options.decision),
        input=input_section(f.subject, _linf(f)),
        data=data,
        run=_run_section(f),
        accuracy=f.clean.accuracy,
        layers=f.instrument.layers,
        not_scored=f.instrument.not_scored,
        perturbations=f.results,
        mvl=mvl,
        observer=f.observer,
        verdict=verdict(f.instrument.layers, f.results, mvl, f.clean.accuracy),
        warnings=cautions(evidence),
    )


def _linf(f: Findings) -> list[float]:
    attacks = [result.attack for result in f.results if result.attack is not None]
    return [attack.eps for attack in attacks if attack.norm == "linf"]


def _attempts(f: Findings) -> list[Attempt]:
    """The attacks of the scan that fought labels."""
    found = []
    for each in f.passes:
        attack = each.result.attack
        if attack is None or each.ledger is None:
            continue
        success, n = attack.success, len(f.subject.dataset)
        found.append(
            Attempt(
                name=each.result.name,
                algorithm=each.result.parameters["algorithm"],
                norm=attack.norm,
                eps=attack.eps,
                white_box=attack.white_box,
                right=success.n if success else 0,
                broken=round(success.value * success.n) if success else 0,
                n=n,
                noise_flips=attack.baseline.flips if attack.baseline else None,
                flips=each.result.flips,
                saturated=each.ledger.saturated,
                flat=each.ledger.flat,
            )
        )
    return found


def model_section(
    subject: Subject, head: Head | None, device: Device, decision: Decision = "max"
) -> ModelSection:
    """What a report says of the model, whose class was to be read as ``decision`` says."""
    model, proto = subject.loaded, subject.loaded.proto
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    return ModelSection(
        file=model.file,
        sidecars=list(model.sidecars),
        ir_version=proto.ir_version,
        opsets={entry.domain: entry.version for entry in proto.opset_import},
        producer=producer,
        nodes=len(proto.graph.node),
        parameters=model.parameters,
        inputs=model.inputs,
        outputs=model.outputs,
        logits=head.logits if head else None,
        logits_found=how_read(subject, head, decision),
        custom_ops=[digest(library) for library in device.libraries],
    )


def how_read(subject: Subject, head: Head | None, decision: Decision) -> str:
    """How a class is read, or why none is."""
    if head is not None:
        return head.found
    if decision == "none":
        return "none is read: --decision none"
    advice = binary_advice(subject.model).removesuffix("; ")
    return "; ".join(["no output with one score per class", *filter(None, [advice])])


def input_section(subject: Subject, eps: Iterable[float] = ()) -> InputSection:
    """What a report says of the input that is perturbed.

    Args:
        subject: Model and data.
        eps: How far linf attacks may go, in units of the declared range.
    """
    spec = subject.spec
    notes = [*filter(None, [subject.layout.told]), *subject.notes]
    notes += [f"{value.name!r} is held, not perturbed" for value in subject.held]
    if not spec.is_identity:
        notes.append("normalisation is part of the scanned graph; strengths are in the range above")
        notes += [_effective(subject, each) for each in dict.fromkeys(eps) if each > 0]
    return InputSection(
        name=subject.input.name,
        range=(spec.low, spec.high),
        mean=list(spec.mean) if spec.mean else None,
        std=list(spec.std) if spec.std else None,
        layout=spec.layout,
        source=spec.source,
        notes=notes,
    )


def _effective(subject: Subject, eps: float) -> str:
    """What ``eps`` comes to behind the normalisation: what other tools would have to be given."""
    own = ", ".join(f"{eps * abs(scale):.3g}" for scale in subject.scale.ravel())
    return f"eps {eps:g} is {own} in the units that the model itself takes, by channel"


def data_section(subject: Subject) -> DataSection:
    """What a report says of the samples."""
    dataset = subject.dataset
    return DataSection(
        source=dataset.source,
        synthetic=dataset.synthetic,
        fingerprint=dataset.fingerprint,
        available=dataset.available,
        samples=len(dataset),
        labels=dataset.labels is not None,
        classes=dataset.classes,
        notes=dataset.notes,
    )


def environment(device: Device, running: Running) -> dict[str, Any]:
    """The fields that every report has on where and in which batches it ran."""
    plan = running.plan
    return {
        "device": device.name,
        "provider": device.provider,
        "device_note": device.note,
        "onnxruntime": ort.__version__,
        "onnx": onnx.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": thread_count(),
        "batch": plan.fixed_batch or running.batch,
        "batch_mode": plan.mode,
        "batch_note": plan.note,
    }


def _run_section(f: Findings) -> RunSection:
    return RunSection(
        **environment(f.device, f.instrument.ground),
        seed=f.options.seed,
        engine=f.instrument.session.engine,
        max_memory_bytes=f.options.max_memory_bytes,
        estimated_memory_bytes=f.instrument.ground.estimated_bytes,
        seconds=f.seconds,
        command=list(f.options.command),
    )
