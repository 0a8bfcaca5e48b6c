"""The side that asks for a check: it starts the other process, waits, and says how that ended."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, final

from lsa_onnx.checking.limits import GIBIBYTE, Limits
from lsa_onnx.checking.process import end, ending, start
from lsa_onnx.checking.stages import BEGIN, DEFECT, DONE, EXHAUSTED, SIZE, Stage
from lsa_onnx.errors import UnsafeModelError

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType

AnyPath = str | os.PathLike[str]


def check_model(
    path: AnyPath, limits: Limits | None = None, libraries: Sequence[AnyPath] = ()
) -> None:
    """Open a model in a process of its own: read, check and load it, and run it once on zeros.

    Errors of an ordinary kind (no such file, not a model) are none of the check's; opening the model
    here raises them again.

    Args:
        path: The model file.
        limits: On time and memory; generous ones by default.
        libraries: Of custom operators, whose code the other process runs.

    Raises:
        UnsafeModelError: That process crashed, took too much memory or too long; the message says at
            which step.
    """
    with Checker() as checker:
        checker.check(path, limits, libraries)


@final
class Checker:
    """A process that is ready for one check: started early, it gets ready while others do.

    Leaving the block ends it, whatever it is doing, and removes its files.
    """

    def __init__(self) -> None:
        """Start it. Its working directory and temporary files are in a private folder."""
        self._workspace = Path(tempfile.mkdtemp(prefix="lsa-onnx-check-"))
        self._errors = self._workspace / "stderr"
        try:
            self._process = start(self._workspace, self._errors)
        except BaseException:
            shutil.rmtree(self._workspace, ignore_errors=True)
            raise

    def __enter__(self) -> Checker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end(self._process)
        shutil.rmtree(self._workspace, ignore_errors=True)

    def check(
        self, path: AnyPath, limits: Limits | None = None, libraries: Sequence[AnyPath] = ()
    ) -> None:
        """Check one model and end; see ``check_model``."""
        limits = limits or Limits()
        watch = _Watch(self._process, limits, _size(path))
        self._send(path, limits, libraries)
        problem = watch.wait()
        end(self._process)
        if watch.done:
            return
        code = self._process.returncode
        if code == DEFECT or (watch.stage is None and problem is None):
            told = self._errors.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the process that checks models failed: {told}")
        _refuse(path, problem or ending(code), watch.stage)

    def _send(self, path: AnyPath, limits: Limits, libraries: Sequence[AnyPath]) -> None:
        # Its working directory is another. Path.resolve would follow links, too.
        absolute = os.path.abspath
        request = {
            "path": absolute(path),
            "limits": dataclasses.asdict(limits),
            "libraries": [absolute(each) for each in libraries],
        }
        # Where it is gone already, waiting for it tells why.
        with suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - start() made a pipe
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.close()


class _Watch:
    """Follows what the child tells, until its end or that of its time.

    Attributes:
        stage: The last one that began, ``None`` before the first.
        done: Whether it came to the end of all.
    """

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits, size_bytes: int) -> None:
        self.stage: Stage | None = None
        self.done = False
        self._limits = limits
        self._started = time.monotonic()
        self._seconds = limits.seconds_for(size_bytes)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def wait(self) -> str | None:
        """What went wrong as the child or the clock tell it; ``None`` if the child just ended."""
        while True:
            left = self._started + self._seconds - time.monotonic()
            try:
                line = self._lines.get(timeout=max(left, 0))
            except queue.Empty:
                return f"did not come to an end in {self._seconds:.0f} seconds"
            if line is None:
                return None
            word, _, rest = line.partition(" ")
            if word == EXHAUSTED:
                return f"needed more than {int(rest) / GIBIBYTE:.1f} GiB of memory"
            self._take(word, rest)

    def _take(self, word: str, rest: str) -> None:
        if word == BEGIN:
            self.stage = Stage[rest]
        elif word == SIZE:
            self._seconds = self._limits.seconds_for(int(rest))
        elif word == DONE:
            self.done = True

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - start() made a pipe
        # The pipe is closed under a child that is killed.
        with suppress(OSError, ValueError):
            for line in process.stdout:
                self._lines.put(line.decode("ascii").rstrip("\n"))
        self._lines.put(None)


def _size(path: AnyPath) -> int:
    """Bytes of the file, 0 where there is none."""
    return Path(path).stat().st_size if Path(path).is_file() else 0


def _refuse(path: AnyPath, problem: str, stage: Stage | None) -> NoReturn:
    step = f" while {stage.value}" if stage is not None else ""
    raise UnsafeModelError(
        f"{os.fspath(path)!r} is not opened, for a process that tried it out {problem}{step}; "
        "add --no-check if you trust the file all the same"
    )
