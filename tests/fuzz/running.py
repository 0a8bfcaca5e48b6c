"""Runs many cases on a few processes and keeps what is to be looked at again."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from random import Random

import onnxruntime as ort

from lsa_onnx.checking import Limits
from tests.fuzz.again import run_again
from tests.fuzz.case import Case
from tests.fuzz.kinds import SHARES, make_case
from tests.fuzz.outcomes import Finding, Outcome, Ran, Summary
from tests.fuzz.worker import Worker, working

_PACKAGES = ("onnx", "numpy", "pillow", "torch", "protobuf", "click")
# The command line starts anew for each command, and loads everything first.
_AGAIN = 3


@dataclass(frozen=True)
class Settings:
    """What a run is told.

    Attributes:
        first: Number of its first case.
        cases: How many to run.
        jobs: Processes that run them.
        keep: Folder of what is found.
        kind: The only kind; ``None`` for all, in their shares.
        minutes: After which no more are begun; ``None`` for no bound.
        limit_s: Seconds that a case may take.
        memory_mib: That it may take.
        whole: One case in so many is also run by the command line itself; 0 for none.
    """

    first: int
    cases: int
    jobs: int
    keep: Path
    kind: str | None = None
    minutes: float | None = None
    limit_s: float = 20
    memory_mib: int = 6144
    whole: int = 250


class Run:
    """A run, while it goes on."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        """Begin it.

        Args:
            settings: What to do.
            tell: Takes lines of progress.
        """
        self._settings, self._tell = settings, tell
        self._start = time.monotonic()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._commands: Counter[tuple[str, str]] = Counter()
        self._findings: list[Finding] = []
        self._whole = 0
        self._lock = threading.Lock()
        self._seeds = itertools.count(settings.first)

    def finish(self) -> Summary:
        """Run all cases."""
        jobs = range(self._settings.jobs)
        limits = {"limit_s": self._settings.limit_s, "memory_mib": self._settings.memory_mib}
        workers = [Worker(number, **limits) for number in jobs]  # type: ignore[arg-type]  # each has its own type
        with working(workers), ThreadPoolExecutor(len(workers)) as pool:
            # What fails in a thread fails here.
            list(pool.map(self._work, workers))
        return self._summary()

    def _work(self, worker: Worker) -> None:
        for seed in self._mine():
            kind = self._settings.kind or kind_of(seed)
            ran = worker.run((kind, seed))
            if ran.outcome in (Outcome.CRASH, Outcome.HANG):
                ran = seen_again(ran, make_case(kind, seed), self._settings.limit_s)
            elif self._settings.whole and seed % self._settings.whole == 0:
                ran = compared(ran, make_case(kind, seed), self._settings.limit_s)
                self._whole += 1
            self._note(kind, seed, ran)

    def _mine(self) -> Iterator[int]:
        """Seeds that are this thread's to run."""
        minutes, end = self._settings.minutes, self._settings.first + self._settings.cases
        while True:
            with self._lock:
                seed = next(self._seeds)
            late = minutes is not None and time.monotonic() - self._start > 60 * minutes
            if seed >= end or late:
                return
            yield seed

    def _note(self, kind: str, seed: int, ran: Ran) -> None:
        with self._lock:
            self._outcomes[kind, ran.outcome.value] += 1
            self._commands[kind, ran.command] += 1
            done = self._outcomes.total()
            if ran.outcome.is_defect or ran.outcome is Outcome.CONTAINED:
                command = " ".join(make_case(kind, seed).arguments)
                found = Finding(kind, seed, command, ran.outcome, ran.cause, ran.detail)
                self._findings.append(found)
                keep(self._settings.keep, found)
                self._tell(f"{kind} {seed}: {ran.outcome.value}: {ran.cause}")
            if done % 500 == 0:
                minutes = (time.monotonic() - self._start) / 60
                self._tell(f"{done} cases, {minutes:.1f} min, {len(self._findings)} to look at")

    def _summary(self) -> Summary:
        minutes = (time.monotonic() - self._start) / 60
        return Summary(
            first=self._settings.first,
            cases=self._outcomes.total(),
            minutes=round(minutes, 1),
            machine=machine(),
            versions=versions(),
            limit_s=self._settings.limit_s,
            memory_mib=self._settings.memory_mib,
            outcomes=_by_kind(self._outcomes),
            commands=_by_kind(self._commands),
            whole=self._whole,
            findings=sorted(self._findings, key=lambda each: (each.cause, each.seed)),
        )


def kind_of(seed: int) -> str:
    """The kind of a case in a run of all kinds."""
    rng = Random(f"kind:{seed}")  # noqa: S311 - nothing here is secret
    return rng.choices(list(SHARES), list(SHARES.values()))[0]


def seen_again(ran: Ran, case: Case, limit_s: float) -> Ran:
    """What the command line itself makes of a case that ended or stopped its process."""
    again = run_again(case, _AGAIN * limit_s + Limits().seconds)
    outcome = again.outcome if again.outcome.is_defect else Outcome.CONTAINED
    told = again.cause if again.outcome.is_defect else again.outcome.value
    detail = f"{again.outcome.value} after {again.seconds:.1f} s: {again.detail}\n{ran.detail}"
    return replace(again, outcome=outcome, cause=f"{ran.cause}; by itself: {told}", detail=detail)


def compared(ran: Ran, case: Case, limit_s: float) -> Ran:
    """``ran``, unless the command line itself ends otherwise; its check may refuse more."""
    again = run_again(case, _AGAIN * limit_s + Limits().seconds)
    if again.outcome in (ran.outcome, Outcome.UNSAFE) or ran.outcome.is_defect:
        return ran
    cause = f"{ran.outcome.value}; by itself: {again.cause or again.outcome.value}"
    return replace(
        again, outcome=Outcome.DEFECT, cause=cause, detail=f"{again.detail}\n{ran.detail}"
    )


def keep(folder: Path, found: Finding) -> None:
    """Write the files of a case, and how it is run again, to a folder of its own."""
    place = folder / f"{found.kind}-{found.seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    make_case(found.kind, found.seed).write(place)
    (place / "HOW.txt").write_text(
        f"{found.outcome.value}: {found.cause}\n\nlsa-onnx {found.command}\n"
        f"python -m tests.fuzz --kind {found.kind} --case {found.seed}\n\n{found.detail}\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


def machine() -> str:
    """In words that say what it can do, and not which one it is."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} cores, {platform.system()}, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Of the packages that read files."""
    # Of onnxruntime there are two wheels.
    return {"onnxruntime": ort.__version__, **{name: version(name) for name in _PACKAGES}}


def _by_kind(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (kind, name), count in sorted(counts.items()):
        found.setdefault(kind, {})[name] = count
    return found
