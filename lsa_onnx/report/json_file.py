"""The report as a JSON file: written whole or not at all, read back into typed records."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_onnx.report.document import Report


def dumps(report: Report) -> str:
    """The report as strictly valid JSON, indented, ending in a line break.

    Only ASCII is written: names from a model may hold control or direction-changing characters,
    and must do no harm on a terminal.

    Raises:
        ValueError: A figure is NaN or infinite. The scan must give ``None`` and a status instead,
            so this is a defect of the tool and not of the user's data.
    """
    return json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=True) + "\n"


def write_json(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the report to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: The file cannot be written.
    """
    write_atomically(path, dumps(report).encode("ascii"))


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read a report that ``write_json`` wrote.

    Raises:
        DataError: The file cannot be read, is not strictly valid JSON, or is not a report of this
            schema version. The message names the path.
    """
    try:
        return Report.from_dict(_parse(Path(path)))
    except OSError as error:
        _refuse(path, f"{error.strerror or error}: check the path", error)
    except UnicodeDecodeError as error:
        _refuse(path, f"byte {error.start} is not UTF-8: give the report.json of a scan", error)
    except RecursionError as error:
        _refuse(path, "it is nested too deeply: give the report.json of a scan", error)
    except ValueError as error:  # malformed JSON, or a NUL character in the path
        _refuse(path, f"{error}: give the report.json of a scan", error)
    except DataError as error:
        _refuse(path, str(error), error)


def _parse(path: Path) -> object:
    # utf-8-sig, because some editors put a byte order mark in front of what they save.
    text = path.read_bytes().decode("utf-8-sig")
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


def _refuse(path: str | os.PathLike[str], problem: str, error: Exception) -> NoReturn:
    raise DataError(f"cannot read report {os.fspath(path)!r}: {problem}") from error
