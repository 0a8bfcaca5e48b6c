"""The log of a run: a line of JSON for each event, each step once however often it was resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically


@final
class RunLog:
    """Appends events to a file; what was written survives a kill of the process.

    The events of a step belong before the checkpoint of that step: so a run that goes on from it has
    them all, and one that goes on from an earlier one writes them again.
    """

    def __init__(self, path: str | Path, resume_step: int | None = None) -> None:
        """Start a log, or go on with one.

        Args:
            path: The file; its folder must exist.
            resume_step: Step of the checkpoint that the run goes on from: lines of later steps and
                what is no event (a line that a kill cut short) are removed. ``None`` for a new run:
                an earlier file is replaced.

        Raises:
            DataError: The file cannot be read or written.
        """
        self._path = Path(path)
        kept = [] if resume_step is None else _lines_up_to(self._path, resume_step)
        write_atomically(self._path, b"".join(kept))
        try:
            self._file = self._path.open("ab")
        except OSError as error:
            raise self._refusal(error) from error

    def write(self, step: int, event: str, values: Mapping[str, Any]) -> None:
        """Add a line.

        Args:
            step: How many steps were done.
            event: What it is about: "step", "validation", ...
            values: JSON-ready, save that NaN and infinity may be among them: they become null, and
                the line names them under "not_finite".

        Raises:
            DataError: The disk is full, or the file cannot be written for another reason; the log
                is closed then.
        """
        line: dict[str, Any] = {"step": step, "event": event, **_finite(values)}
        if odd := dict(_not_finite(values)):
            line["not_finite"] = odd
        try:
            self._file.write(json.dumps(line, allow_nan=False).encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            # Else the rest of the line would be tried again, whenever the file is collected.
            with suppress(OSError):
                self._file.close()
            raise self._refusal(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refusal(self, error: OSError) -> DataError:
        return DataError(
            f"cannot write the log {str(self._path)!r}: {error.strerror or error}; "
            "free some space or name another folder, then resume"
        )


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The events of a log, in order; what is no event is left out.

    Raises:
        DataError: The file cannot be read.
    """
    return [event for _, event in _events(Path(path))]


class TensorBoard:
    """Scalars for TensorBoard, alongside the log."""

    def __init__(self, folder: str | Path, resume_step: int | None = None) -> None:
        """Start or go on.

        Args:
            folder: For the event files.
            resume_step: As for ``RunLog``; TensorBoard hides what it has of later steps.

        Raises:
            DataError: TensorBoard is not installed.
        """
        try:
            # Loaded on request: it is slow, and an extra.
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise DataError(
                "TensorBoard is not installed; "
                "run pip install 'lsa-onnx[tensorboard]' or train without it"
            ) from error
        purge = None if resume_step is None else resume_step + 1
        self._writer = SummaryWriter(log_dir=str(folder), purge_step=purge)

    def write(self, step: int, event: str, values: Mapping[str, Any]) -> None:
        """Add each number of an event, nested ones under "outer/inner"; NaN and infinity as they are."""
        for path, value in _leaves(values):
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar("/".join((event, *path)), value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _lines_up_to(path: Path, step: int) -> list[bytes]:
    return [line for line, event in _events(path) if event["step"] <= step] if path.exists() else []


def _events(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise DataError(
            f"cannot read the log {str(path)!r}: {error.strerror}; name another folder"
        ) from error
    for line in lines:
        event = _event(line)
        if event is not None:
            yield line, event


def _event(line: bytes) -> dict[str, Any] | None:
    """What a line says, ``None`` where it is no event, or was cut short."""
    try:
        event = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("step"), int) else None


def _finite(value: Any) -> Any:
    """``value`` with ``None`` in place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _not_finite(values: Any) -> Iterator[tuple[str, str]]:
    """Dotted path → "nan", "inf" or "-inf"."""
    for path, value in _leaves(values):
        if isinstance(value, float) and not math.isfinite(value):
            yield ".".join(path), str(float(value))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, (*path, str(key)))
