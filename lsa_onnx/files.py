"""Files: written so that a failure never costs the user the one that was there before, read only if they end."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from lsa_onnx.errors import DataError

_REMEDIES = {
    errno.ENOENT: "its folder does not exist: create the folder or name another file",
    errno.ENOTDIR: "part of the path is a file, not a folder: name another file",
    errno.EISDIR: "this is a folder: name a file inside it",
    errno.EACCES: "no permission: choose a folder that you may write to",
    errno.EPERM: "no permission: choose a folder that you may write to",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOSPC: "the disk is full: free some space or choose another disk",
    errno.EDQUOT: "your disk quota is used up: free some space or choose another disk",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "its symbolic links form a loop: name another file",
}


# Far beyond what people write by hand, and what reports and records hold.
MOST_READ_BYTES = 1 << 28


def read_regular(path: str | os.PathLike[str], most_bytes: int = MOST_READ_BYTES) -> bytes:
    """All of a file that is meant to be read whole, such as a configuration.

    Args:
        path: The file.
        most_bytes: How large it may be.

    Raises:
        OSError: It cannot be read, is larger, or is a device or a pipe, which need not have an end.
    """
    # Opening a pipe waits for whoever writes to it, unless asked not to.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a device, a pipe or a folder")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes")
    return content


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` so that the file is either complete or as it was before.

    Args:
        path: The file to write, see ``writing_atomically``.
        data: The whole content.

    Raises:
        DataError: The file cannot be written. The earlier file is intact and no temporary file
            is left.
    """
    with writing_atomically(path) as file:
        file.write(data)


@contextmanager
def writing_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of ``path`` once the block ends without an error.

    The bytes go to a temporary file in the same folder, reach the disk, and take the place of
    ``path`` in one step. The permissions of an earlier file are kept, and a symbolic link stays a
    link to the new content. What is not a regular file (a pipe, ``/dev/null``) cannot be replaced
    and is written to directly.

    Args:
        path: The file to write. Its folder must exist.

    Raises:
        DataError: The file cannot be written. The earlier file is intact and no temporary file
            is left.
    """
    with _explained(path):
        target = _checked_target(path)
        if _is_special(target):
            with target.open("wb") as file:
                yield file
            return
        temporary = _temporary_beside(target)
        try:
            with os.fdopen(_open_new(temporary), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            mode = _mode_of(target)
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(target)
        except BaseException:
            # Also on an interrupt: a half-written file with an odd name must not stay behind.
            with suppress(OSError):
                temporary.unlink()
            raise
        _flush_folder(target.parent)


def check_writable(path: str | os.PathLike[str], *, regular: bool = False) -> None:
    """Fail now if ``write_atomically(path, ...)`` would fail later; call it before a long run.

    An empty temporary file is made in the folder and removed again; an earlier file at ``path``
    is not touched.

    Args:
        path: The file that is to be written.
        regular: Whether a device or a pipe will not do, as for what is read again.

    Raises:
        DataError: The path is a folder, its folder is missing, or writing there is not allowed.
    """
    with _explained(path):
        target = _checked_target(path)
        if _is_special(target):
            if regular:
                raise OSError(errno.EINVAL, "this is no regular file")
            return
        temporary = _temporary_beside(target)
        try:
            os.close(_open_new(temporary))
        finally:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the operating system into one line that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        _refuse(
            path,
            _REMEDIES.get(error.errno or 0, f"{error.strerror or error}: name another file"),
            error,
        )
    except ValueError as error:  # what Python raises for a NUL character in a path
        _refuse(path, f"{error}: name another file", error)


def _refuse(path: str | os.PathLike[str], remedy: str, error: Exception) -> NoReturn:
    # repr keeps a path with a line break or a control character on one line.
    raise DataError(f"cannot write {os.fspath(path)!r}: {remedy}") from error


def _checked_target(path: str | os.PathLike[str]) -> Path:
    """The file that ``path`` leads to, unless something known beforehand forbids writing it."""
    text = os.fspath(path)
    if not text:
        raise OSError(errno.EINVAL, "the path is empty")
    try:
        found = Path(text).stat()
    except FileNotFoundError:
        if text.endswith(("/", os.sep)):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        return Path(os.path.realpath(text))
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(text, os.W_OK):
        # Replacing would work without this right, but who protects a file does so on purpose.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return Path(os.path.realpath(text)) if stat.S_ISREG(found.st_mode) else Path(text)


def _is_special(target: Path) -> bool:
    return target.exists() and not stat.S_ISREG(target.stat().st_mode)


def _temporary_beside(target: Path) -> Path:
    """A name for a new file in the same folder: only there is replacing a file one step."""
    if len(os.fsencode(target.name)) > 255:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return target.parent / f".lsa-onnx-{secrets.token_hex(8)}.tmp"


def _open_new(path: Path) -> int:
    # O_EXCL refuses a file or link that somebody put there; mode 666 leaves the rights to the
    # user's umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def _mode_of(target: Path) -> int | None:
    return stat.S_IMODE(target.stat().st_mode) if target.exists() else None


def _flush_folder(folder: Path) -> None:
    """Bring the new directory entry to disk where the system can; the content is there already."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
