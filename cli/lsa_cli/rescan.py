"""Scans around a hardening: of the model, and of both files on samples that training never saw."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lsa_cli.alike import as_read
from lsa_onnx.report import Hardening, Report
from lsa_onnx.report.text import MISSING, figure, visible
from lsa_onnx.scanning import Listener, ScanOptions, scan
from lsa_trainer.folder import LABELS, OTHER_LABELS, VERIFICATION

if TYPE_CHECKING:
    from rich.console import Console

# Enough to rank layers by; training needs more.
SCANNED = 512


def scan_before_and_after(
    hardening: Hardening, options: ScanOptions, listener: Listener
) -> tuple[Report, Report | None]:
    """Scan both files alike.

    Args:
        hardening: Names the files, and the folder with the samples.
        options: How the first scan was made, or would have been.
        listener: Told of progress.

    Returns:
        The scan of the original model, and that of the new one, ``None`` if there is none.
    """
    chosen = _on_held_out(options, Path(hardening.folder) / VERIFICATION)
    before = scan(hardening.model, chosen, listener)
    if hardening.output is None:
        return before, None
    return before, scan(hardening.output, as_read(chosen, before), listener)


def _on_held_out(options: ScanOptions, samples: Path) -> ScanOptions:
    """The same options for the samples that the verdict was passed on.

    A model without classes has no such file: both scans take the samples of the first.
    """
    if not samples.exists():
        return options
    with zipfile.ZipFile(samples) as archive:
        arrays = archive.namelist()
    return dataclasses.replace(
        options,
        data=samples,
        labels=None,
        x_key=None,
        y_key=OTHER_LABELS if f"{OTHER_LABELS}.npy" in arrays else LABELS,
        split=None,
        resize=False,
        samples=None,
        hold=(),
        expect_accuracy=None,
    )


def print_movement(before: Report, after: Report, layers: Mapping[str, float], to: Console) -> None:
    """Show how far the regularised layers move, before and after."""
    moved = [_movement(report, before.mvl.perturbation) for report in (before, after)]
    title = Text(f"Mean CM under {visible(before.mvl.perturbation)}", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("Layer", overflow="fold")
    for name in ("Before", "After", "Change"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in layers:
        was, now = (found.get(layer) for found in moved)
        change = f"{now / was - 1:+.0%}" if was and now is not None else MISSING
        table.add_row(Text(visible(layer)), figure(was), figure(now), change)
    to.print(table)


def _movement(report: Report, perturbation: str | None) -> dict[str, float | None]:
    return {
        score.tensor: score.relative_error.mean
        for result in report.perturbations
        if result.name == perturbation
        for score in result.layers
    }
