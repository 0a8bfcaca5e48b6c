"""An evaluation of one model or of several as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsa_onnx.files import write_atomically
from lsa_onnx.report import html_curves, text
from lsa_onnx.report.facts import Facts, audited
from lsa_onnx.report.figures.drawing import model_names
from lsa_onnx.report.html_curves import Model
from lsa_onnx.report.html_gates import gate_rows
from lsa_onnx.report.html_page import render_page, unbroken
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.evaluation import EvaluationRun
    from lsa_onnx.report.evaluations import Evaluations

_LABELS = {
    "given": "Right is what the labels say.",
    "predicted": "There are no labels: right is what the model itself says of the clean sample.",
}


def render_evaluation_html(found: Evaluations) -> str:
    """The whole page as text, to be stored as UTF-8."""
    names = model_names([each.model.file.path for each in found.evaluations])
    models = [
        Model(visible(name), each) for name, each in zip(names, found.evaluations, strict=True)
    ]
    values = {
        "names": [model.name for model in models],
        "several": len(models) > 1,
        "headline": html_curves.headline(models),
        "judged": " ".join(dict.fromkeys(_LABELS[each.evaluation.labels] for each in models)),
        "tiles": _tiles(models),
        "warnings": _warnings(models),
        "gates": [(model.name, gate_rows(model.evaluation.gates)) for model in models],
        "unit": html_curves.unit(models),
        "scores": html_curves.scores(models),
        "differences": html_curves.differences(found, models),
        "unpaired": html_curves.unpaired(found, models),
        "breaking": html_curves.breakings(models),
        "attacks": html_curves.attacks(models),
        "measured": [(model.name, _measured(model)) for model in models],
        "command": text.command_line(found.command),
        "created": found.created,
        "tool_version": found.tool_version,
        "title": f"{', '.join(model.name for model in models)} – robust accuracy",
    }
    return render_page("evaluation", html_curves.chart(models), values)


def write_evaluation_html(found: Evaluations, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, render_evaluation_html(found).encode("utf-8"))


def _tiles(models: Sequence[Model]) -> list[tuple[str, str, str]]:
    """The figures at the top of the page: label, value, remark."""
    data = models[0].evaluation.data
    shown = [("Samples", f"{data.samples:,}", f"of {data.available:,}")]
    if len(models) > 1:
        return [("Models", f"{len(models):,}", ""), *shown]
    (model,) = models
    clean = model.evaluation.clean
    interval = f"95 % interval {text.shares(clean.interval)}"
    shown.append(("Clean accuracy", text.share(clean.value), interval))
    for summary in model.evaluation.summaries:
        low, high = summary.interval
        remark = f"of {100 * len(summary.eps)}; 95 % interval {low:.1f}–{high:.1f}"
        shown.append((f"R&G under {visible(summary.attack)}", f"{summary.r_and_g:.1f}", remark))
    return [(label, unbroken(value), unbroken(remark)) for label, value, remark in shown]


def _warnings(models: Sequence[Model]) -> list[tuple[str, str, str]]:
    """Code, message, and the model that it is about."""
    return [
        (visible(warning.code), visible(warning.message), model.name)
        for model in models
        for warning in model.evaluation.warnings
    ]


def _measured(model: Model) -> dict[str, Facts]:
    """Labelled facts by topic; every value is safe to show as it is."""
    each = model.evaluation
    return {**audited(each.model, each.input, each.data), "Run": _run(each.run)}


def _run(run: EvaluationRun) -> Facts:
    facts = [("Device", f"{visible(run.device)} ({visible(run.provider)})")]
    if run.device_note:
        facts.append(("Device note", visible(run.device_note)))
    return [
        *facts,
        ("Batch", f"{run.batch:,} samples, {run.batch_mode}: {visible(run.batch_note)}"),
        ("Seed", str(run.seed)),
        ("Restarts", f"{run.restarts:,}, of which the worst counts per sample"),
        ("Threads", str(run.threads) if run.threads else "chosen by ONNX Runtime"),
        ("Duration", f"{run.seconds:.1f} s"),
        ("Versions", f"ONNX Runtime {visible(run.onnxruntime)}, onnx {visible(run.onnx)}"),
        ("Python", f"{visible(run.python)} on {visible(run.platform)}"),
    ]
