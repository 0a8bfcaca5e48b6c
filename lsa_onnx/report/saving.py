"""Documents to files, of the kind that a path's ending names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import PurePath
from typing import Any

from lsa_onnx.errors import DataError
from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.json_file import write_json
from lsa_onnx.report.landscape import Landscape

Writer = Callable[[str | os.PathLike[str]], None]

_PICTURES = (".png", ".svg", ".pdf")
# Of a scan, by ending; JUnit's XML and Netron's attachment have none of their own.
_FORMATS = {".csv": "csv", ".md": "markdown", ".sarif": "sarif"}


def save(document: Any, path: str | os.PathLike[str]) -> None:
    """See ``lsa_onnx.report.conveniences.Readable.save``."""
    writers: dict[str, Writer] = {".json": partial(write_json, document), **_writers(document)}
    ending = PurePath(path).suffix.lower()
    if ending not in writers:
        kind = type(document).__name__
        raise DataError(
            f"{os.fspath(path)!r} ends in {ending!r}, which is no kind of file for a {kind}; accepted are "
            f"{', '.join(writers)}"
        )
    writers[ending](path)


def _writers(document: object) -> dict[str, Writer]:
    """What writes a document by ending, besides JSON; what each needs is imported when it is made."""
    if isinstance(document, Report):
        return _of_report(document)
    if isinstance(document, Evaluation):
        return _of_evaluations(alone(document))
    if isinstance(document, Evaluations):
        return _of_evaluations(document)
    if isinstance(document, Landscape):
        return _of_landscape(document)
    if isinstance(document, Boundary):
        from lsa_onnx.report.figures.boundary import draw_boundary

        return _each(_PICTURES, partial(draw_boundary, document))
    return {}


def _of_report(report: Report) -> dict[str, Writer]:
    from lsa_onnx.report.figures.layers import draw_layers
    from lsa_onnx.report.formats import write
    from lsa_onnx.report.html import write_html

    pictures = _each(_PICTURES, partial(draw_layers, [report]))
    texts = {ending: partial(write, name, report) for ending, name in _FORMATS.items()}
    return {".html": partial(write_html, report), **texts, **pictures}


def _of_evaluations(found: Evaluations) -> dict[str, Writer]:
    from lsa_onnx.report.figures.curves import draw_curves
    from lsa_onnx.report.html_evaluation import write_evaluation_html

    pictures = _each(_PICTURES, partial(draw_curves, found.evaluations))
    return {".html": partial(write_evaluation_html, found), **pictures}


def _of_landscape(landscape: Landscape) -> dict[str, Writer]:
    from lsa_onnx.report.figures.surfaces import draw_surfaces
    from lsa_onnx.report.figures.surfaces_html import write_surfaces

    pictures = _each(_PICTURES, partial(draw_surfaces, landscape))
    return {".html": partial(write_surfaces, landscape), **pictures}


def _each(endings: Iterable[str], write: Writer) -> dict[str, Writer]:
    return dict.fromkeys(endings, write)


def alone(evaluation: Evaluation) -> Evaluations:
    """An evaluation as the only one of its page."""
    return Evaluations(
        tool_version=evaluation.tool_version,
        created=evaluation.created,
        evaluations=[evaluation],
        differences=[],
        command=evaluation.run.command,
    )
