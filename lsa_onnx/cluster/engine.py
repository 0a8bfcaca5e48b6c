"""Ray, as far as it is needed: tasks that survive the loss of a worker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lsa_onnx.cluster.options import ClusterOptions
from lsa_onnx.errors import DataError

# How often a task is begun again where its worker was lost; other errors are no reason to.
RETRIES = 3
# Within this a cluster takes a connection, if there is one.
_PATIENCE_S = 5.0


class Engine:
    """A connection to Ray."""

    def __init__(self, ray: Any, workers: int | None, *, gpu: bool) -> None:
        """Find out what there is.

        Args:
            ray: The module, connected.
            workers: Tasks that run at once; one per CPU if ``None``.
            gpu: Whether a task needs a GPU.
        """
        self._ray = ray
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.workers = min(workers or cpus, cpus)
        self.threads = cpus // self.workers
        self._needs = {"num_cpus": self.threads, "num_gpus": int(gpu), "max_retries": RETRIES}

    def run(
        self, function: Callable[..., Any], calls: Mapping[Any, tuple[Any, ...]]
    ) -> Iterator[tuple[Any, Any]]:
        """Call ``function`` with each of ``calls`` on some worker.

        Args:
            function: Of a module that the workers have.
            calls: Name → arguments.

        Returns:
            Name and result of each call, in the order in which they end. The result is an exception where
            the worker was lost too often.
        """
        remote = self._ray.remote(**self._needs)(function)
        names = {remote.remote(*arguments): name for name, arguments in calls.items()}
        waiting = list(names)
        while waiting:
            (done, *_), waiting = self._ray.wait(waiting)
            try:
                yield names[done], self._ray.get(done)
            except self._ray.exceptions.RayError as lost:
                yield names[done], lost


@contextmanager
def connected(options: ClusterOptions, *, gpu: bool) -> Iterator[Engine]:
    """Ray while the block runs; a local one is started, and ended with it.

    Raises:
        DataError: Ray is not installed, or there is no cluster at the address.
    """
    # It would report to its makers over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # an extra, and a second to import
    except ImportError:
        raise DataError(
            f"--cluster {options.address} needs Ray, which is not installed; pip install 'lsa-onnx[cluster]'"
        ) from None
    local = options.address == "local"
    try:
        _require_listener(options.address)
        ray.init(
            address=options.address,
            num_cpus=_own_cpus(options.workers) if local else None,
            include_dashboard=False if local else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (OSError, RuntimeError, ValueError) as error:
        what, remedy = (
            ("Ray does not start", "set RAY_TMPDIR to a folder with a short path if it is the path")
            if local
            else ("no Ray cluster answers", "start one with `ray start --head`, or give local")
        )
        raise DataError(
            f"--cluster {options.address}: {what}: {_first_line(error)}; {remedy}"
        ) from error
    try:
        yield Engine(ray, options.workers, gpu=gpu)
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """That somebody listens at ``HOST:PORT``: Ray would try again for minutes.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "//" not in address:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()


def _own_cpus(workers: int | None) -> int:
    """CPUs that a local Ray may use: those of this process, and at least one for each worker."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(cpus, workers or 1)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
