"""Holds what a command left behind to what is promised of it."""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.fuzz.case import FOLDER, MARKUP, Case
from tests.fuzz.outcomes import BY_CODE, Outcome, Ran

if TYPE_CHECKING:
    from types import TracebackType

_ROOT = Path(__file__).resolve().parents[2]
_PREFIX = "lsa-onnx: "
_SHOWN_FRAMES = 12


def judged(root: Path, case: Case, code: object, out: str, err: str, noticed: list[str]) -> Ran:
    """The verdict on a command that ended by itself.

    Args:
        root: What holds its folder.
        case: What it was.
        code: That it left with.
        out: Its stdout.
        err: Its stderr.
        noticed: What it did to files.
    """
    if not isinstance(code, int) or not 0 <= code < len(BY_CODE):
        return Ran(Outcome.DEFECT, f"exit code {code!r}\n{err}", f"exit code {code!r}")
    wrong = [*noticed, *_of_messages(code, out, err), *_of_files(root / FOLDER, case)]
    if wrong:
        return Ran(
            Outcome.DEFECT,
            "\n".join([*wrong, f"exit code {code}", err[:2000]]),
            _general(wrong[0], err),
        )
    return Ran(BY_CODE[code], err.strip())


def _general(text: str, err: str) -> str:
    """Without what differs from case to case, with the place of a warning."""
    warned = re.search(r"(\w+/\w+\.py:\d+): (\w+Warning: .*)", err)
    return ": ".join([text.split(": ")[0][:100], *(warned.groups() if warned else ())])


def _alike(message: str) -> str:
    """``message`` without names and numbers."""
    return re.sub(r"'[^']*'|-?\d[\d.]*", "…", message)


def _of_messages(code: int, out: str, err: str) -> Iterator[str]:
    lines = err.splitlines()
    if code and (len(lines) != 1 or not err.startswith(_PREFIX)):
        yield f"stderr is not one line: it has {len(lines)}"
    if not code and len(lines) > 1:
        yield f"stderr of a command that succeeded: it has {len(lines)} lines"
    for name, text in (("stdout", out), ("stderr", err)):
        odd = {c for c in text if not (c.isprintable() or c == "\n")}
        if odd:
            yield f"characters on {name} that are not printable: {sorted(odd)[:5]!r}"


def _of_files(folder: Path, case: Case) -> Iterator[str]:
    for name in case.outputs:
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".html" and MARKUP in path.read_text(encoding="utf-8"):
            yield "markup of a name is markup of the page"
        if path.suffix == ".json":
            try:
                json.loads(path.read_bytes().decode("ascii"), parse_constant=_refuse)
            except ValueError as error:
                yield f"the JSON file is none: {error}"


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def of_exception(error: BaseException) -> Ran:
    """The verdict on a command that ended in a traceback."""
    place = _place(error.__traceback__)
    text = _alike(" ".join(str(error).split()))[:80]
    frames = "".join(traceback.format_exception(error)).splitlines()[-_SHOWN_FRAMES:]
    detail = "\n".join(frames)
    return Ran(Outcome.DEFECT, f"{place}\n{detail}", f"{type(error).__name__} at {place}: {text}")


def _place(trace: TracebackType | None) -> str:
    """The innermost line of the project."""
    place = "?"
    for frame in traceback.extract_tb(trace):
        if frame.filename.startswith(str(_ROOT)):
            place = f"{os.path.relpath(frame.filename, _ROOT)}:{frame.lineno} {frame.name}"
    return place
