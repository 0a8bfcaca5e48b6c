"""Scans of many models or many samples: what is finished is kept, and put together to the last bit."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsa_onnx._version import __version__
from lsa_onnx.accounts.merging import merge
from lsa_onnx.cluster.engine import RETRIES, Engine, connected
from lsa_onnx.cluster.options import ClusterOptions
from lsa_onnx.cluster.worker import Place, scan_shard, survey
from lsa_onnx.errors import DataError, LsaError
from lsa_onnx.files import write_atomically
from lsa_onnx.model import digest
from lsa_onnx.report.document import Report
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.options import ScanOptions


@dataclass
class _Job:
    """The scan of one model.

    Attributes:
        model: Its path.
        folder: Where its finished shards lie.
        count: Shards that there are, 0 until that is known.
        problem: Why there will be no report.
    """

    model: str
    folder: Path
    count: int = 0
    problem: LsaError | None = None

    def path(self, number: int) -> Path:
        """Where shard ``number`` lies once it is finished."""
        return self.folder / f"shard-{number}-of-{self.count}.npz"

    @property
    def paths(self) -> list[Path]:
        """Of all shards."""
        return [self.path(number) for number in range(1, self.count + 1)]

    @property
    def is_complete(self) -> bool:
        """Whether all shards are finished."""
        return self.problem is None and all(path.exists() for path in self.paths)


def scan_on_cluster(
    models: Sequence[str | Path],
    options: ScanOptions,
    cluster: ClusterOptions,
    finished: Callable[[str, Report], None],
    listener: Listener | None = None,
) -> None:
    """Scan models, each in shards, on the workers of a Ray cluster.

    A worker that is lost costs what it was doing and no more: its shard begins again elsewhere, and finished
    shards lie in the cluster's folder until the report of their model is made.

    Args:
        models: Paths of the models, which the workers open themselves.
        options: How to scan each of them.
        cluster: Where, and in how many parts.
        finished: Given the path of a model and its report, as soon as there is one.
        listener: Told of progress, in shards.

    Raises:
        LsaError: A model could not be scanned, said when all others were.
        DataError: Ray is not there, or a shard lost its worker again and again.
    """
    listener = listener or Listener()
    gpu = options.device.startswith("cuda")
    with _kept_in(cluster.folder) as folder, connected(cluster, gpu=gpu) as engine:
        jobs = [_Job(str(model), folder / _key(model, options)) for model in models]
        place = Place(os.getcwd(), engine.threads)  # noqa: PTH109 - a plain string travels
        kept = cluster.folder
        _plan(jobs, options, cluster, engine, place)
        _run(jobs, options, engine, place, finished, listener, kept)
    _tell_problems(jobs)


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[Path]:
    """The folder of finished shards; one that goes with the run where the user names none."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _key(model: str | Path, options: ScanOptions) -> str:
    """Another model, version or choice must not find the shards of this one."""
    chosen = dataclasses.replace(options, command=(), records=None, save_adversarial=None)
    told = repr((__version__, digest(Path(model)).sha256, chosen))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _plan(
    jobs: Sequence[_Job],
    options: ScanOptions,
    cluster: ClusterOptions,
    engine: Engine,
    place: Place,
) -> None:
    """Settle into how many shards each model's samples are divided."""
    wanted = cluster.shards or -(-engine.workers // len(jobs))
    calls = {index: (place, job.model, options) for index, job in enumerate(jobs)}
    for index, found in engine.run(survey, calls):
        job = jobs[index]
        if isinstance(found, Exception):
            job.problem = _problem(job, found, "the survey", cluster.folder)
            continue
        samples, batch = found
        job.count = min(wanted, -(-samples // batch))


def _run(
    jobs: Sequence[_Job],
    options: ScanOptions,
    engine: Engine,
    place: Place,
    finished: Callable[[str, Report], None],
    listener: Listener,
    kept: Path | None,
) -> None:
    wanted = [
        (index, number)
        for index, job in enumerate(jobs)
        for number in range(1, job.count + 1)
        if not job.path(number).exists()
    ]
    calls = {
        (index, number): (
            place,
            jobs[index].model,
            dataclasses.replace(
                options, shard=(number, jobs[index].count), records=Path("records.npz")
            ),
        )
        for index, number in wanted
    }
    total = sum(job.count for job in jobs)
    listener.begin("shards", total)
    listener.advance(total - len(wanted))
    for job in jobs:
        if job.count and job.is_complete:
            _finish(job, finished)
    for (index, number), found in engine.run(scan_shard, calls):
        job = jobs[index]
        if isinstance(found, Exception):
            what = f"shard {number} of {job.count}"
            job.problem = job.problem or _problem(job, found, what, kept)
        else:
            job.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(job.path(number), found)
        listener.advance(1)
        if job.is_complete:
            _finish(job, finished)
    listener.end()


def _finish(job: _Job, finished: Callable[[str, Report], None]) -> None:
    """Merge the shards of a model; they go once whoever wants the report has it."""
    try:
        report = merge(job.paths)
    except LsaError as error:
        job.problem = error
        return
    finished(job.model, report)
    shutil.rmtree(job.folder, ignore_errors=True)


def _problem(job: _Job, found: Any, what: str, kept: Path | None) -> LsaError:
    if isinstance(found, LsaError):
        return found
    remedy = (
        "give --work FOLDER, in which finished shards are kept, and try again"
        if kept is None
        else f"finished shards are kept in {str(kept)!r}: the same command goes on from there"
    )
    return DataError(
        f"{what} of {job.model!r} lost its worker {RETRIES + 1} times ({type(found).__name__}): is there enough "
        f"memory for it? If so, {remedy}"
    )


def _tell_problems(jobs: Sequence[_Job]) -> None:
    """Raise the first problem; the others are counted."""
    problems = [(job.model, job.problem) for job in jobs if job.problem is not None]
    if not problems:
        return
    model, first = problems[0]
    if len(jobs) == 1:
        raise first
    more = f" (and {len(problems) - 1} further models failed)" if len(problems) > 1 else ""
    raise type(first)(f"{model!r}: {first}{more}") from first
