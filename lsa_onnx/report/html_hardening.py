"""A hardening as one HTML page, with the scans before and after where they are at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_onnx.report import hardening_view as view
from lsa_onnx.report import html_before_after, html_training, text
from lsa_onnx.report.html_page import render_page
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.document import Report
    from lsa_onnx.report.hardening import Hardening


def render_hardening_html(hardening: Hardening, before: Report, after: Report | None = None) -> str:
    """The whole page as text, to be stored as UTF-8.

    Args:
        hardening: What was done and what came of it.
        before: A scan of the original model.
        after: A scan of the file that was written, under the same perturbations.

    Raises:
        DataError: A scan is not of the model that it should be of.
    """
    _require_matching(hardening, before, after)
    scans = html_before_after.Scans(before, after)
    chart = html_before_after.chart(scans, hardening.layers)
    values = {
        "hardening": hardening,
        "status": view.status(hardening),
        "headline": view.headline(hardening),
        "standing": view.standing(hardening),
        "doubts": view.doubts(hardening),
        "threat": view.threat(hardening.comparison),
        "labels": view.label_origin(hardening.comparison),
        "progress": view.progress(hardening),
        "tiles": html_training.tiles(hardening),
        "scores": html_training.scores(hardening.comparison),
        "layers": html_before_after.layers(scans, hardening.layers),
        "moved": html_before_after.summary(scans),
        "scanned": html_before_after.scanned(scans, hardening.folder),
        "compared": after is not None,
        "scans": scans.titles,
        "perturbation": visible(scans.perturbation or ""),
        "perturbations": html_before_after.perturbations(scans),
        "validations": html_training.validations(hardening),
        "regularised": html_training.regularised(hardening),
        "changes": html_training.changes(hardening),
        "topics": html_training.topics(hardening, before, after),
        "options": html_training.options(hardening),
        "command": text.command_line(hardening.command),
        "tool_version": hardening.tool_version,
        "title": f"{hardening.model} – hardening",
    }
    data = {"layers": chart, "history": html_training.history(hardening)}
    return render_page("hardening", data, values)


def write_hardening_html(
    hardening: Hardening, before: Report, after: Report | None, path: str | os.PathLike[str]
) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: A scan is not of the model that it should be of, or the file cannot be written.
    """
    write_atomically(path, render_hardening_html(hardening, before, after).encode("utf-8"))


def _require_matching(hardening: Hardening, before: Report, after: Report | None) -> None:
    wanted, found = hardening.model_sha256, before.model.file.sha256
    if found != wanted:
        raise DataError(
            f"the scan before is of a model with SHA-256 {found[:12]}…, and {hardening.model!r}, "
            f"which was hardened, has {wanted[:12]}…; give a scan of that file"
        )
    written = {file.sha256 for file in hardening.files}
    if after is not None and after.model.file.sha256 not in written:
        raise DataError(
            f"the scan after is of {after.model.file.path!r}, which is not what hardening wrote; give a "
            f"scan of {hardening.output or 'the file that was written'!r}, as it was written"
        )
