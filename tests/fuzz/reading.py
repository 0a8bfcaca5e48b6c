"""Reads a report, an evaluation or a hardening as the library does, and writes it anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from lsa_cli.main import fail
from lsa_onnx.errors import LsaError
from lsa_onnx.report import (
    Evaluation,
    Hardening,
    Report,
    dumps,
    read_evaluation,
    read_hardening,
    read_report,
    write_json,
)

_READERS: dict[str, Callable[[str], Report | Evaluation | Hardening]] = {
    "report": read_report,
    "evaluation": read_evaluation,
    "hardening": read_hardening,
}


def main() -> None:
    """``KIND FILE COPY`` of the command line: what was read is written, and read again unchanged."""
    kind, path, copy = sys.argv[1:]
    try:
        document = _READERS[kind](path)
        write_json(document, copy)
        again = _READERS[kind](copy)
    except LsaError as error:
        fail(str(error), error.exit_code)
    if again != document or dumps(document) != Path(copy).read_text(encoding="ascii"):
        raise ValueError(f"{kind} {path} does not survive being written")
    sys.exit(0)


if __name__ == "__main__":
    main()
