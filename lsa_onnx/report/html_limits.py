"""What a report is not, and what the user's own limits found: the banners and the gates of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import GateOutcome, Report
    from lsa_onnx.report.part import Partial, Shard

_SYNTHETIC = (
    "No data was given, so the inputs were random numbers. These figures say nothing about how the "
    "model behaves on real inputs."
)
_GATES = {
    "passed": ("✓", "passed"),
    "failed": ("✗", "failed"),
    "known": ("≈", "known: no worse than the baseline"),
}


def gates(report: Report) -> list[dict[str, str]]:
    """What the user's gates found, the failed ones first."""
    order = ("failed", "known", "passed")
    found = sorted(report.gates, key=lambda gate: order.index(gate.status))
    return [_gate(gate) for gate in found]


def _gate(gate: GateOutcome) -> dict[str, str]:
    sign, words = _GATES[gate.status]
    return {
        "status": gate.status,
        "sign": sign,
        "words": words,
        "expression": visible(gate.expression),
        "measured": visible(gate.measured),
        "value": "undefined" if gate.value is None else text.brief(gate.value),
        "note": visible(gate.note) if gate.note else "",
    }


def banners(report: Report) -> list[tuple[str, str]]:
    """What the report is not: real, whole. Title and sentence."""
    found = []
    if report.data.synthetic:
        found.append(("Synthetic data.", _SYNTHETIC))
    if report.partial is not None:
        found.append(("Not a whole scan.", _cut(report.partial)))
    if report.shard is not None:
        shard = report.shard
        found.append((f"Shard {shard.number:,} of {shard.count:,}.", _part(shard)))
    return found


def _cut(partial: Partial) -> str:
    said = ["It was interrupted."]
    if partial.cut is not None:
        said.append(
            f"{visible(partial.cut)} saw {partial.samples:,} of {partial.wanted:,} samples."
        )
    if partial.missing:
        said.append(f"Not begun: {', '.join(map(visible, partial.missing))}.")
    return " ".join(said)


def _part(shard: Shard) -> str:
    return (
        f"These figures are of samples {shard.start + 1:,} to {shard.stop:,} of {shard.total:,}. "
        "Merge the shards before you compare."
    )
