"""A process that runs cases, watched by another, which outlives its crashes and ends its hangs."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.case import Case
from tests.fuzz.outcomes import Outcome, Ran

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Request = Case | tuple[str, int]

_STARTING_S = 120
_GLANCE_S = 1
# Times its limit, a case that waits for a processor may take.
_PATIENCE = 5
# What a long life leaves behind in libraries must not add up.
_LIFE = 1000
_LARGEST_FILE = 1 << 28
_HEAVY = ("onnxruntime", "lsa_cli.commands.scan", "lsa_cli.commands.evaluate")
_HEAVIEST = ("lsa_cli.commands.doctor", "lsa_trainer.hardening.run", "lsa_trainer.module")


class Worker:
    """Runs cases in a process of its own, which is started anew after a crash, a hang or a long life."""

    def __init__(
        self, number: int = 0, *, limit_s: float = 20, memory_mib: int = 6144, training: bool = True
    ) -> None:
        """Nothing is started yet.

        Args:
            number: Of the processor that it keeps to, counted round.
            limit_s: Seconds after which a case hangs.
            memory_mib: That the process may take.
            training: Whether what trains is loaded ahead, which takes seconds.
        """
        self._settings = (number, memory_mib, training)
        self._limit_s = limit_s
        self._process: multiprocessing.process.BaseProcess | None = None
        self._root: Path | None = None
        self._left = 0
        self._used = 0.0

    def run(self, request: Request) -> Ran:
        """What becomes of a case, or of the case of a kind and seed."""
        if self._left <= 0:
            self.close()
            self._start()
        self._left -= 1
        start = time.perf_counter()
        self._used = self._processor_s()
        self._connection.send(request)
        while not self._connection.poll(_GLANCE_S):
            if self._is_late(time.perf_counter() - start):
                return self._hung(time.perf_counter() - start)
        try:
            ran: Ran = self._connection.recv()
        except (EOFError, ConnectionError):
            return self._crashed(time.perf_counter() - start)
        return ran

    def close(self) -> None:
        """End the process and remove its folder."""
        if self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
        self._process, self._root, self._left = None, None, 0

    def _start(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="lsa-onnx-fuzz-"))
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, str(self._root), *self._settings)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(_STARTING_S) or self._connection.recv() != "ready":
            raise RuntimeError("the process that runs cases does not start")
        self._left = _LIFE

    def _is_late(self, seconds: float) -> bool:
        """Past its limit, and not for want of a processor that others keep busy."""
        if seconds < self._limit_s or self._process is None:
            return False
        used = self._processor_s() - self._used
        return used > self._limit_s / 2 or seconds > _PATIENCE * self._limit_s

    def _processor_s(self) -> float:
        """Seconds of processors that the process has used; of the clock where nothing tells that."""
        assert self._process is not None
        try:
            told = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        except OSError:
            return time.monotonic()
        user, system = told.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _hung(self, seconds: float) -> Ran:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGUSR1)
        time.sleep(0.5)
        trace = self._trace()
        self.close()
        return Ran(Outcome.HANG, trace, f"hang in {_innermost(trace)}", seconds)

    def _crashed(self, seconds: float) -> Ran:
        assert self._process is not None
        self._process.join()
        code, trace = self._process.exitcode or 0, self._trace()
        self.close()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Ran(Outcome.CRASH, f"{name}\n{trace}", f"{name} in {_innermost(trace)}", seconds)

    def _trace(self) -> str:
        assert self._root is not None
        return (self._root / "trace").read_text(encoding="utf-8", errors="replace")[:4000]


def _innermost(trace: str) -> str:
    """The innermost line of the project in what ``faulthandler`` wrote."""
    for line in trace.splitlines():
        for package in ("lsa_onnx", "lsa_trainer", "lsa_cli"):
            if f"/{package}/" in line:
                return line.strip()[line.strip().index(f"{package}/") :].replace('", line ', ":")
    return "no frame of the project"


@contextmanager
def working(workers: list[Worker]) -> Iterator[None]:
    """Ends them afterwards."""
    try:
        yield
    finally:
        for worker in workers:
            worker.close()


def serve(connection: Connection, root: str, number: int, memory_mib: int, training: bool) -> None:
    """Run what comes in, until nothing does."""
    _settle(number)
    for name in (*_HEAVY, *(_HEAVIEST if training else ())):
        import_module(name)
    from tests.fuzz.bench import Bench
    from tests.fuzz.kinds import make_case

    bench = Bench(Path(root))
    # What is loaded by now stays; looking through it after each case would take most of the time.
    gc.collect()
    gc.freeze()
    _bound(memory_mib)
    with (Path(root) / "trace").open("w", encoding="utf-8") as trace:
        faulthandler.enable(trace)
        faulthandler.register(signal.SIGUSR1, trace, chain=False)
        connection.send("ready")
        with suppress(EOFError):
            while True:
                request = connection.recv()
                case = request if isinstance(request, Case) else make_case(*request)
                connection.send(bench.run(case))


def _settle(number: int) -> None:
    """Keep to one processor, and write nothing but results."""
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[number % len(processors)]})
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"}
    for name in ("NO_COLOR", "FORCE_COLOR", "PYTHONWARNINGS"):
        os.environ.pop(name, None)
    sys.dont_write_bytecode = True


def _bound(memory_mib: int) -> None:
    """Beyond these, the system refuses; that must end in a message, too."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
