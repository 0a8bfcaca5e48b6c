"""A run's folder belongs to one run at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, Timeout

from lsa_onnx.errors import DataError
from lsa_trainer.folder import LOCK
from lsa_trainer.training.checkpoint import make_folder
from lsa_trainer.training.setup import made_once

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@contextmanager
def claimed(folder: Path, fabric: Fabric) -> Iterator[None]:
    """Keep a folder to this run, in whose first process a lock is held; also a kill gives it up.

    The folder is made where it is missing, and goes again if the run leaves nothing in it.

    Raises:
        DataError: Another run is at work there, or the folder cannot be made or written to.
    """
    with ExitStack() as stack:

        def claim() -> None:
            stack.enter_context(_locked(folder))

        made_once(fabric, claim)
        yield


@contextmanager
def held(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock at ``path``; see ``acquired``."""
    lock = acquired(path, timeout)
    try:
        yield
    finally:
        lock.release()


def acquired(path: Path, timeout: float = -1) -> BaseFileLock:
    """The lock at ``path``, held; also a kill gives it up.

    Args:
        path: Of the file, in a folder that is there.
        timeout: Seconds to wait for another process that holds it; below 0 for ever.

    Raises:
        Timeout: Another process holds it.
        DataError: The file cannot be written.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise
    except OSError as error:
        raise DataError(
            f"cannot write {str(path)!r}: {error.strerror or error}; name another folder"
        ) from error
    return lock


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    is_new = not folder.exists()
    make_folder(folder)
    try:
        lock = acquired(folder / LOCK, timeout=0)
    except Timeout:
        raise DataError(
            f"another run is at work in {str(folder)!r}; wait for its end, or name another output or folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
        if is_new:
            _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    """Remove a folder that holds nothing but the lock."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {LOCK}:
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()
