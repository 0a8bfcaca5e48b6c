"""Documents as JSON files: written whole or not at all, read back into typed records."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular, write_atomically
from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.comparison import Comparison
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.hardening import Hardening
from lsa_onnx.report.landscape import Landscape

Document: TypeAlias = (
    Report | Evaluation | Evaluations | Hardening | Landscape | Boundary | Comparison
)

T = TypeVar("T")

# Strings are matched whole, so that what looks like a number within one is left alone.
_STRING_OR_SMALL_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?e-\d+')


def dumps(document: Document) -> str:
    """The document as strictly valid JSON, indented, ending in a line break.

    Only ASCII is written: names from a model may hold control or direction-changing characters,
    and must do no harm on a terminal. Small numbers are plain decimals, for tools that read text.

    Raises:
        ValueError: A figure is NaN or infinite. The scan must give ``None`` and a status instead,
            so this is a defect of the tool and not of the user's data.
    """
    text = json.dumps(document.to_dict(), indent=2, allow_nan=False, ensure_ascii=True)
    return _STRING_OR_SMALL_NUMBER.sub(_plain, text) + "\n"


def _plain(token: re.Match[str]) -> str:
    return token[0] if token[0].startswith('"') else f"{Decimal(token[0]):f}"


def write_json(document: Document, path: str | os.PathLike[str]) -> None:
    """Write the document to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, dumps(document).encode("ascii"))


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read a report that ``write_json`` wrote.

    Raises:
        DataError: The file cannot be read, is not strictly valid JSON, or is not a report of this
            schema version. The message names the path.
    """
    return _read(path, Report.from_dict, "report", "the report.json of a scan")


def read_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """Read an evaluation that ``write_json`` wrote.

    Raises:
        DataError: As for ``read_report``.
    """
    return _read(path, Evaluation.from_dict, "evaluation", "the JSON file of an evaluation")


def read_evaluations(path: str | os.PathLike[str]) -> Evaluations:
    """Read evaluations of several models that ``write_json`` wrote.

    Raises:
        DataError: As for ``read_report``.
    """
    wanted = "the JSON file of an evaluation of several models"
    return _read(path, Evaluations.from_dict, "evaluations", wanted)


def read_hardening(path: str | os.PathLike[str]) -> Hardening:
    """Read a hardening that ``write_json`` wrote.

    Raises:
        DataError: As for ``read_report``.
    """
    return _read(path, Hardening.from_dict, "hardening", "the result.json of a hardening")


def read_landscape(path: str | os.PathLike[str]) -> Landscape:
    """Read a landscape that ``write_json`` wrote.

    Raises:
        DataError: As for ``read_report``.
    """
    return _read(path, Landscape.from_dict, "landscape", "the JSON file of a landscape")


def read_boundary(path: str | os.PathLike[str]) -> Boundary:
    """Read a decision boundary that ``write_json`` wrote.

    Raises:
        DataError: As for ``read_report``.
    """
    return _read(path, Boundary.from_dict, "boundary", "the JSON file of a decision boundary")


def read_comparison(path: str | os.PathLike[str]) -> Comparison:
    """Read a comparison that ``write_json`` wrote.

    Raises:
        DataError: As for ``read_report``.
    """
    return _read(path, Comparison.from_dict, "comparison", "the JSON file of a comparison")


def read_scan_or_evaluation(path: str | os.PathLike[str]) -> Report | Evaluation:
    """Read a report or an evaluation, whichever it is.

    Raises:
        DataError: As for ``read_report``; what is another document is said to be no report.
    """

    def rebuild(values: object) -> Report | Evaluation:
        told = isinstance(values, Mapping) and values.get("kind") == "evaluation"
        return Evaluation.from_dict(values) if told else Report.from_dict(values)

    return _read(path, rebuild, "document", "the JSON file of a scan or of an evaluation")


def _read(
    path: str | os.PathLike[str], rebuild: Callable[[object], T], kind: str, wanted: str
) -> T:
    """Parse the file and ``rebuild`` the document; ``wanted`` is the file that was asked for."""
    try:
        return rebuild(_parse(Path(path)))
    except (OSError, RecursionError, ValueError, DataError) as error:
        # ValueError: malformed JSON, or a NUL character in the path.
        message = f"cannot read {kind} {os.fspath(path)!r}: {_problem(error, wanted)}"
        raise DataError(message) from error


def _problem(error: Exception, wanted: str) -> str:
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: check the path"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8: give {wanted}"
    if isinstance(error, RecursionError):
        return f"it is nested too deeply: give {wanted}"
    return f"{error}: give {wanted}"


def _parse(path: Path) -> object:
    # utf-8-sig, because some editors put a byte order mark in front of what they save.
    text = read_regular(path).decode("utf-8-sig")
    document: object = json.loads(
        text, parse_constant=_refuse_constant, object_pairs_hook=_unique_fields
    )
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"field {next(n for n in names if names.count(n) > 1)!r} is given twice")
    return fields
