"""A summary for a pull request, in GitHub's Markdown: verdict, gates, accuracies, vulnerable layers.

GitHub takes 65,536 characters; of a large model the table of all layers is cut, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.formats.markdown_text import code, prose, table
from lsa_onnx.report.text import figure

if TYPE_CHECKING:
    from lsa_onnx.report.document import Accuracy, GateOutcome, PerturbationResult, Report
    from lsa_onnx.report.view import LayerRow

# By this a bot finds the comment that it wrote before.
MARKER = "<!-- lsa-onnx report -->"
MOST_CHARACTERS = 60_000

_RANKED = 10
_LISTED = 30
_COLUMNS = 12
_STATUS = {"passed": "passed", "failed": "**failed**", "known": "known"}


def render(report: Report) -> str:
    """The document; every name and message in it is inert."""
    parts = [*_head(report), *_gates(report), *_warnings(report), *_accuracies(report)]
    parts += [*_ranking(report)]
    foot = _foot(report)
    room = MOST_CHARACTERS - sum(len(line) + 1 for line in [*parts, *foot])
    return "\n".join([*parts, *_layers(report, room), *foot]) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield MARKER
    yield f"## Layer sustainability of {code(report.model.file.path)}"
    yield ""
    yield f"**Verdict:** {prose(report.verdict.headline)}"
    if report.verdict.details:
        yield ""
        yield from _shown([f"- {prose(line)}" for line in report.verdict.details], "- and {} more")


def _gates(report: Report) -> Iterator[str]:
    if not report.gates:
        return
    order = sorted(report.gates, key=lambda gate: gate.status != "failed")
    failed = sum(gate.status == "failed" for gate in report.gates)
    yield from ("", f"### Gates: {failed} of {len(order)} failed", "")
    titles = ("Gate", "Result", "Measured", "Note", "Value")
    yield from table(titles, [_gate(gate) for gate in order[:_LISTED]], numbers=1)
    yield from _more(len(order))


def _gate(gate: GateOutcome) -> list[str]:
    value = text.MISSING if gate.value is None else text.brief(gate.value)
    status, note = _STATUS[gate.status], prose(gate.note or "")
    return [code(gate.expression), status, prose(gate.measured), note, value]


def _warnings(report: Report) -> Iterator[str]:
    if not report.warnings:
        return
    yield from ("", "### Warnings", "")
    lines = [f"- {code(warning.code)}: {prose(warning.message)}" for warning in report.warnings]
    yield from _shown(lines, "- and {} more")


def _accuracies(report: Report) -> Iterator[str]:
    """What was predicted, clean and under each perturbation."""
    yield from ("", "### Predictions", "")
    titles = ("Inputs", "Accuracy", "95 % interval", "Samples", "Changed predictions")
    rows = [["clean", *_accuracy(report.accuracy), text.MISSING]]
    for result in report.perturbations[:_LISTED]:
        flips = text.share(result.flips)
        rows.append([_named(result), *_accuracy(result.accuracy), flips])
    yield from table(titles, rows, numbers=4)
    yield from _more(len(report.perturbations))


def _accuracy(accuracy: Accuracy | None) -> list[str]:
    if accuracy is None:
        return [text.MISSING] * 3
    bounds = text.shares(accuracy.interval)
    return [text.share(accuracy.value), bounds, f"{accuracy.n:,}"]


def _named(result: PerturbationResult) -> str:
    if result.attack is None:
        return code(result.name)
    return f"{code(result.name)}, {result.attack.norm}, eps {text.brief(result.attack.eps)}"


def _ranking(report: Report) -> Iterator[str]:
    """The headline MVL list."""
    rows = sorted(
        (row for row in view.layer_rows(report) if row.rank), key=lambda row: row.rank or 0
    )
    headline = view.headline_result(report)
    if headline is None:
        return
    yield from ("", f"### Most vulnerable layers under {code(headline.name)}", "")
    yield f"The list holds {_rule(report)}."
    if not rows:
        return
    yield ""
    titles = ["#", "Tensor", "Operator", "Layer", "Mean CM", "95 % interval", "Stability"]
    if any(row.times_random is not None for row in rows):
        titles.append("× random")
    cells = [_ranked(row)[: len(titles)] for row in rows[:_RANKED]]
    yield from table(titles, cells, numbers=len(titles) - 3)
    yield from _more(len(rows), _RANKED)


def _rule(report: Report) -> str:
    rule = view.mvl_rule(report.mvl)
    return f"the layers with {rule}" if report.mvl.rule == "eta" else rule


def _ranked(row: LayerRow) -> list[str]:
    score = row.score
    return [
        str(row.rank),
        code(row.info.tensor),
        code(row.info.op, 30),
        str(row.number),
        figure(score.relative_error.mean if score else None),
        text.interval(score.relative_error) if score else text.MISSING,
        text.share(score.stability if score else None, 0),
        figure(row.times_random),
    ]


def _layers(report: Report, room: int) -> list[str]:
    """All layers under all perturbations, as many as fit into ``room`` characters; may be nothing."""
    names = [result.name for result in report.perturbations[:_COLUMNS]]
    rows = view.layer_rows(report)
    if not rows or not names:
        return []
    titles = ["Layer", "Tensor", "Operator", *(code(name, 30) for name in names)]
    cells = [_layer(row, names) for row in rows]
    summary = f"Mean CM of {text.count(len(rows), 'layer')}"
    start = ["", f"<details><summary>{summary}</summary>", ""]
    # Of a line that tells how many are left out, and the end.
    room -= sum(map(len, start)) + 300
    lines = table(titles, cells, numbers=len(names))
    kept = _fitting(lines, room)
    left = len(lines) - len(kept)
    if left >= len(rows):
        return []
    said = [f"\nThe JSON report has the other {text.count(left, 'layer')}."] if left else []
    if len(report.perturbations) > len(names):
        said.append(f"\nThe JSON report has all {len(report.perturbations):,} perturbations.")
    return [*start, *kept, *said, "", "</details>"]


def _layer(row: LayerRow, names: Sequence[str]) -> list[str]:
    listed = "**" if row.rank else ""
    tensor, op = f"{listed}{code(row.info.tensor)}{listed}", code(row.info.op, 30)
    return [str(row.number), tensor, op, *(figure(row.means[name]) for name in names)]


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    kept = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept


def _foot(report: Report) -> list[str]:
    data, run, file = report.data, report.run, report.model.file
    samples = f"{data.samples:,} of {data.available:,} samples of {code(data.source)}"
    tool = f"lsa-onnx {prose(report.tool_version)} on {code(run.device, 30)}"
    facts = f"{samples}, seed {run.seed}; model SHA-256 {code(file.sha256[:16])}; {tool}."
    meaning = (
        "CM = ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖ (Khalooei et al. 2023): how far a layer moves, of its norm."
    )
    return ["", f"{meaning} {facts}"]


def _shown(lines: Sequence[str], rest: str) -> list[str]:
    left = len(lines) - _LISTED
    return [*islice(lines, _LISTED), *([rest.format(f"{left:,}")] if left > 0 else [])]


def _more(count: int, shown: int = _LISTED) -> list[str]:
    return ["", f"and {count - shown:,} more"] if count > shown else []
