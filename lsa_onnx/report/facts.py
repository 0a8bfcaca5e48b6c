"""How a report was measured, as labelled lines: everything that is needed to repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.text import visible
from lsa_onnx.report.view import observer_line

if TYPE_CHECKING:
    from lsa_onnx.report.document import (
        DataSection,
        FileDigest,
        InputSection,
        ModelSection,
        Report,
        RunSection,
    )

Facts = list[tuple[str, str]]

_ONNX_DOMAIN = ("", "ai.onnx")


def measurement(report: Report) -> dict[str, Facts]:
    """Labelled facts by topic; every value is safe to show as it is."""
    return {
        **audited(report.model, report.input, report.data),
        "Run": _run(report.run),
        "Checks": _checks(report),
    }


def audited(model: ModelSection, section: InputSection, data: DataSection) -> dict[str, Facts]:
    """What was audited, and on what: labelled facts by topic, as ``measurement``."""
    return {"Model": _model(model), "Input": _input(section), "Data": _data(data)}


def opsets(model: ModelSection) -> str:
    """The operator set versions, ONNX's own without its name: ``17, com.microsoft 1``."""
    versions = model.opsets.items()
    return ", ".join(
        f"{v}" if name in _ONNX_DOMAIN else f"{visible(name)} {v}" for name, v in versions
    )


def told_file(file: FileDigest) -> str:
    """Path, size and SHA-256."""
    return f"{visible(file.path)} ({text.size(file.size_bytes)}), SHA-256 {visible(file.sha256)}"


def _model(model: ModelSection) -> Facts:
    facts = [("File", told_file(model.file))]
    facts += [("Weights file", told_file(sidecar)) for sidecar in model.sidecars]
    facts += [("Custom operators", told_file(library)) for library in model.custom_ops]
    facts += [
        ("Made by", visible(model.producer) or "not recorded"),
        ("Format", f"ONNX IR {model.ir_version}, opset {opsets(model) or 'none'}"),
        ("Size", f"{model.nodes:,} nodes, {model.parameters:,} parameters"),
    ]
    facts += [("Input", text.described(value)) for value in model.inputs]
    facts += [("Output", text.described(value)) for value in model.outputs]
    logits = "none" if model.logits is None else visible(model.logits)
    return [*facts, ("Logits", f"{logits} ({visible(model.logits_found)})")]


def _input(section: InputSection) -> Facts:
    low, high = section.range
    facts = [
        ("Perturbed input", visible(section.name)),
        ("Value range", f"{text.brief(low)} to {text.brief(high)}: eps is in these units"),
        ("Mean, std", f"{text.numbers(section.mean)}; {text.numbers(section.std)}"),
        ("Layout", visible(section.layout or "none")),
        ("Specified by", section.source),
    ]
    return facts + [("Note", visible(note)) for note in section.notes]


def _data(data: DataSection) -> Facts:
    facts = [
        ("Source", visible(data.source)),
        ("Samples", f"{data.samples:,} of {data.available:,}"),
        ("Labels", "yes" if data.labels else "no"),
        ("Fingerprint", visible(data.fingerprint)),
    ]
    if data.classes is not None:
        facts.insert(3, ("Classes", _classes(data.classes)))
    return facts + [("Note", visible(note)) for note in data.notes]


def _classes(names: list[str], shown: int = 20) -> str:
    listed = ", ".join(visible(name) for name in names[:shown])
    more = f", … ({len(names):,} in all)" if len(names) > shown else ""
    return listed + more


def _run(run: RunSection) -> Facts:
    bound = "none" if run.max_memory_bytes is None else text.size(run.max_memory_bytes)
    device = f"{visible(run.device)} ({visible(run.provider)})"
    facts = [("Device", device)]
    if run.device_note:
        facts.append(("Device note", visible(run.device_note)))
    return [
        *facts,
        ("Batch", f"{run.batch:,} samples, {run.batch_mode}: {visible(run.batch_note)}"),
        ("Engine", visible(run.engine)),
        ("Seed", str(run.seed)),
        ("Threads", str(run.threads) if run.threads else "chosen by ONNX Runtime"),
        ("Extra memory", f"{text.size(run.estimated_memory_bytes)} expected, bound: {bound}"),
        ("Duration", f"{run.seconds:.1f} s"),
        ("Versions", f"ONNX Runtime {visible(run.onnxruntime)}, onnx {visible(run.onnx)}"),
        ("Python", f"{visible(run.python)} on {visible(run.platform)}"),
    ]


def _checks(report: Report) -> Facts:
    facts = [("Observer", observer_line(report))]
    floors = [x.numerical_floor for x in report.layers if x.numerical_floor is not None]
    if floors:
        worst = f"{text.figure(max(floors))} at most: a CM near it is rounding, not movement"
        facts.append(("Rounding", f"batched and single runs differ by {worst}"))
    return facts
