"""The report that the closed accounts of a scan make."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from lsa_onnx.accounts.account import Entry
from lsa_onnx.accounts.cautions import Evidence, cautions, one_class_doubts
from lsa_onnx.accounts.examples import shown
from lsa_onnx.accounts.frame import Frame
from lsa_onnx.accounts.records import Clean
from lsa_onnx.accounts.shares import accuracy_of
from lsa_onnx.accounts.verdict import headline, no_list, verdict
from lsa_onnx.report.document import (
    DataSection,
    Example,
    ObserverCheck,
    Partial,
    Report,
    Shard,
)


@dataclass(frozen=True)
class Extent:
    """Which part of a whole scan the accounts are of, and how long it took."""

    seconds: float
    shard: Shard | None = None
    partial: Partial | None = None


def balance(
    frame: Frame,
    entries: Sequence[Entry],
    clean: Clean,
    extent: Extent,
    examples: Sequence[Example] = (),
) -> Report:
    """The report.

    Args:
        frame: Of the scan.
        entries: The closed accounts, at least one.
        clean: All samples that were run.
        extent: Which part of them was scored.
        examples: The inputs that changed to most effect, for the perturbations of all entries.
    """
    results = [entry.result for entry in entries]
    mvl = headline(results).mvl if frame.layers else no_list(frame.eta, frame.top_k)
    data = _data(frame.data, extent.shard)
    accuracy = accuracy_of(clean.classes, clean.labels)
    observer = _worst([entry.observer for entry in entries])
    evidence = Evidence(
        data=data,
        accuracy=accuracy,
        classes=frame.classes,
        layers=frame.layers,
        results=results,
        mvl=mvl,
        observer=observer,
        batch_note=frame.batch_note,
        attempts=[entry.attempt for entry in entries if entry.attempt is not None],
        doubts=[*one_class_doubts(frame.logit, clean.classes), *frame.doubts],
        repeatable=frame.repeatable,
        partial=extent.partial,
    )
    return Report(
        tool_version=frame.tool_version,
        created=frame.created,
        model=frame.model,
        input=frame.input,
        data=data,
        run=dataclasses.replace(frame.run, seconds=extent.seconds),
        accuracy=accuracy,
        layers=frame.layers,
        not_scored=frame.not_scored,
        perturbations=results,
        mvl=mvl,
        observer=observer,
        verdict=verdict(frame.layers, results, mvl, accuracy),
        warnings=cautions(evidence),
        examples=shown(examples, headline(results).name),
        partial=extent.partial,
        shard=extent.shard,
    )


def _data(data: DataSection, shard: Shard | None) -> DataSection:
    """What the report says of the samples: of those of its shard."""
    if shard is None:
        return data
    return dataclasses.replace(data, samples=shard.stop - shard.start)


def _worst(checks: Sequence[ObserverCheck]) -> ObserverCheck:
    """The passes see the same clean samples; should they differ, the larger difference counts."""
    return max(checks, key=lambda check: (check.label_flips or 0, check.max_relative_difference))
