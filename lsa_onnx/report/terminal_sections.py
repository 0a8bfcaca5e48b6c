"""What the terminal views of all documents share: what was audited, how it was run, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.facts import opsets
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import RunSection
    from lsa_onnx.report.evaluation import EvaluationRun
    from lsa_onnx.report.sections import DataSection, InputSection, ModelSection, ReportWarning
    from lsa_onnx.report.terminal_paint import Painter


def print_sections(sections: Mapping[str, Iterable[str]], paint: Painter) -> None:
    """Print one line per section: its label, and its parts but for empty ones."""
    grid = paint.grid()
    for label, parts in sections.items():
        grid.add_row(paint.text(label, "bold"), paint.text(" · ".join(filter(None, parts))))
    paint.print(grid)
    paint.line()


def print_warnings(warnings: Iterable[ReportWarning], paint: Painter, subject: str = "") -> None:
    """Print one paragraph per warning, with the name of its ``subject`` where there are several."""
    of = f"{subject}: " if subject else ""
    lines = [f"{of}{visible(warning.code)}: {visible(warning.message)}" for warning in warnings]
    for content in lines:
        line = paint.text("Warning ", "bold yellow")
        line.append_text(paint.text(content))
        paint.print(line)
    if lines:
        paint.line()


def audited_parts(
    model: ModelSection, data: DataSection, section: InputSection
) -> dict[str, list[str]]:
    """The sections that say what was audited."""
    return {"Model": _model(model), "Data": _data(data), "Input": _input(section)}


def run_parts(run: RunSection | EvaluationRun) -> list[str]:
    """How it was run."""
    return [
        visible(run.device),
        f"ONNX Runtime {visible(run.onnxruntime)}",
        f"batch {run.batch:,} ({run.batch_mode})",
        f"seed {run.seed}",
        f"{run.seconds:.1f} s",
        visible(run.device_note or ""),
    ]


def _model(model: ModelSection) -> list[str]:
    return [
        visible(model.file.path),
        f"{model.nodes:,} nodes",
        f"{model.parameters:,} parameters",
        f"opset {opsets(model)}",
        f"SHA-256 {visible(model.file.sha256[:12])}…",
    ]


def _data(data: DataSection) -> list[str]:
    count = f"{data.samples:,} of {data.available:,} samples"
    return [visible(data.source), count, "labels" if data.labels else "no labels"]


def _input(section: InputSection) -> list[str]:
    low, high = section.range
    return [
        visible(section.name),
        f"range {text.brief(low)} to {text.brief(high)}",
        f"mean {text.numbers(section.mean)}" if section.mean else "",
        f"std {text.numbers(section.std)}" if section.std else "",
        visible(section.layout or ""),
        f"from {section.source}",
        *map(visible, section.notes),
    ]
