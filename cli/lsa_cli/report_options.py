"""The formats of a scan report that commands write, as options and as files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lsa_onnx.errors import DataError
from lsa_onnx.report.formats import FORMATS, render, write
from lsa_onnx.report.formats.netron import require_openable

if TYPE_CHECKING:
    from lsa_onnx.report.document import Report

F = TypeVar("F", bound=Callable[..., Any])

STDOUT = "-"
_ANNOTATE = "--annotate"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report is to be written: flag → file, ``-`` for stdout, ``None`` for none."""

    files: Mapping[str, str | None]

    @property
    def texts(self) -> list[str]:
        """The flags that take ``-``."""
        return [f"--{name}" for name in FORMATS]

    def require_usable(self) -> None:
        """Fail now where a name will not do.

        Raises:
            DataError: It is not what the format needs.
        """
        netron, annotated = self.files["--netron"], self.files[_ANNOTATE]
        if netron is not None:
            require_openable(netron)
        if annotated == STDOUT:
            raise DataError(f"{_ANNOTATE} '-' is not a file; name one such as annotated.onnx")

    def writers(self, report: Report, model: str) -> dict[str, Callable[[str], None]]:
        """Flag → what writes that file."""
        found: dict[str, Callable[[str], None]] = {
            f"--{name}": partial(write, name, report) for name in FORMATS
        }
        found[_ANNOTATE] = partial(_annotate, report, model)
        return found

    def printers(self, report: Report) -> dict[str, Callable[[], str]]:
        """Flag → what gives its text for stdout."""
        return {f"--{name}": partial(render, name, report) for name in FORMATS}


def report_options(function: F) -> F:
    """Options for every format; the command gets them as ``formats``, a ``ReportFiles``."""

    @functools.wraps(function)
    def collected(*arguments: Any, **values: Any) -> Any:
        files = {f"--{name}": values.pop(f"{name}_file") for name in FORMATS}
        files[_ANNOTATE] = values.pop("annotated_file")
        return function(*arguments, formats=ReportFiles(files), **values)

    # What stands above takes its options from here, in the order of the help.
    found: Any = click.option(
        _ANNOTATE,
        "annotated_file",
        metavar="OUT.onnx",
        help="Write a copy of the model with the scores in its metadata.",
    )(collected)
    for name, what in reversed(FORMATS.items()):
        option = click.option(f"--{name}", f"{name}_file", metavar="FILE|-", help=f"Write {what}.")
        found = option(found)
    checked: F = found
    return checked


def draw(report: Report, path: str) -> None:
    """Draw CM by layer."""
    from lsa_onnx.report.figures.layers import draw_layers  # nobody else waits for matplotlib

    draw_layers([report], path)


def _annotate(report: Report, model: str, path: str) -> None:
    from lsa_onnx.annotated import write_annotated  # only the flag needs what reads models

    write_annotated(model, path, report)
