"""A scan report in the formats of other programs: spreadsheets, pull requests, code scanning, CI, Netron.

Each format is a module with a pure function ``render`` from a report to text; ``docs/formats.md`` tells
what each is for. They show the figures of a report and add none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lsa_onnx.files import write_atomically

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.document import Report

# Name, also of the module → what it is.
FORMATS = {
    "csv": "one row per layer and perturbation",
    "markdown": "a summary for a pull request",
    "sarif": "SARIF 2.1.0 for code scanning",
    "junit": "JUnit XML for CI, the gates as test cases",
    "netron": "an attachment that shows the scores in Netron",
}


def render(name: str, report: Report) -> str:
    """The report in the format ``name``, one of ``FORMATS``, to be stored as UTF-8.

    Raises:
        KeyError: There is no such format.
    """
    if name not in FORMATS:
        raise KeyError(name)
    # Only the format that is asked for is imported.
    text: str = import_module(f"{__name__}.{name}").render(report)
    return text


def write(name: str, report: Report, path: str | os.PathLike[str]) -> None:
    """Write ``render(name, report)`` to ``path``; an earlier file is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
        KeyError: There is no such format.
    """
    write_atomically(path, render(name, report).encode("utf-8"))
