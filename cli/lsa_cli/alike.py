"""Scans of two models that mean the same by the same numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lsa_onnx.inputs import load_spec
from lsa_onnx.report import Report
from lsa_onnx.scanning import ScanOptions


def as_read(options: ScanOptions, report: Report) -> ScanOptions:
    """The options by which another model's inputs are read as those of a scan were.

    A sidecar belongs to the scanned model alone: what it says is told to the other scan, and what it
    leaves out as well, for another one may lie beside the other file.

    Args:
        options: Of the scan.
        report: What came of it.
    """
    spec = report.input
    return _told(options, spec.range, spec.mean, spec.std, spec.layout)


def as_declared(options: ScanOptions, model: str) -> ScanOptions:
    """Likewise, by what is declared for a model before it is scanned.

    Args:
        options: Of the scan.
        model: The file, beside which a sidecar may lie.

    Raises:
        DataError: The sidecar or a value is not usable.
    """
    spec = load_spec(
        model, range=options.range, mean=options.mean, std=options.std, layout=options.layout
    )
    return _told(options, (spec.low, spec.high), spec.mean, spec.std, spec.layout)


def _told(
    options: ScanOptions,
    range_: tuple[float, float],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    layout: str | None,
) -> ScanOptions:
    return dataclasses.replace(
        options,
        range=range_,
        mean=tuple(mean or ()),
        std=tuple(std or ()),
        layout=layout or "",
    )
