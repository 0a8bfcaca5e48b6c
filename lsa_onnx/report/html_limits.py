"""What a report is not: the banners of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Report
    from lsa_onnx.report.part import Partial, Shard

_SYNTHETIC = (
    "No data was given, so the inputs were random numbers. These figures say nothing about how the "
    "model behaves on real inputs."
)


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
