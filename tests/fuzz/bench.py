"""Runs the command line in this process, as often as wanted, and sees what it does."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsa_cli.main import main
from tests.fuzz import reading
from tests.fuzz.case import FOLDER, Case
from tests.fuzz.judging import judged, of_exception
from tests.fuzz.outcomes import Ran
from tests.fuzz.watch import Watch, changes, lay_decoy

if TYPE_CHECKING:
    import io

_OUTPUT_LIMIT = 1 << 20


class Bench:
    """A folder in which cases are run, one after another."""

    def __init__(self, root: Path) -> None:
        """Make the folders.

        Args:
            root: An empty folder. The temporary files of this process go there from now on.
        """
        self._root = root
        (root / "tmp").mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(root / "tmp")
        self._watch = Watch(root)
        # They last as long as this does.
        self._streams = [tempfile.TemporaryFile(dir=root) for _ in range(2)]  # noqa: SIM115

    def run(self, case: Case) -> Ran:
        """Run ``case`` and say what became of it."""
        folder = self._root / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.chdir(folder)
        case.write(folder)
        lay_decoy(self._root)
        start = time.perf_counter()
        ran = self._judged(case)
        shutil.rmtree(self._root / "tmp", ignore_errors=True)
        (self._root / "tmp").mkdir()
        seconds = time.perf_counter() - start
        return replace(ran, seconds=seconds, command=case.arguments[0])

    def _judged(self, case: Case) -> Ran:
        entry: Callable[[], None] = main
        if case.arguments[0] == "read":
            sys.argv, entry = [*case.arguments], reading.main
        else:
            # What ends this process is then held to the check, which would take most of the time.
            sys.argv = ["lsa-onnx", *case.arguments, "--no-check"]
        self._watch.seen.clear()
        with self._captured():
            left = self._ended(entry)
        if isinstance(left, Ran):
            return left
        # What an exception held on to is gone with it; a folder of a model's goes with the model.
        gc.collect()
        out, err = (self._text(stream) for stream in self._streams)
        noticed = [*self._watch.noticed(case), *changes(self._root, case)]
        return judged(self._root, case, left, out, err, noticed)

    def _ended(self, entry: Callable[[], None]) -> Ran | object:
        """The exit code, or the verdict on what was raised in its place."""
        self._watch.active = True
        try:
            # So that each warning is new: a process of its own would print it.
            with warnings.catch_warnings():
                entry()
        except SystemExit as end:
            return end.code
        except Exception as error:  # noqa: BLE001 - what is looked for
            return of_exception(error)
        finally:
            self._watch.active = False
        return 0

    @contextmanager
    def _captured(self) -> Iterator[None]:
        """Both streams in files, also what libraries write past Python."""
        kept = [os.dup(number) for number in (1, 2)]
        streams = sys.stdout, sys.stderr
        for number, file in zip((1, 2), self._streams, strict=True):
            file.seek(0)
            file.truncate()
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (
            open(number, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
            for number in (1, 2)
        )
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdout, sys.stderr = streams
            for number, held in zip((1, 2), kept, strict=True):
                os.dup2(held, number)
                os.close(held)

    def _text(self, file: io.BufferedRandom) -> str:
        file.seek(0)
        return file.read(_OUTPUT_LIMIT).decode("utf-8", "backslashreplace")
