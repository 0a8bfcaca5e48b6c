"""How the original does, found before training: what fails there fails early, and once is enough."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lsa_onnx.files import write_atomically
from lsa_onnx.report.hardening import Share
from lsa_trainer.hardening.verdict import Standing


def kept_standing(path: Path, of: Mapping[str, Any], find: Callable[[], Standing]) -> Standing:
    """What ``find`` gives, kept in a file for the run that goes on from this one.

    Args:
        path: The file; what is no such record is replaced.
        of: JSON-ready; what was kept counts only for an equal one.
        find: Attacks the original, which takes long.

    Raises:
        LsaError: ``find`` raised it, or the file cannot be written.
    """
    known = _known(path, of)
    if known is not None:
        return known
    found = find()
    record = {"of": dict(of), **dataclasses.asdict(found)}
    write_atomically(path, json.dumps(record, indent=1).encode("ascii") + b"\n")
    return found


def _known(path: Path, of: Mapping[str, Any]) -> Standing | None:
    try:
        record = json.loads(path.read_bytes())
        if record["of"] != json.loads(json.dumps(of)):
            return None
        return Standing(_share(record["clean"]), _share(record["robust"]))
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _share(record: Mapping[str, Any]) -> Share:
    interval = record["interval"]
    bounds = None if interval is None else (float(interval[0]), float(interval[1]))
    return Share(float(record["value"]), bounds, int(record["n"]))
