"""What a report says of model, input, samples and run."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

import onnx
import onnxruntime as ort

from lsa_onnx.model import digest
from lsa_onnx.prediction import Decision, Head, binary_advice
from lsa_onnx.report.document import DataSection, InputSection, ModelSection, RunSection
from lsa_onnx.runtime.devices import Device, thread_count
from lsa_onnx.scanning.instrument import Instrument, Running
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.subject import Subject


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


def run_section(instrument: Instrument, device: Device, options: ScanOptions) -> RunSection:
    """How a scan was run; how long that took is not known yet."""
    ground = instrument.ground
    return RunSection(
        **environment(device, ground),
        seed=options.seed,
        engine=instrument.session.engine,
        max_memory_bytes=options.max_memory_bytes,
        estimated_memory_bytes=ground.estimated_bytes,
        seconds=0.0,
        command=list(options.command),
    )
